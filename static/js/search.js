// The search box: results appear while typing, the arrow keys walk through them, Esc puts them away.

export function startSearch() {
  const form = document.querySelector("[data-search]");
  if (!form) return;
  const box = form.querySelector("input");
  const results = form.querySelector("#search-results");
  const close = () => results.replaceChildren();

  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      close();
      box.focus();
    }
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const links = [...results.querySelectorAll("a")];
    const next = links.indexOf(document.activeElement) + step;
    event.preventDefault();
    (next < 0 ? box : links[Math.min(next, links.length - 1)])?.focus();
  });
  document.addEventListener("click", (event) => form.contains(event.target) || close());
  form.addEventListener("focusout", ({ relatedTarget }) => relatedTarget && !form.contains(relatedTarget) && close());
}
