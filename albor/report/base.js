// What every page does: errors counted, the theme, search in a table, print in light colours.

const $ = (selector) => document.querySelector(selector);
const root = document.documentElement;
const state = { ready: false, printing: false, errors: [] };
window.albor = state;
const complain = (text) => { state.errors.push(text); root.dataset.errors = state.errors.length; };
window.addEventListener('error', (event) => complain(event.message));
document.addEventListener('securitypolicyviolation', (event) => complain(`blocked ${event.blockedURI} by ${event.violatedDirective}`));
root.dataset.errors = 0;

function theme(choice) {
  if (choice) root.dataset.theme = choice; else delete root.dataset.theme;
  const dark = choice ? choice === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  $('#theme').textContent = dark ? 'Light' : 'Dark';
  $('#theme').setAttribute('aria-label', `Switch to the ${dark ? 'light' : 'dark'} theme`);
  document.dispatchEvent(new Event('theme'));
  return dark;
}

function remember(key, value) {
  try { return value === undefined ? localStorage.getItem(key) : localStorage.setItem(key, value); } catch { return null; }
}

/** An input that leaves those rows of a table visible that hold all of its words; `count` says how many. */
function search(input, table, count) {
  const rows = [...table.tBodies[0].rows].map((row) => [row, row.textContent.toLowerCase()]);
  const total = count.textContent;
  input.addEventListener('input', () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = rows.filter(([row, text]) => !(row.hidden = !words.every((word) => text.includes(word)))).length;
    count.textContent = words.length ? `${found.toLocaleString('en')} of ${total}` : total;
  });
}

let dark = theme(remember('albor-theme'));
$('#theme').addEventListener('click', () => {
  dark = theme(dark ? 'light' : 'dark');
  remember('albor-theme', dark ? 'dark' : 'light');
});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { dark = theme(root.dataset.theme); });
let before = null;
window.addEventListener('beforeprint', () => { before = root.dataset.theme ?? ''; state.printing = true; theme('light'); });
window.addEventListener('afterprint', () => { state.printing = false; theme(before); });
for (const input of document.querySelectorAll('[data-search]')) {
  search(input, $(input.dataset.search), input.parentElement.querySelector('output'));
}

/** The last line of every page's script. */
function ready() {
  state.ready = true;
  root.dataset.ready = 'true';
  root.dataset.interactiveMs = Math.round(performance.now());
}
