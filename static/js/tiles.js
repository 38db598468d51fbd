// The six headline figures: the twin of metrics/present/panels.py.

import * as numbers from "./numbers.js";
import { setChange, setFigure, setText } from "./patch.js";
import { patch as patchSparkline } from "./sparkline.js";

const LONG = 11; // characters; a longer figure is written smaller

/** @typedef {import("./vocabulary.js").Counts} Counts */

/**
 * @param {Element} root
 * @param {import("./vocabulary.js").Vocabulary} vocabulary
 * @param {Counts} totals
 * @param {Counts|null} previous
 * @param {(name:string) => number[]} [column] for the sparklines
 * @param {boolean} [running]
 */
export function showTiles(root, vocabulary, totals, previous, column, running) {
  for (const tile of root.querySelectorAll("[data-tile]")) {
    const name = tile.dataset.tile;
    const [value, change] = name === "engagement_rate" ? rateOf(vocabulary, totals, previous) : countOf(vocabulary, name, totals, previous);
    const figure = tile.querySelector("[data-value]");
    setFigure(figure, value);
    fit(figure);
    setChange(tile.querySelector("[data-change]"), change);
    const note = tile.querySelector("[data-note]");
    if (note) {
      const lost = vocabulary.metrics[name].minus.reduce((sum, place) => sum + (totals[0][place] ?? 0) + (totals[1][place] ?? 0), 0);
      setText(note, `${numbers.count(lost)} lost`);
    }
    if (column) patchSparkline(tile, column(name), running);
  }
}

/** Huge figures are written smaller, so that they stay whole. */
export function fit(figure) {
  figure.classList.toggle("is-long", figure.textContent.length > LONG);
}

function rateOf(vocabulary, totals, previous) {
  const now = vocabulary.rate(totals);
  const was = previous && vocabulary.rate(previous);
  return [numbers.percent(now), numbers.points(now, was)];
}

function countOf(vocabulary, name, totals, previous) {
  const now = vocabulary.of(name, totals);
  const was = previous && vocabulary.of(name, previous);
  return [numbers.count(now), numbers.change(now, was)];
}
