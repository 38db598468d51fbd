// The page of handles, kept current: today's totals move with the lifetime, the last hour with its minutes.

import { Badge } from "./badge.js";
import { local, viewerZone } from "./clock.js";
import { Feed } from "./feed.js";
import { mount } from "./mount.js";
import { change, count } from "./numbers.js";
import { setChange, setFigure, setText, throttled } from "./patch.js";
import { patch as patchSparkline } from "./sparkline.js";
import { fit } from "./tiles.js";
import { Vocabulary, add, embedded } from "./vocabulary.js";

const APART = 250;
const MINUTE = 60;
const REFRESH_EVERY = 60_000; // "the same time yesterday" moves on with the clock
const MOST_WATCHED = 50; // handles of one socket; the others follow with the refresh
const MOVING_EVERY = 15_000;
const SPREAD = 5_000;

class HandlesPage {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.vocabulary = new Vocabulary(embedded("vocabulary"));
    const page = embedded("page-data");
    this.take(page);
    this.showSoon = throttled(() => this.show(), APART);
    const sequences = Object.fromEntries(page.handles.slice(0, MOST_WATCHED).map(({ handle, sequence }) => [handle, sequence]));
    if (!page.handles.length) return;
    const received = Math.max(0, ...page.handles.map((handle) => handle.last_received_at ?? 0)) || null;
    this.badge = new Badge(root.querySelector("[data-badge]"), { served_at: page.served_at, last_received_at: received });
    this.feed = new Feed({
      sequences,
      snapshotUrl: () => root.dataset.snapshot,
      onFrame: (frame) => this.frame(frame),
      onSnapshot: (snapshot) => this.snapshot(snapshot),
      badge: this.badge,
    });
    this.refreshed = Date.now();
    this.movingDue = 0;
    this.ticker = setInterval(() => this.tick(), 1000);
  }

  take(page) {
    this.handles = new Map(page.handles.map((handle) => [handle.handle, {
      ...handle,
      first_minute: handle.minutes[0][0],
      minutes: new Map(handle.minutes.map(([start, ...counts]) => [start, counts])),
    }]));
  }

  snapshot(snapshot) {
    this.take(snapshot);
    this.showSoon();
  }

  frame(frame) {
    const handle = this.handles.get(frame.handle);
    const card = this.card(frame.handle);
    if (!card.querySelector("[data-figure]")) {
      location.reload(); // its first event: the server draws the card that was not there yet
      return;
    }
    for (const [start, ...counts] of frame.minutes) this.minute(handle, start, counts);
    this.showSoon();
    if (frame.tweets.length && Date.now() > this.movingDue) {
      this.movingDue = Date.now() + MOVING_EVERY; // who moves fastest is the server's to say
      this.feed.resync(SPREAD);
    }
  }

  /** A minute's new total moves today's by the difference from the one that was known. */
  minute(handle, start, counts) {
    if (start < handle.first_minute || start >= handle.tomorrow) {
      this.feed.resync();
      return;
    }
    const known = handle.minutes.get(start) ?? [[], []];
    if (start >= handle.midnight) handle.today = add(handle.today, add(counts, known, -1));
    handle.minutes.set(start, counts);
  }

  tick() {
    if (Date.now() - this.refreshed < REFRESH_EVERY) return;
    this.refreshed = Date.now();
    this.feed.resync(SPREAD);
  }

  card(name) {
    return this.root.querySelector(`[data-handle-card="${CSS.escape(name)}"]`);
  }

  show() {
    for (const handle of this.handles.values()) this.showHandle(handle);
  }

  showHandle(handle) {
    const card = this.card(handle.handle);
    if (!card) return;
    for (const figure of card.querySelectorAll("[data-figure]")) this.showFigure(figure, handle);
    const { moving } = handle;
    const text = card.querySelector("[data-moving-text]");
    const chip = card.querySelector("[data-moving-rate]");
    if (!text) return;
    chip.hidden = !moving;
    text.classList.toggle("muted", !moving);
    setText(text, moving?.text ?? this.silence(handle));
    if (moving) text.href = moving.url;
    else text.removeAttribute("href");
    setText(chip, moving ? `${moving.rate} per min` : "");
  }

  /** What to say where nothing moves. */
  silence({ last_received_at: last }) {
    return this.badge.now() - last < MINUTE * 1000 ? "Nothing moves right now" : `Quiet since ${local(last, viewerZone()).time}`;
  }

  showFigure(figure, handle) {
    const name = figure.dataset.figure;
    const value = this.vocabulary.of(name, handle.today);
    const element = figure.querySelector("[data-value]");
    setFigure(element, count(value));
    fit(element);
    for (const against of figure.querySelectorAll("[data-against]")) {
      const was = this.vocabulary.of(name, handle[against.dataset.against]);
      setChange(against, change(value, was));
    }
    const until = Math.floor(this.badge.now() / 1000 / MINUTE) * MINUTE + MINUTE;
    const values = Array.from({ length: 60 }, (_, place) => handle.minutes.get(until - (60 - place) * MINUTE)).map((counts) => (counts ? this.vocabulary.of(name, counts) : 0));
    patchSparkline(figure, values, true);
  }

  end() {
    clearInterval(this.ticker);
    this.showSoon.cancel();
    this.badge?.end();
    this.feed?.end();
  }
}

mount((root) => new HandlesPage(root));
