// Lists of Tweets that re-rank while somebody reads: rows glide to their new places, and wait while one is being read.

import * as numbers from "./numbers.js";
import { setFigure, setText } from "./patch.js";

const MOVING_SHOWN = 5;
const PICKED = "[data-pick]:checked";
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class Ranking {
  /** @param {HTMLElement} root @param {import("./model.js").ReportModel} model @param {{now: () => number}} badge */
  constructor(root, model, badge) {
    this.root = root;
    this.model = model;
    this.badge = badge;
    this.sort = root.dataset.sort;
    this.sign = root.dataset.order === "asc" ? 1 : -1;
    this.body = root.querySelector("[data-tweets] tbody");
    this.list = root.querySelector("[data-moving]");
    this.button = root.querySelector("[data-rerank]");
    this.button?.addEventListener("click", () => this.settle());
    this.card = this.body?.closest(".card");
    this.card?.addEventListener("pointerleave", () => this.show());
  }

  /** Bring both lists up to date. */
  show() {
    if (!this.body) return;
    const tweets = this.model.shown.map((id) => this.model.byId.get(id));
    this.rows(this.body, tweets, "tweet-row");
    for (const tweet of tweets) this.fill(this.body.querySelector(`[data-tweet="${tweet.id}"]`), tweet);
    const order = this.order(tweets).map(({ id }) => id);
    if (this.isRead()) this.hold(order);
    else this.move(this.body, order);
    this.moving();
    this.root.querySelector("[data-tweets-none]").hidden = tweets.length > 0;
  }

  order(tweets) {
    const now = this.badge.now();
    const value = (tweet) => this.model.value(tweet, this.sort, now);
    const engagements = (tweet) => this.model.vocabulary.of("engagements", tweet.totals);
    const sorted = tweets.map((tweet) => ({ tweet, keys: [value(tweet), engagements(tweet)] }));
    sorted.sort((left, right) => this.sign * (left.keys[0] - right.keys[0] || left.keys[1] - right.keys[1]) || compareIds(right.tweet, left.tweet));
    return sorted.map(({ tweet }) => tweet);
  }

  moving() {
    const now = this.badge.now();
    const fast = [...this.model.byId.values()].map((tweet) => ({ tweet, rate: this.model.rate(tweet, now) })).filter(({ rate }) => rate > 0);
    fast.sort((left, right) => right.rate - left.rate || compareIds(right.tweet, left.tweet));
    const tweets = fast.slice(0, MOVING_SHOWN).map(({ tweet }) => tweet);
    const isRead = this.list.matches(":hover") || this.list.contains(document.activeElement);
    if (!isRead) {
      this.rows(this.list, tweets, "moving-row");
      this.move(this.list, tweets.map(({ id }) => id));
    }
    for (const row of this.list.children) this.fill(row, this.model.byId.get(row.dataset.tweet) ?? tweets[0]);
    this.root.querySelector("[data-moving-none]").hidden = this.list.children.length > 0;
  }

  /** Somebody points at the card, has the focus in a row, or has ticked some. */
  isRead() {
    return this.card.matches(":hover") || this.body.contains(document.activeElement) || this.body.querySelector(PICKED) !== null;
  }

  /** Say how many rows would move, and leave them. */
  hold(order) {
    const moved = order.filter((id, place) => this.body.rows[place]?.dataset.tweet !== id).length;
    this.button.hidden = moved === 0;
    setText(this.button, `Re-rank ${moved} rows`);
  }

  settle() {
    this.button.hidden = true;
    this.body.contains(document.activeElement) && document.activeElement.blur();
    this.move(this.body, this.order(this.model.shown.map((id) => this.model.byId.get(id))).map(({ id }) => id));
  }

  /** Make rows for Tweets that have none, and remove those of Tweets that are gone, unless they are ticked. */
  rows(container, tweets, template) {
    const wanted = new Set(tweets.map(({ id }) => id));
    for (const row of [...container.children]) if (!wanted.has(row.dataset.tweet) && !row.querySelector(PICKED)) row.remove();
    for (const { id } of tweets) {
      if (container.querySelector(`[data-tweet="${id}"]`)) continue;
      const row = this.root.querySelector(`#${template}`).content.firstElementChild.cloneNode(true);
      row.dataset.tweet = id;
      row.querySelector("[data-pick]")?.setAttribute("value", id);
      container.append(row);
    }
  }

  /** Put rows in order; each glides from where it was. @param {string[]} order ids */
  move(container, order) {
    if (this.button && container === this.body) this.button.hidden = true;
    const rows = [...container.children];
    if (rows.every((row, place) => row.dataset.tweet === order[place])) return;
    const before = new Map(rows.map((row) => [row, row.getBoundingClientRect().top]));
    const byId = new Map(rows.map((row) => [row.dataset.tweet, row]));
    container.append(...order.map((id) => byId.get(id)).filter(Boolean));
    if (calm.matches) return;
    for (const [row, top] of before) {
      const by = top - row.getBoundingClientRect().top;
      if (by) row.animate([{ transform: `translateY(${by}px)` }, { transform: "none" }], { duration: 320, easing: "cubic-bezier(.2,.7,.2,1)" });
    }
  }

  fill(row, tweet) {
    if (!row || !tweet) return;
    const now = this.badge.now();
    const set = (selector, text) => setText(row.querySelector(selector), text);
    set("[data-text]", tweet.text);
    set("[data-age]", numbers.age((now - tweet.created_at) / 1000));
    set("[data-media]", tweet.media);
    row.querySelector("a").href = tweet.url;
    row.querySelector("[data-pick]")?.setAttribute("aria-label", `Choose this Tweet: ${tweet.text.slice(0, 60)}`);
    showTags(row.querySelector("[data-tags]"), tweet.tags);
    const rate = row.querySelector("[data-rate]");
    if (rate) setFigure(rate, numbers.rate(this.model.rate(tweet, now)));
    const chip = row.querySelector("[data-times]");
    chip.hidden = tweet.times === null;
    if (tweet.times !== null) setText(chip, `${numbers.times(tweet.times)} usual at this age`);
    chip.classList.toggle("chip--up", tweet.times >= 1.5);
    for (const cell of row.querySelectorAll("[data-cell]")) setFigure(cell, this.cell(tweet, cell.dataset.cell, now));
  }

  cell(tweet, name, now) {
    if (name === "rate") return numbers.rate(this.model.rate(tweet, now));
    if (name === "engagement_rate") return numbers.percent(this.model.vocabulary.rate(tweet.totals));
    return numbers.count(this.model.vocabulary.of(name, tweet.totals));
  }
}

/** @param {HTMLElement|null} place @param {Array<[string, string]>} tags each with the address of its campaign */
function showTags(place, tags) {
  if (!place || [...place.children].map((chip) => chip.textContent).join("\n") === tags.map(([tag]) => tag).join("\n")) return;
  const chips = tags.map(([tag, url]) => {
    const chip = Object.assign(document.createElement("a"), { className: "chip chip--tag clip", href: url, textContent: tag });
    chip.setAttribute("hx-boost", "false");
    return chip;
  });
  place.replaceChildren(...chips);
}

/** Ids are longer than a number can hold: the longer string is larger, then letter by letter. */
function compareIds(left, right) {
  return left.id.length - right.id.length || (left.id < right.id ? -1 : Number(left.id > right.id));
}
