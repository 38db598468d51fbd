// Sparklines: the twin of metrics/present/sparkline.py.

const WIDTH = 120;
const HEIGHT = 32;
const PAD = 3;

/** @param {number[]} values @param {boolean} running whether the last one is still filling */
export function paths(values, running) {
  if (!values.length) return { line: "", area: "", way: "", dot: "" };
  const top = Math.max(0, ...values) || 1;
  const bottom = Math.min(0, ...values);
  const step = (WIDTH - 2 * PAD) / Math.max(1, values.length - 1);
  const point = (place) => {
    const share = (values[place] - bottom) / (top - bottom);
    return `${(PAD + place * step).toFixed(1)} ${(HEIGHT - PAD - share * (HEIGHT - 2 * PAD)).toFixed(1)}`;
  };
  const last = values.length - 1;
  const finished = running && last ? last : last + 1;
  const points = Array.from({ length: finished }, (_, place) => point(place));
  const line = `M${points.join("L")}`;
  return {
    line,
    area: `${line}L${(PAD + (finished - 1) * step).toFixed(1)} ${HEIGHT.toFixed(1)}L${PAD.toFixed(1)} ${HEIGHT.toFixed(1)}Z`,
    way: finished === last ? `M${points.at(-1)}L${point(last)}` : "",
    dot: `M${point(last)}h0.01`,
  };
}

/** Patch a drawn sparkline. @param {Element} root that holds it */
export function patch(root, values, running) {
  for (const [part, d] of Object.entries(paths(values, running))) {
    root.querySelector(`[data-spark="${part}"]`)?.setAttribute("d", d);
  }
}
