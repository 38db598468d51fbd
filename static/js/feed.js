// The live figures of some handles: frames in order, and a snapshot whenever one may have been missed.

import { Socket } from "./socket.js";

const APART = 2000; // at most one snapshot in two seconds
const JITTER = 400;

/**
 * @typedef {object} FeedOptions
 * @property {Object<string, number>} sequences what the page shows, by handle
 * @property {string} [tweet] id of a Tweet that every frame should carry
 * @property {() => string} snapshotUrl
 * @property {(frame: object) => void} onFrame
 * @property {(snapshot: object) => void} onSnapshot
 * @property {import("./badge.js").Badge} badge
 */

export class Feed {
  /** @param {FeedOptions} options */
  constructor(options) {
    this.options = options;
    this.sequences = { ...options.sequences };
    this.heard = { ...options.sequences };
    this.last = 0;
    const asked = new URLSearchParams(Object.keys(options.sequences).map((handle) => ["handle", handle]));
    if (options.tweet) asked.set("tweet", options.tweet);
    this.socket = new Socket(`/ws/live/?${asked}`, {
      onMessage: (message) => this.receive(message),
      onState: (state) => options.badge.socket(state),
    });
  }

  /** @param {{kind:string, handle:string, sequence:number, previous:number, behind:boolean}} message */
  receive(message) {
    const { handle, sequence } = message;
    if (message.kind === "pulse") this.pulse(message.behind);
    if (!(handle in this.sequences) || !["hello", "frame"].includes(message.kind)) return;
    this.heard[handle] = Math.max(this.heard[handle], sequence);
    if (message.kind === "hello") {
      if (sequence !== this.sequences[handle]) this.resync();
    } else if (message.kind === "frame") {
      this.frame(message);
    }
  }

  /** The server's word on whether it keeps up. @param {boolean} isBehind */
  pulse(isBehind) {
    if (this.options.badge.pulse(isBehind)) this.resync();
  }

  frame(message) {
    const known = this.sequences[message.handle];
    if (message.sequence <= known) return;
    if (message.previous > known) {
      this.resync();
      return;
    }
    this.sequences[message.handle] = message.sequence;
    this.options.badge.frame(message);
    this.options.onFrame(message);
  }

  /** Fetch a snapshot soon: never two at once, never often, and not all browsers in the same moment. @param {number} [jitter] ms */
  resync(jitter = JITTER) {
    if (this.fetching || this.ended || document.hidden) return;
    const due = Math.max(Date.now(), this.last + APART) + Math.random() * jitter;
    if (this.planned && this.due <= due) return;
    clearTimeout(this.planned);
    this.due = due;
    this.planned = setTimeout(() => this.fetch(), due - Date.now());
  }

  async fetch() {
    this.last = Date.now();
    this.planned = undefined;
    this.fetching = true;
    const snapshot = await this.ask();
    this.fetching = false;
    if (this.ended) return;
    if (snapshot) {
      this.take(snapshot);
    } else {
      // The figures on screen stay, and say how old they are; the next try comes by itself.
      this.options.badge.failed();
      this.last = Date.now() + APART;
      this.resync(APART);
    }
  }

  /** @returns {Promise<object|null>} a snapshot, or null when none could be had */
  async ask() {
    this.aborter = new AbortController();
    try {
      const answer = await fetch(this.options.snapshotUrl(), {
        headers: { Accept: "application/json" }, signal: this.aborter.signal, cache: "no-store",
      });
      return answer.ok ? await answer.json() : null;
    } catch {
      return null;
    }
  }

  /** @param {object} snapshot of one handle, or of several */
  take(snapshot) {
    if (this.ended) return;
    for (const part of snapshot.handles ?? [snapshot]) {
      this.sequences[part.handle] = part.sequence;
      // It was read before a frame that has already come: that frame is missing in it.
      if (part.sequence < (this.heard[part.handle] ?? 0)) this.resync();
    }
    this.options.badge.snapshot(snapshot);
    this.options.onSnapshot(snapshot);
  }

  end() {
    this.ended = true;
    clearTimeout(this.planned);
    this.aborter?.abort();
    this.socket.end();
  }
}
