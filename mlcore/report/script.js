"use strict";
// The page is whole without this: it sorts and filters the table of all numbers, and enlarges pictures.
(() => {
  const table = document.getElementById("table");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);

  const value = (row, column, kind) => {
    const text = row.cells[column].innerText.trim();
    return kind === "number" ? Number.parseFloat(text.replace("\u2212", "-")) : text;
  };

  const compare = (a, b) => {
    if (typeof a === "string") return a.localeCompare(b, "en");
    return a - b;
  };

  for (const [column, heading] of Array.from(table.tHead.rows[0].cells).entries()) {
    if (heading.dataset.kind === "none") continue;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const descending = heading.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const kind = heading.dataset.kind;
      rows.sort((a, b) => {
        const [x, y] = [value(a, column, kind), value(b, column, kind)];
        // What has no number comes last, in both directions
        if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
        return descending ? compare(y, x) : compare(x, y);
      });
      body.append(...rows);
    });
  }

  const filter = document.getElementById("filter");
  const shown = document.getElementById("shown");
  filter.closest(".filter").hidden = false;
  filter.addEventListener("input", () => {
    const wanted = filter.value.toLowerCase().trim();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    shown.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} numbers`;
  });

  // A picture is moved into the dialog and back: a copy would have the same ids
  const dialog = document.getElementById("enlarged");
  let enlarged = null;
  dialog.addEventListener("close", () => {
    enlarged.button.append(enlarged.paper);
    enlarged.button.focus();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  for (const paper of document.querySelectorAll("figure > .paper")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "enlarge";
    button.title = "Enlarge";
    paper.before(button);
    button.append(paper);
    button.addEventListener("click", () => {
      enlarged = { button, paper };
      dialog.append(paper);
      dialog.showModal();
    });
  }
})();
