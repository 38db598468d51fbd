// A Tweet's reach curve: drawn like the other charts, and drawn again when the server tells it anew.

import { Chart } from "./charts.js";
import { Hover } from "./hover.js";
import { toldReadings } from "./readings.js";
import { embedded } from "./vocabulary.js";

export class ReachCurve {
  /** @param {import("./chartcards.js").ChartCards} cards */
  constructor(cards) {
    this.cards = cards;
    this.ended = new AbortController();
    this.element = cards.root.querySelector("[data-chart=reach]");
    this.take(embedded("reach-curve"));
    document.addEventListener("htmx:oobAfterSwap", () => this.refresh(), { signal: this.ended.signal });
  }

  /** @param {{figure:object, readings:object[]}|null} told */
  take(told) {
    if (!told) return;
    this.readings = told.readings;
    if (this.chart) {
      this.chart.figure = told.figure;
    } else {
      this.chart = new Chart(this.element, told.figure);
      this.cards.charts.reach = this.chart;
      this.hover = new Hover(this.chart, toldReadings(() => this.readings));
    }
  }

  refresh() {
    const text = document.getElementById("reach-curve")?.textContent;
    if (!text || text === this.text) return;
    this.text = text;
    this.take(JSON.parse(text));
    if (this.chart?.canvas) this.chart.refresh();
    else if (this.chart && window.Plotly) this.begin();
    this.hover?.refresh();
  }

  /** The first people of a Tweet that is being looked at. */
  begin() {
    this.element.closest(".figure").classList.remove("is-none");
    this.chart.draw(window.Plotly);
  }

  end() {
    this.ended.abort();
  }
}
