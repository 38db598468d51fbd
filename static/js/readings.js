// What the charts say about one bucket.

import { bandNotes } from "./bands.js";
import { count, percent } from "./numbers.js";

const MOST_NOTES = 3;
const FAMILIES = [["apps", "Follows & apps"], ["clicks", "Clicks"], ["social", "Social"]];

function share(model, index) {
  const { edges } = model;
  return ((edges[index] + edges[index + 1]) / 2 - edges[0]) / (edges.at(-1) - edges[0]);
}

function title(model, index) {
  const isFilling = model.running && index === model.edges.length - 2;
  return model.labels[index] + (isFilling ? " · still filling" : "");
}

function row(model, name, label, swatch, index) {
  const before = model.previous?.counts[index];
  const now = count(model.vocabulary.of(name, model.counts[index]));
  return { label, swatch, now, was: model.previous ? count(before ? model.vocabulary.of(name, before) : null) : undefined };
}

/** @param {import("./model.js").ReportModel} model @param {import("./charts.js").Chart} chart @returns {import("./hover.js").Readings} */
export function activityReadings(model, chart) {
  return {
    count: () => model.edges.length - 1,
    share: (index) => share(model, index),
    read: (index) => ({
      title: title(model, index),
      rows: [
        row(model, "impressions", "Impressions", "impressions", index),
        row(model, "engagements", "Engagements", "", index),
        ...FAMILIES.map(([name, label]) => row(model, name, label, name, index)),
        { label: "Engagement rate", swatch: "", now: percent(model.vocabulary.rate(model.counts[index])), was: rateBefore(model, index) },
      ],
      notes: [...published(model, chart, index), ...bandNotes(model.bands, model.edges[index] * 1000, model.edges[index + 1] * 1000), ...(model.previous ? [`Second figure: ${model.previous.name}`] : [])],
    }),
  };
}

function rateBefore(model, index) {
  if (!model.previous) return undefined;
  const before = model.previous.counts[index];
  return percent(before ? model.vocabulary.rate(before) : null);
}

/** The Tweets published in a bucket. */
function published(model, chart, index) {
  const trace = chart.figure.data.find(({ meta }) => meta?.of === "tweets");
  const [from, to] = [model.edges[index] * 1000, model.edges[index + 1] * 1000];
  const texts = trace.x.flatMap((at, place) => (at >= from && at < to ? [trace.customdata[place][1]] : []));
  const notes = texts.slice(0, MOST_NOTES).map((text) => `• ${text}`);
  return texts.length > MOST_NOTES ? [...notes, `and ${count(texts.length - MOST_NOTES)} more Tweets`] : notes;
}

/** @param {import("./model.js").ReportModel} model @returns {import("./hover.js").Readings} */
export function videoReadings(model) {
  return {
    count: () => model.edges.length - 1,
    share: (index) => share(model, index),
    read: (index) => ({
      title: title(model, index),
      rows: [row(model, "video_starts", "Starts", "pale", index), row(model, "video_views", "3 s views", "video", index)],
      notes: model.previous ? [`Second figure: ${model.previous.name}`] : [],
    }),
  };
}

/** Engagements of each of the last minutes. @param {{edges:number[], labels:string[], counts:object[], vocabulary:object}} model */
export function velocityReadings(model) {
  return {
    count: () => model.edges.length - 1,
    share: (index) => share(model, index),
    read: (index) => ({
      title: title(model, index),
      rows: [row(model, "engagements", "Engagements", "", index), ...FAMILIES.map(([name, label]) => row(model, name, label, name, index))],
    }),
  };
}

/** Totals so far. @param {object} model whose `counts` are cumulative */
export function growthReadings(model) {
  return {
    count: () => model.edges.length - 1,
    // A cumulative point stands at the end of its bucket.
    share: (index) => (model.edges[index + 1] - model.edges[0]) / (model.edges.at(-1) - model.edges[0]),
    read: (index) => ({
      title: model.labels[index],
      rows: [row(model, "impressions", "Impressions so far", "impressions", index), row(model, "engagements", "Engagements so far", "social", index)],
      notes: bandNotes(model.bands, model.edges[index] * 1000, model.edges[index + 1] * 1000),
    }),
  };
}

/** A Tweet and the median at each age. @param {import("./charts.js").Chart} chart */
export function ageReadings(chart) {
  const [median, own] = chart.figure.data;
  const [low, high] = chart.figure.layout.xaxis.range;
  const ages = () => [...new Set([...median.x, ...own.x])].sort((left, right) => left - right);
  const at = (trace, age) => {
    const place = trace.x.indexOf(age);
    return count(place < 0 ? null : Math.round(trace.y[place]));
  };
  return {
    count: () => ages().length,
    share: (index) => (Math.log10(ages()[index]) - low) / (high - low),
    read: (index) => {
      const age = ages()[index];
      const name = age < 60 ? `${Math.round(age)} min` : age < 1440 ? `${+(age / 60).toFixed(1)} h` : `${+(age / 1440).toFixed(1)} d`;
      return {
        title: `After ${name}`,
        rows: [{ label: "This Tweet", swatch: "social", now: at(own, age) }, { label: "Median", swatch: "dotted", now: at(median, age) }],
      };
    },
  };
}

/** What the server says of each point. @param {() => Array<import("./hover.js").Reading & {share:number}>} told */
export function toldReadings(told) {
  return { count: () => told().length, share: (index) => told()[index].share, read: (index) => told()[index] };
}
