"use strict";
// The page is whole without this: it sorts and filters the two lists, opens what a link names,
// copies commands, and enlarges pictures.
(() => {
  for (const bar of document.querySelectorAll(".filter")) {
    const list = document.getElementById(bar.dataset.list);
    const section = list.closest("section");
    const entries = Array.from(section.querySelectorAll(".entries > li"));
    const own = Array.from(list.children);
    const [search, order] = [bar.querySelector("input"), bar.querySelector("select")];
    const shown = bar.querySelector("output");
    const verdicts = [...new Set(entries.map((entry) => entry.dataset.verdict))];
    const chosen = new Set();

    const plain = (text) => text.toLowerCase().replaceAll("_", " ").replaceAll("\u2212", "-");
    const texts = entries.map((entry) => {
      const parts = entry.querySelectorAll("summary > span:not(.runs)");
      return plain(Array.from(parts, (part) => part.textContent).join(" "));
    });
    const update = () => {
      const words = plain(search.value).split(/[\s,]+/).filter(Boolean);
      for (const [i, entry] of entries.entries()) {
        const found = words.every((word) => texts[i].includes(word));
        entry.hidden = !found || (chosen.size > 0 && !chosen.has(entry.dataset.verdict));
      }
      const filtered = words.length > 0 || chosen.size > 0;
      for (const fold of section.querySelectorAll("details.fold")) fold.open = filtered;
      const left = entries.filter((entry) => !entry.hidden).length;
      shown.textContent = filtered ? `${left || "none"} of ${entries.length} found` : "";
    };
    section.addEventListener("reset", () => {
      search.value = "";
      chosen.clear();
      for (const chip of bar.querySelectorAll(".chips button")) chip.ariaPressed = "false";
      update();
    });

    for (const verdict of verdicts) {
      const chip = document.createElement("button");
      chip.type = "button";
      chip.className = "verdict";
      chip.dataset.verdict = verdict;
      chip.textContent = verdict;
      chip.setAttribute("aria-pressed", "false");
      chip.addEventListener("click", () => {
        if (!chosen.delete(verdict)) chosen.add(verdict);
        chip.setAttribute("aria-pressed", String(chosen.has(verdict)));
        update();
      });
      bar.querySelector(".chips").append(chip);
    }
    search.addEventListener("input", update);
    order.addEventListener("change", () => {
      const byOrder = (a, b) =>
        a.dataset.order.localeCompare(b.dataset.order, "en", { numeric: true });
      list.append(...(order.value === "order" ? own.toSorted(byOrder) : own));
    });
    bar.hidden = false;
  }

  const openTarget = () => {
    // Ids hold nothing that an address would write otherwise
    const target = document.getElementById(location.hash.slice(1));
    if (target?.closest("[hidden]")) target.closest("section").dispatchEvent(new Event("reset"));
    for (let node = target; node; node = node.parentElement) {
      if (node.tagName === "DETAILS") node.open = true;
    }
    target?.scrollIntoView();
  };
  addEventListener("hashchange", openTarget);
  if (location.hash) openTarget();

  for (const command of document.querySelectorAll(".command")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(command.querySelector("code").textContent);
      button.textContent = "Copied";
    });
    command.append(button);
  }

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
      // As wide as the window, or half as large again: what is wider is moved through it
      const width = Math.max(1.5 * paper.clientWidth, 0.95 * document.documentElement.clientWidth);
      paper.style.setProperty("--enlarged", `${Math.round(width)}px`);
      dialog.append(paper);
      dialog.showModal();
    });
  }
})();
