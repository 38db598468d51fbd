// A campaign's page, and the list of campaigns: their charts, drawn, read aloud, and shown as tables.

import { ChartCards } from "./chartcards.js";
import { Hover } from "./hover.js";
import { mount } from "./mount.js";

/** What each Tweet added. @param {import("./charts.js").Chart} chart @returns {import("./hover.js").Readings} */
function growthReadings(chart) {
  const line = chart.figure.data.find(({ meta }) => meta?.of === "total");
  return {
    count: () => line.x.length,
    share: (index) => (index + 0.5) / line.x.length,
    read: (index) => {
      const [text, sent, total, interval, added, own] = line.customdata[index];
      return {
        title: `Tweet ${line.x[index]}, ${sent}`,
        rows: [
          { label: "Everybody so far", swatch: "people", now: total },
          { label: "New people", swatch: "social", now: added },
          { label: "Its own reach", swatch: "", now: own },
        ],
        notes: [...(interval ? [`So far: ${interval}`] : []), text],
      };
    },
  };
}

mount((root) => {
  const cards = new ChartCards(root);
  const { growth } = cards.charts;
  if (growth) new Hover(growth, growthReadings(growth));
  cards.draw();
  return cards;
});
