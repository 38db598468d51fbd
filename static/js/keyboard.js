// Keys: / search, g h handles, 1 to 5 ranges, t theme, ? help, Esc closes what is open.

import { toggleTheme } from "./theme.js";

const TYPING = "input, textarea, select, [contenteditable]";
const PAIR = 1200; // ms between g and h
let sawG = 0;

const help = () => document.getElementById("help");

const ACTIONS = {
  "/": () => document.getElementById("search")?.focus(),
  "?": () => help()?.showModal(),
  t: toggleTheme,
  h: () => Date.now() - sawG < PAIR && document.querySelector(".brand")?.click(),
  g: () => {
    sawG = Date.now();
  },
};

function press(event) {
  if (event.key === "Escape") escape(event);
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest(TYPING) || help()?.open) return;
  const range = document.querySelector(`[data-range-key="${CSS.escape(event.key)}"]`);
  const action = range ? () => range.click() : ACTIONS[event.key];
  if (!action) return;
  if (event.key === "/" || event.key === "?") event.preventDefault();
  action();
}

function escape({ target }) {
  document.querySelectorAll(".term").forEach((term) => term.classList.add("is-dismissed"));
  const menu = target.closest("[data-menu][open]") ?? document.querySelector("[data-menu][open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
}

/** A definition that was dismissed comes back with the next visit. */
function recall({ target }) {
  target.closest?.(".term")?.classList.remove("is-dismissed");
}

/** One menu at a time; a click elsewhere closes it. */
function closeMenus({ target }) {
  for (const menu of document.querySelectorAll("[data-menu][open]")) if (!menu.contains(target)) menu.open = false;
}

export function startKeyboard() {
  document.addEventListener("keydown", press);
  document.addEventListener("focusin", recall);
  document.addEventListener("pointerover", recall);
  document.addEventListener("click", (event) => {
    closeMenus(event);
    if (event.target.closest("[data-help]")) help()?.showModal();
  });
}
