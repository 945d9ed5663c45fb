// The ledger: a head sorts its column, and back; the field keeps the rows in which every word of it stands.
const table = document.getElementById("claims");
const body = table.tBodies[0];
const rows = [...body.rows];
const field = document.getElementById("claim-filter");
const count = document.getElementById("claim-count");

const filter = () => {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
  count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} claims`;
};

table.tHead.addEventListener("click", ({ target }) => {
  const head = target.closest("th");
  if (!head) return;
  const up = head.ariaSort !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.ariaSort = "none";
  head.ariaSort = up ? "ascending" : "descending";
  const text = (row) => row.cells[head.cellIndex].textContent;
  rows.sort((one, other) => (up ? 1 : -1) * text(one).localeCompare(text(other), "en", { numeric: true }));
  body.append(...rows);
});
field.addEventListener("input", filter);
filter();
