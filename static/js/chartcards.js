// The buttons of charts (table, PNG), their drawing and their themes: what every page with charts shares.

import { Chart, loadPlotly } from "./charts.js";
import { embedded } from "./vocabulary.js";

/** @typedef {Object<string, Chart>} Charts by name */

export class ChartCards {
  /** @param {HTMLElement} root the page's report */
  constructor(root) {
    this.root = root;
    /** @type {Charts} */
    this.charts = {};
    this.ended = new AbortController();
    const figures = embedded("figures") ?? {};
    for (const element of root.querySelectorAll("[data-chart]")) {
      const { chart } = element.dataset;
      if (figures[chart]) this.charts[chart] = new Chart(element, figures[chart]);
    }
    const { signal } = this.ended;
    root.addEventListener("click", (event) => this.click(event), { signal });
    addEventListener("themechange", () => this.each((chart) => chart.refresh()), { signal });
  }

  /** Draw all charts; resolves when they stand. */
  async draw() {
    try {
      const Plotly = await loadPlotly(this.root.dataset.plotly);
      await document.fonts?.ready;
      for (const chart of Object.values(this.charts)) {
        await chart.draw(Plotly);
        // The page stays responsive between charts.
        await new Promise((resolve) => setTimeout(resolve));
      }
      this.root.dataset.drawn = "";
    } catch {
      for (const wait of this.root.querySelectorAll(".chart__wait")) {
        wait.textContent = "The chart could not be drawn. Its figures are under Table.";
        wait.classList.add("is-error");
      }
    }
  }

  each(action) {
    Object.values(this.charts).forEach(action);
  }

  click({ target }) {
    const toggle = target.closest("[data-twin-toggle]");
    if (toggle) this.toggle(toggle);
    const png = target.closest("[data-png]");
    if (png && this.charts[png.dataset.png]?.canvas) {
      const card = png.closest(".card");
      const title = `${document.querySelector("h1").textContent} · ${card.querySelector("h2").textContent}`;
      this.charts[png.dataset.png].save(title, `${this.root.dataset.handle}-${png.dataset.png}`);
    }
  }

  /** Show the table instead of the chart, or the chart again. */
  toggle(button) {
    const figure = button.closest(".card").querySelector(".figure");
    const isTable = figure.classList.toggle("is-table");
    button.setAttribute("aria-pressed", String(isTable));
    button.dispatchEvent(new CustomEvent("twin", { bubbles: true }));
  }

  end() {
    this.ended.abort();
    this.each((chart) => chart.end());
  }
}
