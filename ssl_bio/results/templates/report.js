"use strict";
(() => {
  const key = (row, index) => {
    const cell = row.cells[index];
    if (cell.dataset.sort !== undefined) return Number(cell.dataset.sort);
    return cell.textContent.trim().toLowerCase();
  };
  const compare = (one, other) =>
    typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other), "en");

  const sort = (table, index, direction) => {
    const body = table.tBodies[0];
    const sign = direction === "ascending" ? 1 : -1;
    const rows = Array.from(body.rows, (row) => ({ row, value: key(row, index) }));
    const empty = rows.filter(({ value }) => value === "");
    const full = rows.filter(({ value }) => value !== "");
    full.sort((one, other) => sign * compare(one.value, other.value));
    body.append(...[...full, ...empty].map(({ row }) => row));
    for (const [place, head] of Array.from(table.tHead.rows[0].cells).entries()) {
      if (place === index) head.setAttribute("aria-sort", direction);
      else head.removeAttribute("aria-sort");
    }
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    for (const [index, head] of Array.from(table.tHead.rows[0].cells).entries()) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        const first = head.classList.contains("n") ? "descending" : "ascending";
        const other = now === "ascending" ? "descending" : "ascending";
        sort(table, index, now ? other : first);
      });
    }
  }

  const form = document.getElementById("filter");
  const words = document.getElementById("words");
  const shown = document.getElementById("shown");
  const boards = Array.from(document.querySelectorAll("section.board"), (section) => ({
    section,
    title: section.querySelector("h2").textContent.toLowerCase(),
    rows: Array.from(section.querySelector("tbody").rows, (row) => ({ row, text: row.textContent.toLowerCase() })),
  }));
  const runs = Array.from(document.querySelectorAll("details.run"), (run) => ({
    run,
    text: run.textContent.toLowerCase(),
  }));

  const filter = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (text) => wanted.every((word) => text.includes(word));
    let nRows = 0;
    let all = 0;
    for (const { section, title, rows } of boards) {
      let here = 0;
      for (const { row, text } of rows) {
        row.hidden = !fits(`${title} ${text}`);
        here += row.hidden ? 0 : 1;
      }
      section.hidden = wanted.length > 0 && here === 0;
      nRows += here;
      all += rows.length;
    }
    let nRuns = 0;
    for (const { run, text } of runs) {
      run.hidden = !fits(text);
      nRuns += run.hidden ? 0 : 1;
    }
    shown.textContent = wanted.length ? `${nRows} of ${all} rows, ${nRuns} of ${runs.length} runs` : "";
  };
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  words.addEventListener("input", filter);

  const unfold = document.getElementById("unfold");
  if (unfold) {
    unfold.hidden = false;
    unfold.addEventListener("click", () => {
      const opening = runs.some(({ run }) => !run.open && !run.hidden);
      for (const { run } of runs) run.open = opening;
      unfold.textContent = opening ? "Close all" : "Open all";
    });
  }

  const reveal = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.matches("details.run")) {
      target.hidden = false;
      target.open = true;
      target.scrollIntoView();
    }
  };
  window.addEventListener("hashchange", reveal);
  reveal();
})();
