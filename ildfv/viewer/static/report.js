// In the report of a workspace: each card with an example slice links to that slice in the viewer.

for (const card of document.querySelectorAll("[data-slice]")) {
  const [series, number] = card.dataset.slice.split("/");
  const link = document.createElement("a");
  link.href = `./#scan=${encodeURIComponent(series)}&slice=${number}`;
  link.textContent = "Open in the viewer";
  (card.querySelector("figcaption .caption") || card).append(" ", link);
}
