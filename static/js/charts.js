// Figures built by the server, drawn by plotly.js, and patched in place: never redrawn from nothing.

let loading;

/** Load plotly.js once, after the page's own content. @param {string} url */
export function loadPlotly(url) {
  loading ??= new Promise((resolve, reject) => {
    if (window.Plotly) {
      resolve(window.Plotly);
      return;
    }
    const script = document.createElement("script");
    script.src = url;
    script.async = true;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => {
      loading = undefined;
      script.remove();
      reject(new Error("plotly.js could not be loaded"));
    };
    document.head.append(script);
  });
  return loading;
}

const CONFIG = { displayModeBar: false, responsive: false, doubleClick: false, showTips: false, scrollZoom: false };
const NARROW = 480;
let probe;

/** What a CSS colour is in the theme that holds now. @param {string} text "var(--social)" */
export function colour(text) {
  if (!probe?.isConnected) {
    probe = document.createElement("span");
    probe.hidden = true;
    document.body.append(probe);
  }
  probe.style.color = text;
  return getComputedStyle(probe).color;
}

/** A copy of a figure's part in which every colour is looked up. */
export function resolved(part) {
  if (typeof part === "string") return part.startsWith("var(") ? colour(part) : part;
  if (Array.isArray(part)) return typeof part[0] === "number" ? part : part.map(resolved);
  if (part && typeof part === "object") {
    return Object.fromEntries(Object.entries(part).map(([key, value]) => [key, resolved(value)]));
  }
  return part;
}

export class Chart {
  /** @param {HTMLElement} element its box @param {{data:object[], layout:object}} figure */
  constructor(element, figure) {
    this.element = element;
    this.figure = figure;
    this.observer = new ResizeObserver(() => this.resize());
  }

  /** @param {object} Plotly the library */
  async draw(Plotly) {
    this.Plotly = Plotly;
    if (this.ended) return;
    this.element.querySelector(".chart__wait")?.remove();
    this.canvas = document.createElement("div");
    this.canvas.className = "chart__canvas";
    this.element.prepend(this.canvas);
    this.size = [this.element.clientWidth, this.element.clientHeight];
    await Plotly.newPlot(this.canvas, this.data(), this.layout(), CONFIG);
    this.observer.observe(this.element);
  }

  /** Traces of a metric. @param {(meta:object) => boolean} wanted @returns {number[]} */
  traces(wanted) {
    return this.figure.data.flatMap((trace, place) => (trace.meta && wanted(trace.meta) ? [place] : []));
  }

  /** Change some traces' values and nothing else. @param {Object<string, Array>} update one value for each trace @param {number[]} places */
  patch(update, places) {
    places.forEach((place, order) => {
      for (const [key, values] of Object.entries(update)) this.figure.data[place][key] = values[order];
    });
    if (this.canvas && places.length) return this.Plotly.restyle(this.canvas, update, places);
    return undefined;
  }

  /** Draw what changed in the figure, or in the theme. */
  refresh() {
    if (!this.canvas || this.ended) return;
    this.Plotly.react(this.canvas, this.data(), this.layout(), CONFIG);
  }

  /** The traces in this theme; where bars are thin, so is the surface between them. */
  data() {
    const data = resolved(this.figure.data);
    const scale = rootScale();
    for (const { type, line, marker, x } of data) {
      if (type === "bar" && marker.line && this.size[0] / x.length < 6) marker.line.width = 0.4;
      if (line) line.width *= scale;
      if (marker?.size) marker.size = Array.isArray(marker.size) ? marker.size.map((size) => size * scale) : marker.size * scale;
    }
    return data;
  }

  layout(size = this.size) {
    const [width, height] = size;
    const scale = rootScale();
    const layout = resolved(this.figure.layout);
    layout.width = width;
    layout.height = height;
    for (const part of [layout, layout.xaxis, layout.yaxis, layout.yaxis2]) {
      const font = part === layout ? part.font : part?.tickfont;
      if (font) font.size *= scale;
    }
    layout.margin = Object.fromEntries(Object.entries(layout.margin).map(([side, size]) => [side, size * scale]));
    const { tickvals, ticktext } = layout.xaxis;
    if (tickvals?.length > 5 && width < NARROW) {
      layout.xaxis.tickvals = tickvals.filter((_, place) => place % 2 === 0);
      layout.xaxis.ticktext = ticktext.filter((_, place) => place % 2 === 0);
    }
    return layout;
  }

  resize() {
    const size = [this.element.clientWidth, this.element.clientHeight];
    if (!size[0] || (size[0] === this.size[0] && size[1] === this.size[1])) return;
    this.size = size;
    this.refresh();
  }

  /** Save as a picture with its title. @param {string} title @param {string} name of the file */
  save(title, name) {
    const [width, height] = [Math.max(this.size[0], 720), this.size[1] + 44];
    const layout = this.layout([width, height]);
    layout.margin.t += 44;
    layout.title = { text: title, x: 0.02, xanchor: "left", y: 0.96, font: { size: 15, color: colour("var(--ink)") } };
    layout.paper_bgcolor = colour("var(--surface)");
    const figure = { data: this.data(), layout };
    return this.Plotly.downloadImage(figure, { format: "png", width, height, scale: 2, filename: name });
  }

  end() {
    this.ended = true;
    this.observer.disconnect();
    if (this.canvas) this.Plotly.purge(this.canvas);
  }
}

/** How much larger than usual everything is written: on a wall, strokes grow with the text. */
function rootScale() {
  return parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
}

/** The middle of each bucket in ms. @param {number[]} edges seconds */
export function middles(edges) {
  return edges.slice(1).map((end, place) => ((edges[place] + end) / 2) * 1000);
}
