// One websocket that stays: dead ones are noticed, lost ones come back with a jittered back-off, hidden tabs rest.

const DEAD_AFTER = 40_000; // nothing heard: the server sends a pulse every 15 s
const FIRST_WAIT = 400;
const LONGEST_WAIT = 6_000;
const SIGNED_OUT = 4401;
const NOT_FOUND = 4404;

/** @typedef {"connecting"|"open"|"lost"|"resting"|"signed-out"|"gone"} SocketState */

export class Socket {
  /** @param {string} path @param {{onMessage:(message:object)=>void, onState:(state:SocketState)=>void}} to */
  constructor(path, to) {
    const url = new URL(path, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    this.url = url.href;
    this.to = to;
    this.attempts = 0;
    this.ended = new AbortController();
    const { signal } = this.ended;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.rest() : this.connect()), { signal });
    addEventListener("online", () => this.retryNow(), { signal });
    addEventListener("offline", () => this.drop(), { signal });
    addEventListener("pagehide", () => this.rest(), { signal });
    addEventListener("pageshow", (event) => event.persisted && this.connect(), { signal });
    if (document.hidden) this.to.onState("resting");
    else this.connect();
  }

  connect() {
    if (this.socket || this.ended.signal.aborted) return;
    clearTimeout(this.waiting);
    this.to.onState("connecting");
    const socket = new WebSocket(this.url);
    this.socket = socket;
    this.expectLife();
    socket.onmessage = ({ data }) => {
      if (this.socket !== socket) return;
      // Open is what speaks: a server that lacks a part accepts a socket, only to close it.
      if (!this.speaks) this.to.onState("open");
      this.speaks = true;
      this.attempts = 0;
      this.expectLife();
      this.to.onMessage(JSON.parse(data));
    };
    socket.onclose = ({ code }) => this.socket === socket && this.closed(code);
  }

  /** @param {number} code of the close */
  closed(code) {
    this.forget();
    if (code === SIGNED_OUT || code === NOT_FOUND) {
      this.to.onState(code === SIGNED_OUT ? "signed-out" : "gone");
      return;
    }
    this.to.onState("lost");
    const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.attempts) * (0.5 + Math.random() / 2);
    this.attempts += 1;
    this.waiting = setTimeout(() => this.connect(), wait);
  }

  /** A socket that says nothing for long is dead, whatever the browser believes. */
  expectLife() {
    clearTimeout(this.life);
    this.life = setTimeout(() => this.drop(), DEAD_AFTER);
  }

  drop() {
    const { socket } = this;
    if (!socket) return;
    socket.onclose = null;
    socket.close();
    this.closed(0);
  }

  retryNow() {
    this.attempts = 0;
    this.connect();
  }

  rest() {
    clearTimeout(this.waiting);
    this.socket?.close();
    this.forget();
    this.to.onState("resting");
  }

  forget() {
    clearTimeout(this.life);
    this.socket = undefined;
    this.speaks = false;
  }

  end() {
    this.ended.abort();
    clearTimeout(this.waiting);
    this.socket?.close();
    this.forget();
  }
}
