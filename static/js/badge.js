// How current the page is: "Live 180 ms", "Quiet since 12:04", "Reconnecting", "Stale as of 12:04:05".

import { local, pageZone } from "./clock.js";
import { count } from "./numbers.js";

const QUIET_AFTER = 60_000;
const STALE_AFTER = 15_000;
const SKEW_BELIEVED = 2_000; // clocks further apart than this are corrected, nearer ones are the lag itself

export class Badge {
  /** @param {Element|null} element @param {{served_at:number, last_received_at:number|null}} page */
  constructor(element, page) {
    this.element = element;
    this.state = "connecting";
    this.current = page.served_at;
    this.received = page.last_received_at;
    this.lag = null;
    this.skew = 0;
    this.timer = setInterval(() => this.show(), 1000);
    this.show();
  }

  /** @param {import("./socket.js").SocketState} state */
  socket(state) {
    if (state === "lost") {
      this.lostAt ??= Date.now();
      this.waits = false;
    }
    this.state = state;
    this.show();
  }

  /** @param {{sent_at:number, received_at:number}} frame */
  frame(frame) {
    const skew = frame.sent_at - Date.now();
    this.skew = Math.abs(skew) > SKEW_BELIEVED ? skew : 0;
    this.lag = Math.max(1, Date.now() + this.skew - frame.received_at);
    this.received = Math.max(this.received ?? 0, frame.received_at);
    this.current = frame.sent_at;
    this.behind = false;
    this.waits = false;
    this.element?.removeAttribute("data-beat");
    requestAnimationFrame(() => this.element?.setAttribute("data-beat", ""));
    this.show();
  }

  /** @param {object} snapshot */
  snapshot(snapshot) {
    this.behind = false;
    this.current = snapshot.served_at;
    const parts = snapshot.handles ?? [snapshot];
    this.received = Math.max(0, ...parts.map((part) => part.last_received_at ?? 0)) || null;
    this.show();
  }

  /** A snapshot could not be had: what is shown may be old. */
  failed() {
    this.behind = true;
    this.show();
  }

  /**
   * The server says whether what it takes in also gets counted.
   * @param {boolean} isBehind @returns {boolean} whether it keeps up again, and what is shown is to be fetched anew
   */
  pulse(isBehind) {
    const caughtUp = Boolean(this.waits) && !isBehind;
    this.waits = isBehind;
    this.show();
    return caughtUp;
  }

  /** Now by the server's clock, in ms. */
  now() {
    return Date.now() + this.skew;
  }

  show() {
    if (!this.element) return;
    const [state, word, more] = this.words();
    const parts = { "[data-badge-word]": word, "[data-badge-more]": more };
    this.element.dataset.state = state;
    for (const [selector, text] of Object.entries(parts)) {
      const part = this.element.querySelector(selector);
      if (part.textContent !== text) part.textContent = text;
    }
  }

  words() {
    const asOf = () => `as of ${local(this.current, pageZone()).seconds}`;
    if (this.state === "signed-out") return ["stale", "Signed out", "reload to sign in"];
    if (this.state === "gone" || this.behind) return ["stale", "Stale", asOf()];
    if (this.state === "resting") return ["stale", "Paused", asOf()];
    if (this.state !== "open") {
      const isLong = Date.now() - (this.lostAt ?? Date.now()) > STALE_AFTER;
      if (isLong || !navigator.onLine) return ["stale", navigator.onLine ? "Stale" : "Offline", asOf()];
      return ["reconnecting", this.lostAt ? "Reconnecting" : "Connecting", ""];
    }
    this.lostAt = undefined;
    if (this.waits) return ["stale", "Stale", asOf()];
    if (!this.received) return ["quiet", "Waiting", "for the first event"];
    if (this.now() - this.received >= QUIET_AFTER) {
      const at = local(this.received, pageZone());
      const isToday = this.now() - this.received < 72_000_000;
      return ["quiet", "Quiet", `since ${isToday ? "" : `${at.day} ${at.month}, `}${at.time}`];
    }
    return ["live", "Live", this.lag === null ? "" : this.lag < 9_950 ? `${count(this.lag)} ms` : `${count(this.lag / 1000)} s`];
  }

  end() {
    clearInterval(this.timer);
  }
}
