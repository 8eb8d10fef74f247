const dialog = document.querySelector("dialog");
const texts = JSON.parse(document.getElementById("texts").textContent);
const { strings, cells } = JSON.parse(document.getElementById("records").textContent);

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
    const focused = document.activeElement;
    const area = document.body.appendChild(document.createElement("textarea"));
    area.value = text;
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    focused.focus();
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
