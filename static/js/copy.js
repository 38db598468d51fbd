// Buttons with data-copy="ID" put the text of that element on the clipboard and say so, also those that come later.

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("button[data-copy]");
  if (!button || "said" in button.dataset) return;
  const label = [...button.childNodes];
  button.dataset.said = "";
  try {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
    button.replaceChildren("Copied");
  } catch {
    // Browsers refuse the clipboard to pages without HTTPS: the text can still be selected.
    button.replaceChildren("Select it and copy");
  }
  setTimeout(() => {
    button.replaceChildren(...label);
    delete button.dataset.said;
  }, 2000);
});
