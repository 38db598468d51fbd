// Ticked rows of a table: how many there are, and all at once. Works on whatever table is there, also after a swap.

import { count } from "./numbers.js";

const picks = (table) => [...table.querySelectorAll("[data-pick]")];

function tell(table) {
  const all = picks(table);
  const picked = all.filter(({ checked }) => checked).length;
  const head = table.querySelector("[data-pick-all]");
  if (head) {
    head.checked = picked > 0 && picked === all.length;
    head.indeterminate = picked > 0 && picked < all.length;
  }
  const place = document.querySelector("[data-picked]");
  place.dataset.none ??= place.textContent;
  place.textContent = picked ? `${count(picked)} ${place.dataset.kind ?? "Tweet"}${picked === 1 ? "" : "s"} chosen` : place.dataset.none;
}

document.addEventListener("change", ({ target }) => {
  const table = target.closest("[data-pick], [data-pick-all]")?.closest("table");
  if (!table || !document.querySelector("[data-picked]")) return;
  if (target.matches("[data-pick-all]")) picks(table).forEach((pick) => Object.assign(pick, { checked: target.checked }));
  tell(table);
});
