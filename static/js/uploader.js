// Sends files in pieces, two files at once; an upload that is cut goes on where the server says.

const AT_ONCE = 2;
const FIRST_PIECE = 256 * 1024;
const QUICK = 700; // ms: a piece that took less may be twice as large, so that the bar moves about once a second
const SLOW = 3_000;
const LONGEST_WAIT = 15_000;

/** A refusal in the server's words. */
export class Refused extends Error {}

/**
 * @typedef {object} Hooks
 * @property {(id: number) => void} onBegun the server knows the file
 * @property {(sent: number, perSecond: number|null) => void} onSent
 * @property {() => void} onCut the connection is gone; it is tried again
 * @property {(state: string) => void} onDone the whole file is there
 * @property {(why: string) => void} onRefused
 */

export class Uploader {
  /** @param {string} base the Import page's address @param {string} token against forged requests */
  constructor(base, token) {
    this.base = base;
    this.token = token;
    this.waiting = [];
    this.running = 0;
  }

  /** Whether something would be lost by leaving the page. */
  get isBusy() {
    return this.running + this.waiting.length > 0;
  }

  /** @param {File} file @param {Hooks} hooks @param {AbortSignal} signal ends it */
  add(file, hooks, signal) {
    this.waiting.push({ file, hooks, signal });
    this.next();
  }

  async next() {
    if (this.running >= AT_ONCE || !this.waiting.length) return;
    const { file, hooks, signal } = this.waiting.shift();
    this.running += 1;
    try {
      if (!signal.aborted) hooks.onDone(await this.send(file, hooks, signal));
    } catch (error) {
      if (!signal.aborted) hooks.onRefused(told(error, file));
    }
    this.running -= 1;
    this.next();
  }

  /** @returns {Promise<string>} the import's state once the file is there */
  async send(file, hooks, signal) {
    const about = new URLSearchParams({ name: file.name, size: file.size, modified: Math.max(0, Math.round(file.lastModified)) });
    const begun = await this.insist(`${this.base}files/`, about, hooks, signal);
    hooks.onBegun(begun.id);
    let [sent, length, state] = [begun.received, FIRST_PIECE, "uploading"];
    const start = { at: performance.now(), sent };
    while (sent < file.size) {
      const bytes = await file.slice(sent, sent + length).arrayBuffer();
      const url = `${this.base}${begun.id}/pieces/?offset=${sent}`;
      const began = performance.now();
      ({ received: sent, state } = await this.insist(url, bytes, hooks, signal, sent));
      const took = performance.now() - began;
      if (took < QUICK) length = Math.min(begun.piece, length * 2);
      else if (took > SLOW) length = Math.max(FIRST_PIECE, length / 2);
      const seconds = (performance.now() - start.at) / 1000;
      hooks.onSent(sent, seconds > 1 ? (sent - start.sent) / seconds : null);
    }
    return state;
  }

  /** Drop what is there of a file that is not to be sent after all. @param {number} id */
  async discard(id) {
    await this.ask(`${this.base}${id}/cancel/`, new URLSearchParams(), AbortSignal.timeout(LONGEST_WAIT)).catch(() => null);
  }

  /** Ask until there is an answer: a lost connection or a server that restarts is waited for. */
  async insist(url, body, hooks, signal, offset) {
    for (let attempt = 0; ; attempt += 1) {
      const answer = await this.ask(url, body, signal);
      if (answer?.ok) return answer.json();
      if (answer && answer.status < 500 && answer.status !== 429) {
        const { detail, received } = await sentence(answer);
        // It has another part of the file than we believed: go on from there.
        if (answer.status === 409 && Number.isInteger(received) && received !== offset) return { received, state: "uploading" };
        throw new Refused(detail);
      }
      hooks.onCut();
      await pause(Math.min(LONGEST_WAIT, 1000 * 2 ** attempt), signal);
    }
  }

  /** @returns {Promise<Response|null>} null when the server could not be reached */
  async ask(url, body, signal) {
    const headers = { Accept: "application/json", "X-CSRFToken": this.token };
    if (body instanceof ArrayBuffer) headers["Content-Type"] = "application/octet-stream";
    try {
      return await fetch(url, { method: "POST", body, headers, signal });
    } catch (error) {
      if (signal.aborted) throw error;
      return null;
    }
  }
}

async function sentence(answer) {
  try {
    return await answer.json();
  } catch {
    // Not one of the door's own answers: the page is older than the sign-in.
    return { detail: "The server did not take it. Reload the page, sign in if it asks, and choose the file again." };
  }
}

function told(error, file) {
  if (error instanceof Refused) return error.message;
  if (error instanceof DOMException) return `“${file.name}” cannot be read any more: it was changed, moved, or is a folder. Choose it again.`;
  throw error;
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    addEventListener("online", () => resolve(clearTimeout(timer)), { once: true, signal });
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
