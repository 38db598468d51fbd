// Local times in a handle's zone: the twin of metrics/present/clock.py for buckets that begin while a page is open.

const WEEKDAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const formats = new Map();

/** @param {number} ms instant @param {string} zone IANA name @returns {{weekday:string, day:number, month:string, time:string, seconds:string}} */
export function local(ms, zone) {
  if (!formats.has(zone)) {
    formats.set(zone, new Intl.DateTimeFormat("en-US", {
      timeZone: zone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
    }));
  }
  const part = Object.fromEntries(formats.get(zone).formatToParts(ms).map(({ type, value }) => [type, value]));
  const weekday = new Date(Date.UTC(Number(part.year), part.month - 1, Number(part.day))).getUTCDay();
  return {
    weekday: WEEKDAYS[weekday], day: Number(part.day), month: MONTHS[part.month - 1],
    time: `${part.hour}:${part.minute}`, seconds: `${part.hour}:${part.minute}:${part.second}`,
  };
}

/** The label of a bucket of a minute or a quarter-hour. @param {number} start seconds @param {number} end seconds */
export function bucketLabel(start, end, zone) {
  const first = local(start * 1000, zone);
  const day = `${first.weekday} ${first.day} ${first.month}, ${first.time}`;
  return end - start <= 60 ? day : `${day}–${local(end * 1000, zone).time}`;
}

/** The reader's own zone. */
export function viewerZone() {
  return Intl.DateTimeFormat().resolvedOptions().timeZone;
}

/** Zone to write times in where a page has none of its own. */
export function pageZone() {
  return document.querySelector("#report")?.dataset.zone ?? viewerZone();
}
