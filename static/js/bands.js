// What a chart marks behind its figures: hatched where a source was down, dotted where counts are from before tracking.

/** @typedef {{down:number[][], history:number[][]}} Bands [[from, until], …] in ms, by kind */

/**
 * Move the bands where the server now says they are, and show or hide their words in the legend.
 * @param {import("./charts.js").Chart|undefined} chart @param {Bands} bands
 */
export function patchBands(chart, bands) {
  if (!chart) return;
  let moved = false;
  for (const trace of chart.figure.data) {
    const spans = bands[trace.meta?.of];
    if (!spans) continue;
    const x = spans.map(([from, until]) => (from + until) / 2);
    const width = spans.map(([from, until]) => until - from);
    moved ||= String(trace.x) !== String(x) || String(trace.width) !== String(width);
    Object.assign(trace, { x, width, y: x.map(() => 1) });
  }
  if (!moved) return;
  for (const [kind, spans] of Object.entries(bands)) {
    const item = chart.element.closest(".card").querySelector(`[data-band-legend="${kind}"]`);
    if (item) item.hidden = !spans.length;
  }
  chart.refresh();
}

/** What a bucket's tooltip adds. @param {Bands} bands @param {number} from ms @param {number} until ms @returns {string[]} */
export function bandNotes(bands, from, until) {
  const touches = (spans) => spans.some(([since, end]) => since < until && end > from);
  return [
    ...(touches(bands.down) ? ["A source was down: counts may be missing."] : []),
    ...(touches(bands.history) ? ["Holds counts from before tracking began."] : []),
  ];
}
