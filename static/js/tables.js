// Tables kept current: the breakdown, the funnel, corrections, and the table behind each chart.

import * as numbers from "./numbers.js";
import { setChange, setText } from "./patch.js";

/** @typedef {import("./vocabulary.js").Vocabulary} Vocabulary */
/** @typedef {import("./vocabulary.js").Counts} Counts */

/** @param {Element} root @param {Vocabulary} vocabulary @param {Counts} totals @param {Counts|null} previous */
export function showBreakdown(root, vocabulary, totals, previous) {
  const longest = {};
  const rows = [...root.querySelectorAll("[data-breakdown] tr[data-type]")].map((row) => {
    const name = row.dataset.type;
    const place = vocabulary.place[name];
    const group = groupOf(vocabulary, name);
    const [organic, promoted] = [totals[0][place] ?? 0, totals[1][place] ?? 0];
    longest[group] = Math.max(longest[group] ?? 1, organic + promoted);
    return { row, name, group, organic, promoted };
  });
  for (const entry of rows) showType(entry, longest[entry.group], vocabulary, totals, previous);
}

/** Types whose bars are compared with each other. */
function groupOf(vocabulary, name) {
  if (name === "impressions") return "impressions";
  return vocabulary.metrics.video.plus.includes(vocabulary.place[name]) ? "video" : "engagements";
}

function showType({ row, name, organic, promoted }, longest, vocabulary, totals, previous) {
  const undo = vocabulary.undoOf[name];
  const lost = undo ? vocabulary.of(undo, totals) : null;
  const net = organic + promoted - (lost ?? 0);
  const cell = (key) => row.querySelector(`[data-cell="${key}"]`);
  setText(cell("organic"), numbers.count(organic));
  // A dash stays where a type is never reported as promoted.
  if (promoted || cell("promoted").textContent !== "\u2013") setText(cell("promoted"), numbers.count(promoted));
  setText(cell("gained"), numbers.count(organic + promoted));
  if (lost !== null) {
    setText(cell("lost"), numbers.lost(lost));
    cell("lost").classList.toggle("loss", lost > 0);
  }
  setText(cell("net"), numbers.count(net));
  const was = previous && vocabulary.of(name, previous) - (undo ? vocabulary.of(undo, previous) : 0);
  setChange(cell("change"), numbers.change(net, was));
  row.classList.toggle("is-zero", !organic && !promoted && !lost);
  const [first, second] = ["organic", "promoted"].map((part) => row.querySelector(`[data-bar="${part}"]`));
  first.setAttribute("width", ((organic / longest) * 100).toFixed(2));
  second.setAttribute("x", ((organic / longest) * 100).toFixed(2));
  second.setAttribute("width", ((promoted / longest) * 100).toFixed(2));
}

/** @param {Element} root @param {Vocabulary} vocabulary @param {Counts} totals @returns {Array<{count:number, share:number|null}>} its steps */
export function showFunnel(root, vocabulary, totals) {
  const steps = [];
  for (const row of root.querySelectorAll("[data-funnel-table] tr[data-type]")) {
    const count = vocabulary.of(row.dataset.type, totals);
    const starts = steps.length ? steps[0].count : count;
    const step = { count, share: starts ? count / starts : null };
    steps.push(step);
    setText(row.querySelector("[data-count]"), numbers.count(count));
    setText(row.querySelector("[data-share]"), numbers.percent(step.share, 0));
  }
  root.querySelector("[data-funnel-figure]").classList.toggle("is-none", !steps[0]?.count);
  return steps;
}

/** Patch the funnel's bars. @param {import("./charts.js").Chart} chart */
export function drawFunnel(chart, steps) {
  const text = steps.map(({ count, share }, place) => ` ${numbers.count(count)}${share === null || place === 0 ? "" : `   ${numbers.percent(share, 0)}`}`);
  const counts = steps.map(({ count }) => count);
  const most = Math.max(1, ...counts);
  if (String(chart.figure.data[0].x) === String(counts)) return;
  if (most * 1.38 > chart.figure.layout.xaxis.range[1]) {
    chart.figure.layout.xaxis.range = [0, most * 1.45];
  }
  // Not by restyle: with new x values it would guess the axis types again and read the labels as numbers.
  Object.assign(chart.figure.data[0], { x: counts, text });
  chart.refresh();
}

/** @param {Element} root @param {Vocabulary} vocabulary @param {Counts} totals */
export function showCorrections(root, vocabulary, totals) {
  for (const row of root.querySelectorAll("[data-corrections] tr[data-gained]")) {
    const given = vocabulary.of(row.dataset.gained, totals);
    const taken = vocabulary.of(row.dataset.lost, totals);
    setText(row.querySelector('[data-cell="given"]'), numbers.count(given));
    setText(row.querySelector('[data-cell="taken"]'), numbers.lost(taken));
    row.querySelector('[data-cell="taken"]').classList.toggle("loss", taken > 0);
    setText(row.querySelector('[data-cell="net"]'), numbers.count(given - taken));
  }
}

/**
 * The table behind a chart: one row for each bucket.
 * @param {Element|null} table @param {Vocabulary} vocabulary @param {string[]} labels @param {Counts[]} counts @param {boolean} running
 */
export function showSeries(table, vocabulary, labels, counts, running) {
  if (!table) return;
  const columns = table.dataset.seriesTable.split(" ");
  const body = table.tBodies[0];
  while (body.rows.length > labels.length) body.deleteRow(0);
  while (body.rows.length < labels.length) body.append(newRow(columns.length));
  labels.forEach((label, place) => {
    const row = body.rows[place];
    setText(row.cells[0], label);
    columns.forEach((name, index) => setText(row.cells[index + 1], numbers.count(vocabulary.of(name, counts[place]))));
    row.classList.toggle("is-unfinished", running && place === labels.length - 1);
  });
}

function newRow(columns) {
  const row = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  row.append(head);
  for (let index = 0; index < columns; index += 1) row.insertCell().className = "num";
  return row;
}
