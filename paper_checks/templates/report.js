// The table of verdicts: search, filter by verdict, and two orders besides that of the papers. Without scripts it stands as it is.
(() => {
  const table = document.querySelector("table.verdicts");
  const bar = document.querySelector(".find");
  if (!table || !bar) return;
  bar.hidden = false;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const [text, verdict, order] = ["text", "verdict", "order"].map((name) => bar.querySelector(`[name=${name}]`));
  const keys = { margin: (row) => -Number(row.dataset.worst || 0), seconds: (row) => -Number(row.dataset.seconds || 0) };

  function arrange() {
    const wanted = text.value.trim().toLowerCase();
    const sorted = order.value in keys
      ? rows.filter((row) => !row.classList.contains("paper")).sort((a, b) => keys[order.value](a) - keys[order.value](b))
      : rows;
    body.replaceChildren(...sorted);
    let heading = null;
    let shown = 0;
    for (const row of sorted) {
      if (row.classList.contains("paper")) {
        heading = row;
        row.hidden = true;
        continue;
      }
      row.hidden = !(row.textContent.toLowerCase().includes(wanted) && (!verdict.value || row.dataset.status === verdict.value));
      if (row.hidden) continue;
      shown += 1;
      if (heading) heading.hidden = false;
    }
    bar.querySelector("output").textContent = `${shown} shown`;
  }
  bar.addEventListener("input", arrange);
  arrange();
})();
