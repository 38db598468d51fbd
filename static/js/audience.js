// A handle's Audience page: its charts, drawn, read aloud, and shown as tables.

import { ChartCards } from "./chartcards.js";
import { Hover } from "./hover.js";
import { mount } from "./mount.js";
import { toldReadings } from "./readings.js";
import { embedded } from "./vocabulary.js";

mount((root) => {
  const cards = new ChartCards(root);
  const readings = embedded("readings");
  for (const [name, chart] of Object.entries(cards.charts)) new Hover(chart, toldReadings(() => readings[name]));
  cards.draw();
  return cards;
});
