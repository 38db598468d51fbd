// Charts over the buckets of a model: new values in place; new buckets as a new frame of the same chart.

import { middles } from "./charts.js";

const BAR_SHARE = 0.84;

/**
 * @param {import("./charts.js").Chart|undefined} chart
 * @param {{edges:number[], counts:object[], running:boolean, previous:object|null, ticks:object, column:Function}} model
 * @param {boolean} redraw whether the buckets themselves are others
 */
export function patchSeries(chart, model, redraw) {
  if (!chart) return;
  const places = chart.traces(({ of }) => of === "current" || of === "way" || of === "previous");
  const values = places.map((place) => valuesOf(chart.figure.data[place], model));
  if (redraw) {
    reframe(chart, model, places, values);
    return;
  }
  const changed = places.flatMap((place, order) => (same(chart.figure.data[place].y, values[order]) ? [] : [order]));
  chart.patch({ y: changed.map((order) => values[order]) }, changed.map((order) => places[order]));
}

function valuesOf(trace, model) {
  const { metric, of } = trace.meta;
  if (of === "previous") return model.previous ? model.column(metric, model.previous.counts).slice(0, model.counts.length) : [];
  const values = model.column(metric);
  if (of === "way") return values.map((value, place) => (place >= values.length - 2 ? value : null));
  // A line is drawn to the last finished bucket; a bar shows the unfinished one too.
  return model.running && trace.type !== "bar" ? [...values.slice(0, -1), null] : values;
}

/** Other buckets: x, widths, hatching and ticks move too. */
function reframe(chart, model, places, values) {
  const x = middles(model.edges);
  places.forEach((place, order) => {
    const trace = chart.figure.data[place];
    Object.assign(trace, { x: x.slice(0, values[order].length), y: values[order] });
    if (trace.type !== "bar") return;
    trace.width = model.edges.slice(1).map((end, index) => (end - model.edges[index]) * 1000 * BAR_SHARE);
    trace.marker.pattern.shape = x.map((_, index) => (model.running && index === x.length - 1 ? "/" : ""));
  });
  const { xaxis } = chart.figure.layout;
  xaxis.range = [model.edges[0] * 1000, model.edges.at(-1) * 1000];
  xaxis.tickvals = model.ticks.at;
  xaxis.ticktext = model.ticks.text;
  chart.refresh();
}

function same(left, right) {
  return left.length === right.length && left.every((value, place) => value === right[place]);
}
