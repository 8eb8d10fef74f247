"use strict";
const table = document.querySelector(".results");
const body = table.tBodies[0];
const inOrder = [...body.rows];
const headers = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
const dialog = document.querySelector("dialog");
const texts = JSON.parse(document.getElementById("texts").textContent);
const { strings, cells } = JSON.parse(document.getElementById("records").textContent);

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

function open(index) {
  const { title, seeds, facts } = cells[index];
  document.getElementById("record-title").textContent = strings[title];
  const lines = [["Seed", seeds], ...facts.map(([label, values]) => [strings[label], values.map((index) => strings[index])])];
  dialog.querySelector("table").replaceChildren(...lines.map(([label, values]) => {
    const line = document.createElement("tr");
    const head = line.appendChild(document.createElement("th"));
    head.scope = "row";
    head.textContent = label;
    for (const value of values) {
      const cell = line.insertCell();
      cell.colSpan = values.length === 1 ? seeds.length : 1;
      cell.textContent = value;
    }
    return line;
  }));
  dialog.showModal();
  dialog.scrollTop = 0;
}

// Shows or hides the columns of a kind. The headings of blocks span the columns that are shown.
function show(kind, shown) {
  table.classList.toggle(`with-${kind}`, shown);
  const kinds = ["spread", "difference"].filter((one) => table.classList.contains(`with-${one}`));
  const block = table.querySelector("th[scope=colgroup]");
  if (!block) return;
  block.dataset.methods ??= block.colSpan;
  block.colSpan = Number(block.dataset.methods) + headers.filter((header) => kinds.some((one) => header.classList.contains(one))).length;
}

// Without the clipboard's interface, which a page opened from some addresses lacks, a selected text is copied.
async function copy(title) {
  const { text } = texts[title];
  const said = document.querySelector(".said");
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.body.appendChild(document.createElement("textarea"));
    area.value = text;
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    if (!copied) {
      said.textContent = "The browser did not allow copying; save the file instead.";
      return;
    }
  }
  said.textContent = `${title} copied.`;
}

function save(title) {
  const { name, text } = texts[title];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

for (const header of headers) header.querySelector("button").addEventListener("click", () => sort(header));
document.querySelector(".filter").hidden = false;
document.querySelector(".filter").addEventListener("change", (event) => filter(event.target.value));
table.addEventListener("click", (event) => {
  const button = event.target.closest("[data-record]");
  if (button) open(Number(button.dataset.record));
});
const tools = document.querySelector(".tools");
tools.hidden = false;
for (const box of tools.querySelectorAll("[name=column]")) {
  box.addEventListener("change", () => show(box.value, box.checked));
  show(box.value, box.checked); // the browser may remember the choice
}
tools.addEventListener("click", ({ target }) => {
  if (target.dataset.copy) copy(target.dataset.copy);
  if (target.dataset.save) save(target.dataset.save);
});
filter("");
