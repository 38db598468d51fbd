// Small changes to what the server drew: text that differs, and a short tint where a figure moved.

import { direction } from "./numbers.js";

/** @param {Element|null} element @param {string} text @returns {boolean} whether it changed */
export function setText(element, text) {
  if (!element || element.textContent === text) return false;
  element.textContent = text;
  return true;
}

/** Text with a tint when it moved. */
export function setFigure(element, text) {
  if (!setText(element, text)) return;
  element.classList.remove("is-changed");
  requestAnimationFrame(() => element.classList.add("is-changed"));
}

/** A change, with the class of a gain or a loss. */
export function setChange(element, text) {
  if (!element) return;
  setText(element, text);
  element.classList.toggle("gain", direction(text) === "gain");
  element.classList.toggle("loss", direction(text) === "loss");
}

/** Call at most once in so many ms, and always once after the last request. @param {() => void} action @param {number} apart ms */
export function throttled(action, apart) {
  let last = 0;
  let planned;
  const run = () => {
    planned = undefined;
    last = Date.now();
    action();
  };
  const ask = () => {
    planned ??= setTimeout(() => requestAnimationFrame(run), Math.max(0, last + apart - Date.now()));
  };
  ask.cancel = () => clearTimeout(planned);
  return ask;
}
