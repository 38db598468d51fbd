// What a chart says under the pointer, or under the arrow keys: all figures of one bucket.

/**
 * @typedef {object} Reading
 * @property {string} title
 * @property {Array<{label:string, swatch:string, now:string, was?:string}>} rows
 * @property {string[]} [notes]
 * @typedef {object} Readings
 * @property {() => number} count
 * @property {(index:number) => number} share where along the axis, 0 to 1
 * @property {(index:number) => Reading} read
 * @property {string} [previous] name of the comparison
 */

export class Hover {
  /** @param {import("./charts.js").Chart} chart @param {Readings} readings */
  constructor(chart, readings) {
    this.chart = chart;
    this.readings = readings;
    const { element } = chart;
    this.tip = document.createElement("div");
    this.tip.className = "tip";
    this.cross = document.createElement("div");
    this.cross.className = "cross";
    element.append(this.cross, this.tip);
    element.addEventListener("pointermove", (event) => this.move(event));
    element.addEventListener("pointerdown", (event) => this.move(event));
    element.addEventListener("pointerleave", () => this.hide());
    element.addEventListener("blur", () => this.hide());
    element.addEventListener("keydown", (event) => this.key(event));
  }

  /** The plot's left edge and width within the chart. */
  area() {
    const { l, r } = this.chart.layout().margin;
    return { left: l, width: this.chart.element.clientWidth - l - r };
  }

  move(event) {
    if (!this.chart.canvas) return;
    const { left, width } = this.area();
    const share = (event.clientX - this.chart.element.getBoundingClientRect().left - left) / width;
    if (share < -0.02 || share > 1.02) {
      this.hide();
      return;
    }
    let nearest = 0;
    for (let index = 1; index < this.readings.count(); index += 1) {
      if (Math.abs(this.readings.share(index) - share) < Math.abs(this.readings.share(nearest) - share)) nearest = index;
    }
    this.show(nearest);
  }

  key(event) {
    const last = this.readings.count() - 1;
    const from = this.index ?? last + 1;
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: last }[event.key];
    if (event.key === "Escape") this.hide();
    if (to === undefined || !this.chart.canvas) return;
    event.preventDefault();
    this.show(Math.max(0, Math.min(last, to)));
  }

  /** Say the same again, with new figures. */
  refresh() {
    if (this.index !== undefined) this.show(Math.min(this.index, this.readings.count() - 1));
  }

  show(index) {
    this.index = index;
    this.fill(this.readings.read(index));
    const { left, width } = this.area();
    const x = left + this.readings.share(index) * width;
    const room = this.chart.element.clientWidth;
    const own = this.tip.offsetWidth;
    const beside = x + 14 + own <= room ? x + 14 : x - 14 - own;
    this.tip.style.transform = `translate(${Math.max(0, Math.min(beside, room - own))}px, 4px)`;
    this.cross.style.transform = `translateX(${x}px)`;
    this.tip.classList.add("is-shown");
    this.cross.classList.add("is-shown");
  }

  /** @param {Reading} reading */
  fill({ title, rows, notes = [] }) {
    const head = node("p", "tip__title", title);
    const table = node("table", "tip__table");
    for (const row of rows) {
      const line = table.insertRow();
      const name = node("th", "", row.label);
      if (row.swatch) name.prepend(node("i", `swatch swatch--${row.swatch}`));
      line.append(name);
      line.append(node("td", "num", row.now));
      if (row.was !== undefined) line.append(node("td", "num was", row.was));
    }
    this.tip.replaceChildren(head, table, ...notes.map((note) => node("p", "tip__note", note)));
  }

  hide() {
    this.index = undefined;
    this.tip.classList.remove("is-shown");
    this.cross.classList.remove("is-shown");
  }
}

function node(tag, className, text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.textContent = text;
  return element;
}
