// The figures about people ask for themselves every few seconds: only while somebody looks, and only what differs is put in.

const POLL = "[data-people-poll]";

document.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden && event.target.matches(POLL)) event.preventDefault();
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  for (const element of document.querySelectorAll(POLL)) element.dispatchEvent(new Event("refresh"));
});

document.addEventListener("htmx:oobBeforeSwap", ({ detail }) => {
  const fresh = detail.fragment.firstElementChild;
  if (!/^(people|reach)-/.test(fresh?.id)) return;
  detail.shouldSwap = fresh.textContent !== detail.target.textContent;
  const number = (root) => root.querySelector("[data-people]");
  if (number(fresh)?.textContent !== number(detail.target)?.textContent) number(fresh)?.classList.add("is-changed");
});
