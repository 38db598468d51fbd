// A Tweet's page, kept current: totals and the last hour from frames, the rest from snapshots.

import { Badge } from "./badge.js";
import { patchBands } from "./bands.js";
import { ChartCards } from "./chartcards.js";
import { bucketLabel } from "./clock.js";
import { Feed } from "./feed.js";
import { Hover } from "./hover.js";
import { mount, snapshotUrl } from "./mount.js";
import { rate, times } from "./numbers.js";
import { setText, throttled } from "./patch.js";
import { ReachCurve } from "./reach.js";
import { ageReadings, growthReadings, velocityReadings } from "./readings.js";
import { drawFunnel, showBreakdown, showCorrections, showFunnel, showSeries } from "./tables.js";
import { showTiles } from "./tiles.js";
import { patchSeries } from "./timeseries.js";
import { Vocabulary, add, columnOf, embedded } from "./vocabulary.js";

const CHART_APART = 250;
const CURVES_EVERY = 10_000;
const RATE_MINUTES = 5;
const MINUTE = 60;

class TweetPage {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.vocabulary = new Vocabulary(embedded("vocabulary"));
    const page = embedded("page-data");
    this.badge = new Badge(root.querySelector("[data-badge]"), page);
    this.cards = new ChartCards(root);
    this.growth = { previous: null, running: false, vocabulary: this.vocabulary };
    this.velocity = { previous: null, running: true, vocabulary: this.vocabulary, column: (name) => columnOf(this.vocabulary, name, this.velocity.counts) };
    this.take(page);
    const { clock, age, velocity } = this.cards.charts;
    this.hovers = [new Hover(clock, growthReadings(this.growth)), new Hover(age, ageReadings(age)), new Hover(velocity, velocityReadings(this.velocity))];
    this.reach = new ReachCurve(this.cards);
    this.curvesDue = 0;
    this.showSoon = throttled(() => this.show(), CHART_APART);
    this.cards.draw();
    this.feed = new Feed({
      sequences: { [page.handle]: page.sequence },
      tweet: page.tweet,
      snapshotUrl: () => snapshotUrl(root),
      onFrame: (frame) => this.frame(frame),
      onSnapshot: (snapshot) => {
        this.take(snapshot);
        this.showSoon();
      },
      badge: this.badge,
    });
    root.addEventListener("twin", () => this.show());
    this.ticker = setInterval(() => this.tick(), 1000);
  }

  /** @param {object} snapshot of the Tweet */
  take(snapshot) {
    this.page = snapshot;
    this.minutes = new Map(snapshot.minutes.map(([start, ...counts]) => [start, counts]));
    let sum = snapshot.before;
    Object.assign(this.growth, {
      edges: snapshot.edges,
      labels: snapshot.labels,
      bands: snapshot.bands,
      counts: snapshot.counts.map((counts) => {
        sum = add(sum, counts);
        return sum;
      }),
    });
    this.window();
  }

  /** The last hour, minute by minute. */
  window() {
    const until = Math.floor(this.badge.now() / 1000 / MINUTE) * MINUTE + MINUTE;
    const starts = Array.from({ length: 60 }, (_, place) => until - (60 - place) * MINUTE);
    const moved = this.velocity.edges?.at(-1) !== until;
    Object.assign(this.velocity, {
      edges: [...starts, until],
      labels: starts.map((start) => bucketLabel(start, start + MINUTE, this.page.zone)),
      counts: starts.map((start) => this.minutes.get(start) ?? [[], []]),
    });
    return moved;
  }

  frame(frame) {
    const own = frame.tweets.find(({ id }) => id === this.page.tweet);
    if (!own || String(own.lifetime) === String(this.page.lifetime)) return;
    this.page.lifetime = own.lifetime;
    for (const [start, ...counts] of own.minutes) this.minutes.set(start, counts);
    this.window();
    this.showSoon();
    // Curves and medians are the server's work.
    if (Date.now() > this.curvesDue) {
      this.curvesDue = Date.now() + CURVES_EVERY;
      this.feed.resync();
    }
  }

  tick() {
    if (this.window()) {
      this.redraw = true;
      this.showSoon();
    }
  }

  show() {
    const { lifetime } = this.page;
    showTiles(this.root, this.vocabulary, lifetime, null, (name) => this.velocity.column(name), true);
    showBreakdown(this.root, this.vocabulary, lifetime, null);
    showCorrections(this.root, this.vocabulary, lifetime);
    drawFunnel(this.cards.charts.funnel, showFunnel(this.root, this.vocabulary, lifetime));
    this.chips();
    this.curves();
    this.tables();
    this.hovers.forEach((hover) => hover.refresh());
  }

  chips() {
    const last = this.velocity.counts.slice(-RATE_MINUTES);
    const engagements = last.reduce((sum, counts) => sum + this.vocabulary.of("engagements", counts), 0);
    setText(this.root.querySelector("[data-rate-now]"), rate(engagements / RATE_MINUTES));
    const usual = this.root.querySelector("[data-times-now]");
    usual.hidden = this.page.times === null;
    if (this.page.times !== null) setText(usual, `${times(this.page.times)} usual at this age`);
    usual.classList.toggle("chip--up", this.page.times >= 1.5);
  }

  curves() {
    const { clock, age, velocity } = this.cards.charts;
    patchSeries(velocity, { ...this.velocity, ticks: this.ticks() }, this.redraw);
    this.redraw = false;
    this.patchGrowth(clock);
    patchBands(clock, this.page.bands);
    const own = age.figure.data[1];
    const now = this.vocabulary.of("engagements", this.page.lifetime);
    if (own.y.length && own.y.at(-1) !== now && this.page.is_young) {
      const minutes = Math.max(1, (this.badge.now() - this.page.created_at) / 60_000);
      age.patch({ x: [[...own.x.slice(0, -1), minutes]], y: [[...own.y.slice(0, -1), now]] }, [1]);
    }
  }

  /** Cumulative curves end now, with the Tweet's lifetime. */
  patchGrowth(chart) {
    const { edges, counts } = this.growth;
    const now = this.badge.now();
    const x = edges.slice(1).map((edge) => Math.min(edge * 1000, now));
    const isWhole = edges.at(-1) * 1000 >= now;
    const places = chart.traces(({ of }) => of === "current");
    const values = places.map((place) => {
      const { metric } = chart.figure.data[place].meta;
      const column = counts.map((bucket) => this.vocabulary.of(metric, bucket));
      return isWhole ? [...column.slice(0, -1), this.vocabulary.of(metric, this.page.lifetime)] : column;
    });
    const { range } = chart.figure.layout.xaxis;
    if (range[1] !== edges.at(-1) * 1000) {
      range[1] = edges.at(-1) * 1000;
      places.forEach((place, order) => Object.assign(chart.figure.data[place], { x, y: values[order] }));
      chart.refresh();
    } else {
      chart.patch({ x: places.map(() => x), y: values }, places);
    }
  }

  ticks() {
    const end = this.velocity.edges.at(-1);
    const back = [60, 45, 30, 15, 0];
    return { at: back.map((minutes) => (end - minutes * MINUTE) * 1000), text: back.map((minutes) => (minutes ? `\u2212${minutes} min` : "now")) };
  }

  tables() {
    const models = { clock: this.growth, velocity: this.velocity };
    for (const [name, model] of Object.entries(models)) {
      const table = this.root.querySelector(`.is-table [data-twin="${name}"] [data-series-table]`);
      showSeries(table, this.vocabulary, model.labels, model.counts, model.running);
    }
  }

  end() {
    clearInterval(this.ticker);
    this.showSoon.cancel();
    this.badge.end();
    this.feed.end();
    this.reach.end();
    this.cards.end();
  }
}

mount((root) => new TweetPage(root));
