// A page's report is replaced when its range or comparison changes: start each one, and end the one before.

import { viewerZone } from "./clock.js";
import { fit } from "./tiles.js";

/** @param {(root: HTMLElement) => {end: () => void}} start */
export function mount(start) {
  let root;
  let running;
  const check = () => {
    const current = document.getElementById("report");
    if (current === root) return;
    running?.end();
    root = current;
    running = root ? start(root) : undefined;
    if (root) dress(root);
  };
  check();
  document.addEventListener("htmx:afterSettle", check);
  for (const failure of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
    document.addEventListener(failure, ({ detail }) => {
      if (detail.target?.id === "report") root?.querySelector("#load-error")?.removeAttribute("hidden");
    });
  }
}

function dress(root) {
  root.querySelectorAll("[data-value]").forEach(fit);
  root.querySelector("[data-reload]")?.addEventListener("click", () => location.reload());
  const link = root.querySelector("[data-viewer-zone]");
  const zone = viewerZone();
  if (!link || !zone || zone === root.dataset.zone) return;
  const url = new URL(location.href);
  url.searchParams.set("zone", zone);
  link.href = url.href;
  link.title = zone.replaceAll("_", " ");
  link.classList.add("is-offered");
}

/** The address of the page's data for the parameters that it is shown with. @param {HTMLElement} root */
export function snapshotUrl(root) {
  return root.dataset.snapshot + location.search;
}
