// Counts vectors and metrics. What a metric adds and subtracts comes from the server with the page.

/** @typedef {number[]} Vector 26 counts, or [] where all are zero */
/** @typedef {[Vector, Vector]} Counts organic, promoted */
/** @typedef {{plus:number[], minus:number[]}} Metric */

/** @param {string} id of a script element with JSON */
export function embedded(id) {
  const element = document.getElementById(id);
  return element ? JSON.parse(element.textContent) : null;
}

export class Vocabulary {
  /** @param {{names:string[], metrics:Object<string, Metric>, undoes:Object<string, string>}} given */
  constructor(given) {
    this.names = given.names;
    this.metrics = given.metrics;
    this.place = Object.fromEntries(given.names.map((name, place) => [name, place]));
    this.undoOf = Object.fromEntries(Object.entries(given.undoes).map(([undo, type]) => [type, undo]));
  }

  /** @param {string} name of a metric @param {Counts} counts @returns {number} */
  of(name, counts) {
    return this.ofVector(name, counts[0]) + this.ofVector(name, counts[1]);
  }

  /** @param {string} name @param {Vector} vector */
  ofVector(name, vector) {
    if (!vector.length) return 0;
    const { plus, minus } = this.metrics[name];
    let sum = 0;
    for (const place of plus) sum += vector[place];
    for (const place of minus) sum -= vector[place];
    return sum;
  }

  /** Engagements / impressions, or null where nothing was shown. @param {Counts} counts */
  rate(counts) {
    const shown = this.of("impressions", counts);
    return shown ? this.of("engagements", counts) / shown : null;
  }
}

/** One metric of each bucket; a rate is 0 where nothing was shown. @param {Vocabulary} vocabulary @param {string} name @param {Counts[]} counts */
export function columnOf(vocabulary, name, counts) {
  return counts.map((bucket) => (name === "engagement_rate" ? vocabulary.rate(bucket) ?? 0 : vocabulary.of(name, bucket)));
}

/** @param {Vector} left @param {Vector} right @param {1|-1} [sign] @returns {Vector} */
export function plus(left, right, sign = 1) {
  if (!right.length) return left;
  if (!left.length) return sign === 1 ? right : right.map((value) => -value);
  return left.map((value, place) => value + sign * right[place]);
}

/** @param {Counts} left @param {Counts} right @param {1|-1} [sign] @returns {Counts} */
export function add(left, right, sign = 1) {
  return [plus(left[0], right[0], sign), plus(left[1], right[1], sign)];
}

/** @param {Counts[]} all @returns {Counts} */
export function total(all) {
  return all.reduce((sum, counts) => add(sum, counts), [[], []]);
}
