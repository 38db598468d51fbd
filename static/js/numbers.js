// How numbers are written: the twin of metrics/present/figures.py, compared with it by a test.

const NARROW = "\u202f";
const MINUS = "\u2212";
const DASH = "\u2013";
const UNITS = [[1e9, "B"], [1e6, "M"], [1e3, "k"]];
const formats = new Map();

/** @param {number} value @param {number} digits decimals @returns {string} "1,234.50" */
export function rounded(value, digits) {
  if (!formats.has(digits)) {
    formats.set(digits, new Intl.NumberFormat("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits, signDisplay: "negative" }));
  }
  return formats.get(digits).format(value).replace("-", MINUS);
}

/** @param {number|null} value */
export function count(value) {
  return value === null ? DASH : rounded(value, 0);
}

/** @param {number} value a count that was taken back */
export function lost(value) {
  return value ? count(-value) : "0";
}

/** @param {number} value @returns {string} "1.28 M" */
export function compact(value) {
  for (const [size, unit] of UNITS) {
    if (Math.abs(value) >= size * 0.99995) {
      const scaled = value / size;
      const digits = Math.abs(scaled) < 9.995 ? 2 : Math.abs(scaled) < 99.95 ? 1 : 0;
      return `${rounded(scaled, digits)}${NARROW}${unit}`;
    }
  }
  return rounded(value, Number.isInteger(value) ? 0 : 1);
}

/** @param {number|null} ratio @param {number} [digits] @returns {string} "3.22 %" */
export function percent(ratio, digits = 2) {
  return ratio === null ? DASH : `${rounded(ratio * 100, digits)}${NARROW}%`;
}

/** @param {number} now @param {number|null} before @returns {string} "+18.4 %" */
export function change(now, before) {
  if (before === null || (now === 0 && before === 0)) return DASH;
  if (before <= 0) return "new";
  const moved = ((now - before) / before) * 100;
  return `${withSign(rounded(moved, Math.abs(moved) < 999.95 ? 1 : 0))}${NARROW}%`;
}

/** @param {number|null} now @param {number|null} before @returns {string} "−0.27 pt" */
export function points(now, before) {
  if (now === null || before === null) return DASH;
  return `${withSign(rounded((now - before) * 100, 2))}${NARROW}pt`;
}

/** @param {number} factor @returns {string} "4.1×" */
export function times(factor) {
  return `${rounded(factor, factor < 99.95 ? 1 : 0)}×`;
}

/** @param {number} perMinute */
export function rate(perMinute) {
  return rounded(perMinute, perMinute >= 9.95 || perMinute === 0 ? 0 : 1);
}

/** @param {string} change as it is written @returns {""|"gain"|"loss"} its class: colour never says more than the sign */
export function direction(change) {
  if (change.startsWith(MINUS)) return "loss";
  return change.startsWith("+") || change === "new" ? "gain" : "";
}

/** @param {number} seconds how old @returns {string} "2 h 14 min" */
export function age(seconds) {
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(seconds / 3600);
  if (minutes < 1) return "now";
  if (hours < 1) return `${minutes} min`;
  if (hours < 24) return minutes % 60 && hours < 10 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${count(Math.floor(hours / 24))} d`;
}

function withSign(text) {
  const digits = text.replace(MINUS, "");
  if (!/[1-9]/.test(digits)) return digits;
  return text.startsWith(MINUS) ? text : `+${text}`;
}
