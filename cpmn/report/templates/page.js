// Tables sort on a click; without JavaScript the page loses nothing else.
const leadingNumber = (text) => Number.parseFloat(text.replace("\u2212", "-"));

function compareCells(a, b) {
  const [first, second] = [leadingNumber(a), leadingNumber(b)];
  if (Number.isNaN(first) !== Number.isNaN(second)) return Number.isNaN(first) ? 1 : -1; // what is no number goes last
  return first - second || a.localeCompare(b, undefined, { numeric: true });
}

document.querySelectorAll("table.sortable thead th").forEach((head) => {
  const table = head.closest("table");
  const place = [...head.parentNode.children].indexOf(head);
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const text = (row) => row.children[place].textContent.trim();
    const rows = [...table.tBodies[0].rows].sort((a, b) => compareCells(text(a), text(b)));
    table.tBodies[0].append(...(down ? rows.reverse() : rows));
  });
});
