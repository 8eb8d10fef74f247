"use strict";
const table = document.querySelector(".results");
const body = table.tBodies[0];
const inOrder = [...body.rows];
const headers = [...table.tHead.rows[table.tHead.rows.length - 1].cells];

// Numbers sort in descending order first, words in ascending order; a third click restores the table's order. Cells
// without a number come last.
function sort(header) {
  const column = header.cellIndex;
  const turns = header.classList.contains("number") ? ["none", "descending", "ascending"] : ["none", "ascending", "descending"];
  const order = turns[(turns.indexOf(header.ariaSort) + 1) % turns.length];
  for (const other of headers) other.ariaSort = other === header ? order : "none";
  const key = (row) => {
    const { dataset, firstChild } = row.cells[column];
    return header.classList.contains("number") ? (dataset.value === undefined ? null : Number(dataset.value)) : firstChild?.data ?? "";
  };
  const sign = order === "descending" ? -1 : 1;
  const compare = (a, b) => typeof a === "number" ? a - b : a.localeCompare(b);
  const keyed = inOrder.map((row) => [key(row), row]);
  if (order !== "none") keyed.sort(([a], [b]) => (a === null) - (b === null) || (a === null ? 0 : sign * compare(a, b)));
  body.append(...keyed.map(([, row]) => row));
  markFirstRows();
}

// Marks the first row of each domain, above which a line is drawn; none while the table is sorted.
function markFirstRows() {
  const sorted = headers.some((header) => header.ariaSort !== "none");
  let before;
  for (const row of body.rows) {
    if (row.hidden) continue;
    row.classList.toggle("first", !sorted && before !== undefined && before !== row.dataset.domain);
    before = row.dataset.domain;
  }
}

function filter(domain) {
  for (const element of document.querySelectorAll("[data-domain]")) element.hidden = domain !== "" && element.dataset.domain !== domain;
  const shown = inOrder.filter((row) => !row.hidden).length;
  document.querySelector(".count").textContent = shown === inOrder.length ? `${shown} rows.` : `${shown} of ${inOrder.length} rows.`;
  markFirstRows();
}

for (const header of headers) header.querySelector(".sort")?.addEventListener("click", () => sort(header));
document.querySelector(".filter").hidden = false;
document.querySelector(".filter").addEventListener("change", (event) => filter(event.target.value));
filter("");
