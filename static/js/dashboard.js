// A handle's dashboard, kept current: one model, and views that each bring themselves up to date.

import { Badge } from "./badge.js";
import { patchBands } from "./bands.js";
import { ChartCards } from "./chartcards.js";
import { Feed } from "./feed.js";
import { Hover } from "./hover.js";
import { ReportModel } from "./model.js";
import { mount, snapshotUrl } from "./mount.js";
import { setText, throttled } from "./patch.js";
import { Ranking } from "./ranking.js";
import { activityReadings, videoReadings } from "./readings.js";
import { drawFunnel, showBreakdown, showFunnel, showSeries } from "./tables.js";
import { showTiles } from "./tiles.js";
import { patchSeries } from "./timeseries.js";
import { Vocabulary, embedded } from "./vocabulary.js";
import { count } from "./numbers.js";

const CHART_APART = 350;
const SLOW_APART = 1000;
const REFRESH_EVERY = 120_000; // the comparison moves on, even when nothing happens here
const NEWCOMERS_EVERY = 15_000; // a busy handle has more Tweets than fit the lists: they need not come at once
const SPREAD = 15_000; // so that viewers of one handle do not ask in the same second

class Dashboard {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.vocabulary = new Vocabulary(embedded("vocabulary"));
    this.model = new ReportModel(embedded("page-data"), this.vocabulary);
    this.badge = new Badge(root.querySelector("[data-badge]"), this.model);
    this.ranking = new Ranking(root, this.model, this.badge);
    this.cards = new ChartCards(root);
    this.hovers = this.hoverAll();
    this.isEmpty = !root.querySelector("[data-tile]");
    this.showCharts = throttled(() => this.charts(), CHART_APART);
    this.showSlow = throttled(() => this.slow(), SLOW_APART);
    this.cards.draw();
    this.feed = new Feed({
      sequences: { [this.model.handle]: this.model.sequence },
      snapshotUrl: () => snapshotUrl(root),
      onFrame: (frame) => this.frame(frame),
      onSnapshot: (snapshot) => this.snapshot(snapshot),
      badge: this.badge,
    });
    root.addEventListener("twin", () => this.slow());
    this.ticker = setInterval(() => this.tick(), 1000);
    this.refreshed = Date.now() + Math.random() * SPREAD;
    this.welcome = 0;
  }

  hoverAll() {
    const { activity, video } = this.cards.charts;
    if (!activity) return [];
    return [new Hover(activity, activityReadings(this.model, activity)), new Hover(video, videoReadings(this.model))];
  }

  frame(frame) {
    if (this.isEmpty) return this.reload();
    const outcome = this.model.apply(frame);
    if (outcome.unknown || outcome.shifted) this.feed.resync();
    if (outcome.newcomer && Date.now() > this.welcome) {
      this.welcome = Date.now() + NEWCOMERS_EVERY;
      this.feed.resync(SPREAD / 2);
    }
    if (outcome.shifted) this.redraw = true;
    if (outcome.buckets || outcome.tweets) this.show();
    return undefined;
  }

  snapshot(snapshot) {
    if (this.isEmpty && snapshot.last_received_at) return this.reload();
    const edges = String(this.model.edges);
    this.model.replace(snapshot);
    this.redraw ||= edges !== String(this.model.edges);
    this.show();
    return undefined;
  }

  /** The first event of a handle: the server draws the page that was not there yet. */
  reload() {
    if (!this.isReloading) location.reload();
    this.isReloading = true;
  }

  tick() {
    const now = this.badge.now();
    const began = this.isEmpty ? "no" : this.model.tick(now);
    if (began === "shifted") {
      this.redraw = true;
      this.show();
    }
    if (began !== "no" || Date.now() - this.refreshed > REFRESH_EVERY) {
      this.refreshed = Date.now();
      this.feed.resync(SPREAD);
    }
    if (Math.floor(now / 1000) % 5 === 0) this.ranking.show();
  }

  /** At once what is read as a number; charts and tables a little later. */
  show() {
    const { model, vocabulary } = this;
    this.totals = model.totals();
    this.previous = model.previous?.totals ?? null;
    showTiles(this.root, vocabulary, this.totals, this.previous, (name) => model.column(name), model.running);
    this.showCharts();
    this.showSlow();
  }

  charts() {
    const { activity, video, funnel } = this.cards.charts;
    for (const chart of [activity, video]) patchSeries(chart, this.model, this.redraw);
    patchBands(activity, this.model.bands);
    this.redraw = false;
    drawFunnel(funnel, showFunnel(this.root, this.vocabulary, this.totals));
    this.hovers.forEach((hover) => hover.refresh());
    showBreakdown(this.root, this.vocabulary, this.totals, this.previous);
  }

  slow() {
    const { model, vocabulary, root } = this;
    for (const table of root.querySelectorAll(".is-table [data-series-table]")) {
      showSeries(table, vocabulary, model.labels, model.counts, model.running);
    }
    this.ranking.show();
    this.words();
  }

  /** The chart in a sentence. */
  words() {
    const best = (name) => {
      const values = this.model.column(name);
      const most = Math.max(...values);
      return `${this.model.labels[values.indexOf(most)]}: ${count(most)}.`;
    };
    const isEmpty = !this.model.counts.some((bucket) => bucket[0].length || bucket[1].length);
    const text = isEmpty ? "Nothing happened in this period." : `Most impressions ${best("impressions")} Most engagements ${best("engagements")}`;
    setText(this.root.querySelector("[data-peak]"), text);
  }

  end() {
    clearInterval(this.ticker);
    this.showCharts.cancel();
    this.showSlow.cancel();
    this.badge.end();
    this.feed.end();
    this.cards.end();
  }
}

mount((root) => new Dashboard(root));
