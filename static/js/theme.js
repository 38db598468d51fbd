// Light or dark: the system's choice until the reader makes one, which is kept.

const dark = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;

const current = () => root.dataset.theme ?? (dark.matches ? "dark" : "light");

function name(button) {
  button.setAttribute("aria-label", `Switch to the ${current() === "dark" ? "light" : "dark"} theme`);
}

/** The other theme; back at the system's own, nothing is kept. */
export function toggleTheme() {
  const next = current() === "dark" ? "light" : "dark";
  root.dataset.theme = next;
  try {
    if ((next === "dark") === dark.matches) localStorage.removeItem("theme");
    else localStorage.setItem("theme", next);
  } catch {
    // Storage can be forbidden: the choice then lasts as long as the page.
  }
  document.querySelectorAll("[data-theme-toggle]").forEach(name);
  dispatchEvent(new Event("themechange"));
}

export function startTheme() {
  document.querySelectorAll("[data-theme-toggle]").forEach((button) => {
    name(button);
    button.addEventListener("click", toggleTheme);
  });
  dark.addEventListener("change", () => dispatchEvent(new Event("themechange")));
}
