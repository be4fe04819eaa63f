// Tables that a click on a column's head sorts.

function sortable(table) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const collator = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });
  heads.forEach((head, column) => {
    const numeric = head.classList.contains('n');
    const button = Object.assign(document.createElement('button'), { type: 'button', textContent: head.textContent });
    head.replaceChildren(button);
    button.addEventListener('click', () => {
      // Numbers are looked at from the largest down, names from the first up.
      const ascending = head.ariaSort ? head.ariaSort === 'descending' : !numeric;
      for (const other of heads) other.removeAttribute('aria-sort');
      head.ariaSort = ascending ? 'ascending' : 'descending';
      const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const order = numeric
        ? (a, b) => Number(value(a).replaceAll(',', '')) - Number(value(b).replaceAll(',', ''))
        : (a, b) => collator.compare(value(a), value(b));
      body.append(...[...body.rows].sort((a, b) => (ascending ? order(a, b) : order(b, a))));
    });
  });
}

for (const table of document.querySelectorAll('[data-sortable]')) sortable(table);
ready();
