// What the dashboard knows. Frames carry the current totals of buckets, so applying one twice changes nothing.

import { bucketLabel } from "./clock.js";
import { add, columnOf, total } from "./vocabulary.js";

const RATE_MINUTES = 5;
const LENGTHS = { minute: 60, quarter: 900 };
const NOTHING = () => [[], []];

/** @typedef {import("./vocabulary.js").Counts} Counts */
/** @typedef {{buckets:boolean, tweets:boolean, shifted:boolean, unknown:boolean, newcomer:boolean}} Outcome
 *   `unknown`: a snapshot is needed; `newcomer`: a Tweet moves that is not listed */

export class ReportModel {
  /** @param {object} snapshot @param {import("./vocabulary.js").Vocabulary} vocabulary */
  constructor(snapshot, vocabulary) {
    this.vocabulary = vocabulary;
    this.replace(snapshot);
  }

  /** @param {object} snapshot from the server */
  replace(snapshot) {
    Object.assign(this, snapshot);
    this.tail = new Map(snapshot.tail.map(([start, ...counts]) => [start, counts]));
    this.byId = new Map(snapshot.tweets.map((tweet) => [tweet.id, { ...tweet, first: tweet, pace: new Map(tweet.pace) }]));
    this.labels = [...snapshot.labels];
  }

  /** @returns {Counts} the sum over the period */
  totals() {
    return total(this.counts);
  }

  /** One metric of each bucket. @param {string} name */
  column(name, counts = this.counts) {
    return columnOf(this.vocabulary, name, counts);
  }

  /** @param {object} frame @returns {Outcome} */
  apply(frame) {
    const outcome = { buckets: false, tweets: false, shifted: false, unknown: false, newcomer: false };
    this.last_received_at = frame.received_at;
    if (this.reading === "tweets") return { ...outcome, unknown: true };
    for (const [start, ...counts] of frame[this.stored_as]) this.place(start, counts, outcome);
    if (frame.minutes.some(([start]) => start < this.edges[0])) outcome.unknown = true;
    for (const tweet of frame.tweets) this.tweet(tweet, outcome);
    return outcome;
  }

  /** Put a stored bucket's totals where they belong. */
  place(start, counts, outcome) {
    if (this.running && this.grain in LENGTHS && start >= this.edges.at(-1)) outcome.shifted = this.shift(start);
    const index = this.indexAt(start);
    if (index < 0) {
      outcome.unknown = true;
    } else if (this.grain in LENGTHS) {
      this.counts[index] = counts;
      outcome.buckets = true;
    } else if (this.tail.has(start)) {
      this.tail.set(start, counts);
      this.counts[index] = this.fold(index);
      outcome.buckets = true;
    } else {
      outcome.unknown = true;
    }
  }

  /** The sum of the stored buckets within a bucket of the display. */
  fold(index) {
    const within = [...this.tail].filter(([start]) => start >= this.edges[index] && start < this.edges[index + 1]);
    return total(within.map(([, counts]) => counts));
  }

  /** @param {number} second @returns {number} the bucket around it, or -1 */
  indexAt(second) {
    if (second < this.edges[0] || second >= this.edges.at(-1)) return -1;
    let low = 0;
    let high = this.edges.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.edges[middle] <= second) low = middle;
      else high = middle;
    }
    return low;
  }

  /** Move the window until it holds this second. @returns {boolean} whether it moved */
  shift(second) {
    const length = LENGTHS[this.grain];
    const before = this.edges.at(-1);
    if ((second - before) / length > this.counts.length) return false; // asleep for long: a snapshot is simpler
    while (this.edges.at(-1) <= second) {
      const end = this.edges.at(-1) + length;
      this.edges = [...this.edges.slice(1), end];
      this.counts = [...this.counts.slice(1), NOTHING()];
      this.labels = [...this.labels.slice(1), bucketLabel(end - length, end, this.zone)];
      if (this.previous) this.previous.counts = [...this.previous.counts.slice(1), NOTHING()];
    }
    return this.edges.at(-1) !== before;
  }

  /** Whether a bucket has begun that is not shown. @param {number} now ms @returns {"no"|"shifted"|"unknown"} */
  tick(now) {
    const second = now / 1000;
    if (!this.running || second < this.edges.at(-1)) return "no";
    return this.grain in LENGTHS && this.reading === "activity" && this.shift(second) ? "shifted" : "unknown";
  }

  /** A Tweet's new lifetime moves its totals by as much; its minutes give its speed. */
  tweet(given, outcome) {
    const known = this.byId.get(given.id);
    if (!known) {
      outcome.newcomer = true;
      return;
    }
    known.lifetime = given.lifetime;
    known.totals = add(known.first.totals, add(given.lifetime, known.first.lifetime, -1));
    for (const [start, ...counts] of given.minutes) known.pace.set(start, this.vocabulary.of("engagements", counts));
    outcome.tweets = true;
  }

  /** Engagements a minute over the last five minute buckets. @param {number} now ms */
  rate(tweet, now) {
    const minute = Math.floor(now / 60_000) * 60;
    let sum = 0;
    for (let back = 0; back < RATE_MINUTES; back += 1) sum += tweet.pace.get(minute - back * 60) ?? 0;
    return sum / RATE_MINUTES;
  }

  /** What the table sorts by. @param {string} name @param {number} now ms */
  value(tweet, name, now) {
    if (name === "rate") return this.rate(tweet, now);
    if (name === "created_at") return tweet.created_at;
    if (name === "engagement_rate") return this.vocabulary.rate(tweet.totals) ?? -1;
    return this.vocabulary.of(name, tweet.totals);
  }
}
