// The Import page: files go in, cards follow their imports over the live socket, and ask by themselves without it.

import { age, compact, rounded } from "./numbers.js";
import { setText } from "./patch.js";
import { Socket } from "./socket.js";
import { Uploader } from "./uploader.js";

const ASK_EVERY = 2_000;
const ACTIVE = new Set(["uploading", "reading", "ready", "running"]);

class Imports {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.base = root.dataset.base;
    this.cards = root.querySelector("[data-cards]");
    this.fetching = new Map();
    if (root.querySelector("[data-drop]")) this.takeFiles();
    this.offerAll();
    this.socket = new Socket(`/ws/live/?${new URLSearchParams({ handle: root.dataset.handle })}`, {
      onMessage: (message) => this.receive(message),
      onState: (state) => this.socketIs(state),
    });
  }

  // --- what the server tells ---------------------------------------------------------------------------------

  receive(message) {
    if (message.kind === "import") this.apply(message.import);
    else if (message.kind === "hello") this.ask();
  }

  /** Without the socket the page asks. @param {import("./socket.js").SocketState} state */
  socketIs(state) {
    const isAlone = state === "lost" || state === "connecting";
    if (isAlone) this.asking ??= setInterval(() => this.ask(), ASK_EVERY);
    else this.asking = clearInterval(this.asking);
  }

  async ask() {
    try {
      const answer = await fetch(`${this.base}live.json`, { headers: { Accept: "application/json" }, cache: "no-store" });
      if (answer.status === 401) location.reload();
      if (answer.ok) (await answer.json()).imports.forEach((told) => this.apply(told));
    } catch {
      // The next try comes by itself.
    }
  }

  /** @param {{id:number, state:string, share:number|null, words:string}} told how one import stands */
  apply(told) {
    const card = this.card(told.id);
    if (!card) {
      if (this.cards && ACTIVE.has(told.state)) this.renew(told);
      return;
    }
    if (card.dataset.state === "sending" && told.state === "uploading") return;
    if (card.dataset.state !== told.state) this.renew(told);
    else show(card, told.share, told.words);
  }

  card(id) {
    return this.root.querySelector(`[data-import="${id}"]`);
  }

  /** Fetch an import's card, once at a time; again when it has moved on meanwhile. */
  async renew(told) {
    const { id } = told;
    if (this.fetching.has(id)) {
      this.fetching.set(id, told);
      return;
    }
    this.fetching.set(id, null);
    const text = await this.fetchCard(id);
    const later = this.fetching.get(id);
    this.fetching.delete(id);
    if (text) this.place(id, text);
    if (later && this.card(id)?.dataset.state !== later.state) this.renew(later);
  }

  async fetchCard(id) {
    try {
      const answer = await fetch(`${this.base}${id}/card/`, { cache: "no-store" });
      return answer.ok ? await answer.text() : null;
    } catch {
      return null; // the next message, or the next question, tries again
    }
  }

  place(id, text) {
    const template = document.createElement("template");
    template.innerHTML = text;
    const fresh = template.content.querySelector("[data-import]");
    const old = this.card(id);
    if (!fresh || (old?.dataset.state === "sending" && fresh.dataset.state === "uploading")) return;
    const hadFocus = old?.contains(document.activeElement);
    if (old) old.replaceWith(fresh);
    else this.cards.prepend(fresh);
    window.htmx.process(fresh);
    if (hadFocus) fresh.querySelector(".import__name").focus({ preventScroll: true });
    this.say(`${fresh.dataset.name}: ${fresh.querySelector(".chip").textContent}`);
  }

  /** With several files ready, one button starts them all; those of another handle need a look of their own. */
  offerAll() {
    const bar = this.root.querySelector("[data-all]");
    if (!bar) return;
    const ready = () => [...this.cards.querySelectorAll("[data-state=ready]:not([data-other]) [data-start]")];
    const count = () => {
      const { length } = ready();
      bar.hidden = length < 2;
      setText(bar.querySelector("[data-all-count]"), String(length));
    };
    bar.querySelector("[data-all-button]").addEventListener("click", () => ready().forEach((button) => button.click()));
    new MutationObserver(count).observe(this.cards, { childList: true });
    count();
  }

  say(text) {
    setText(this.root.querySelector("[data-said]"), text);
  }

  // --- files on their way in ---------------------------------------------------------------------------------

  takeFiles() {
    const token = this.root.querySelector("[data-drop-form] [name=csrfmiddlewaretoken]").value;
    this.uploader = new Uploader(this.base, token);
    const input = this.root.querySelector("[data-files-input]");
    input.addEventListener("change", () => {
      [...input.files].forEach((file) => this.send(file));
      input.value = "";
    });
    this.letDrop(this.root.querySelector("[data-drop]"));
    addEventListener("beforeunload", (event) => this.uploader.isBusy && event.preventDefault());
  }

  /** Anywhere on the page: nobody should have to aim. */
  letDrop(zone) {
    let depth = 0;
    const over = (change) => (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      depth = Math.max(0, depth + change);
      zone.classList.toggle("is-over", depth > 0);
    };
    addEventListener("dragenter", over(1));
    addEventListener("dragover", over(0));
    addEventListener("dragleave", over(-1));
    addEventListener("drop", (event) => {
      over(-depth)(event);
      [...(event.dataTransfer?.files ?? [])].forEach((file) => this.send(file));
    });
  }

  /** @param {File} file */
  send(file) {
    const card = this.root.querySelector("#sending").content.firstElementChild.cloneNode(true);
    const ender = new AbortController();
    card.dataset.name = file.name;
    setText(card.querySelector("bdi"), file.name);
    card.querySelector("[data-share]").setAttribute("aria-label", `${file.name}, sent`);
    card.querySelector("[data-stop]").addEventListener("click", () => this.stop(card, ender));
    this.cards.prepend(card);
    this.uploader.add(file, this.hooks(file, card), ender.signal);
  }

  /** @returns {import("./uploader.js").Hooks} */
  hooks(file, card) {
    const chip = card.querySelector(".chip");
    return {
      onBegun: (id) => {
        this.card(id)?.remove();
        card.dataset.import = id;
        setText(chip, "sending");
        show(card, 0, `${size(file.size)} …`);
      },
      onSent: (sent, perSecond) => {
        setText(chip, "sending");
        show(card, sent / file.size, progress(sent, file.size, perSecond));
      },
      onCut: () => {
        setText(chip, "waiting");
        show(card, undefined, "The connection is gone. What was sent is kept, and it goes on by itself.");
      },
      onDone: () => {
        card.dataset.state = "uploading";
        this.renew({ id: Number(card.dataset.import), state: "reading" });
      },
      onRefused: (why) => this.refuse(card, chip, why),
    };
  }

  refuse(card, chip, why) {
    card.dataset.state = "refused";
    chip.classList.add("chip--down");
    setText(chip, "not taken");
    card.querySelector("[data-share]").remove();
    setText(card.querySelector("[data-words]"), why);
    setText(card.querySelector("[data-stop]"), "Close");
    this.say(why);
  }

  /** Do not send it after all; what is there already is dropped. */
  stop(card, ender) {
    ender.abort();
    const id = card.dataset.import;
    if (id && card.dataset.state === "sending") this.uploader.discard(id);
    card.remove();
    this.root.querySelector("[data-files-input]").focus();
  }
}

/** @param {number|null|undefined} share of the work done; null while nobody can know, undefined to leave it as it is */
function show(card, share, words) {
  const bar = card.querySelector("[data-share]");
  if (bar && share === null) bar.removeAttribute("value");
  else if (bar && share !== undefined) bar.value = share;
  setText(card.querySelector("[data-words]"), words);
}

function progress(sent, total, perSecond) {
  const parts = [`${size(sent)} of ${size(total)}`];
  if (perSecond && sent < total) {
    const left = (total - sent) / perSecond;
    parts.push(`${size(perSecond)} a second`, `${left < 60 ? `${Math.ceil(left)} s` : age(left)} left`);
  }
  return parts.join(" · ");
}

/** @param {number} bytes @returns {string} as the server writes it: "12.4 MB" */
function size(bytes) {
  for (const [unit, name] of [[2 ** 30, "GB"], [2 ** 20, "MB"], [2 ** 10, "KB"]]) {
    if (bytes >= unit) return `${rounded(bytes / unit, 1)}\u00a0${name}`;
  }
  return `${compact(bytes)}\u00a0bytes`;
}

const root = document.getElementById("imports");
if (root) new Imports(root);
