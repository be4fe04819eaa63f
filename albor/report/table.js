// Tables that are sorted by a click on a head, saved as CSV, and scrolled.

/** What a cell is sorted by: its number, or its text, in which numbers count as numbers. */
function sortKey(cell) {
  if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
  const text = cell.textContent.trim();
  return text !== '' && Number.isFinite(Number(text)) ? Number(text) : text === '–' || text === '' ? null : text;
}

/** Nothing comes last either way. */
function ordered(a, b, way) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a !== typeof b) return typeof a === 'number' ? -1 : 1;
  return way * (typeof a === 'number' ? a - b : a.localeCompare(b, 'en', { numeric: true }));
}

function sortable(table) {
  for (const head of table.tHead.querySelectorAll('th[data-sort]')) {
    const button = document.createElement('button');
    button.type = 'button';
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener('click', () => {
      const way = head.ariaSort === 'ascending' ? -1 : 1;
      for (const other of head.parentElement.cells) other.ariaSort = null;
      head.ariaSort = way > 0 ? 'ascending' : 'descending';
      const rows = [...table.tBodies[0].rows].map((row) => [sortKey(row.cells[head.cellIndex]), row]);
      rows.sort(([a], [b]) => ordered(a, b, way));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  }
}

/** Numbers unrounded, each in a column of its own: a head's `data-csv` says which, and from which `data-` of its cells. */
function tableCsv(table) {
  const columns = [...table.tHead.rows[0].cells].flatMap((head, i) => JSON.parse(head.dataset.csv).map(([name, from]) => [name, i, from]));
  const line = (row) => columns.map(([, i, from]) => quoted(row.cells[i].dataset[from] ?? '')).join(',');
  return `${[columns.map(([name]) => quoted(name)).join(','), ...[...table.tBodies[0].rows].map(line)].join('\n')}\n`;
}

/** A table that goes on beyond the edge of its box fades there. */
for (const box of document.querySelectorAll('.scroll')) {
  const mark = () => box.classList.toggle('more', box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
  box.addEventListener('scroll', mark, { passive: true });
  new ResizeObserver(mark).observe(box);
}
