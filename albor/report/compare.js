// The page around the curves: what is shown, in which colours, on which axis; the legend; export.

const CYCLE = 8; // colours that every kind of colour vision tells apart
const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3]];
const STEPS = [0, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000];
// Viridis at eight places, without its ends, which are too close to paper or to night.
const RAMP = [[68, 57, 131], [57, 86, 140], [42, 116, 142], [32, 146, 140], [53, 174, 121], [110, 197, 88], [165, 205, 48], [205, 190, 20]];
const LISTED = 30; // runs that a PNG names

const data = JSON.parse($('#data').textContent);
const column = opener(data.pool);
const runs = data.runs.map((packed, index) => new Run(packed, index, column));
const rows = new Map([...$('#legend').tBodies[0].rows].map((row) => [Number(row.dataset.run), row]));
const names = runs.map((run) => rows.get(run.index).querySelector('label span').firstChild.textContent.trim());
const on = runs.map(() => true);
const found = runs.map(() => true);
const shown = (index) => on[index] && found[index];

// --- colours ---

let paint = { of: () => 0, count: 1 };
const numeric = (text) => text !== null && text !== '' && Number.isFinite(Number(text));

/** How runs are told apart: by config, each for itself, or by the value of a key, along a ramp where values are numbers. */
function painter(choice) {
  if (choice === 'config') return { of: (run) => run.group, count: data.groups.length };
  if (choice === 'run') return { of: (run) => run.index, count: runs.length };
  const place = Number(choice);
  const values = [...new Set(runs.map((run) => run.values[place]))];
  if (values.filter((value) => value !== null).every(numeric) && values.length > 2) {
    const sorted = values.filter((value) => value !== null).map(Number).sort((a, b) => a - b);
    return { of: (run) => (run.values[place] === null ? -1 : sorted.indexOf(Number(run.values[place])) / (sorted.length - 1)), ramp: sorted, key: data.keys[place] };
  }
  return { of: (run) => values.indexOf(run.values[place]), count: values.length };
}

/** A colour of the ramp; its dark end is lightened at night. */
function along(share) {
  const at = share * (RAMP.length - 1);
  const i = Math.min(RAMP.length - 2, Math.floor(at));
  const light = Number(css('paper').match(/\d+/)) < 128 ? 0.45 * (1 - share) : 0;
  const mixed = RAMP[i].map((from, k) => from + (at - i) * (RAMP[i + 1][k] - from));
  return `rgb(${mixed.map((value) => Math.round(value + light * (255 - value))).join(' ')})`;
}

function style(run) {
  const place = paint.of(run);
  if (paint.ramp) return { color: place < 0 ? css('faint') : along(place), dash: [] };
  return { color: css(`c${place % CYCLE}`), dash: DASHES[Math.floor(place / CYCLE) % DASHES.length] };
}

function recolor() {
  for (const [index, row] of rows) {
    const { color, dash } = style(runs[index]);
    const line = row.querySelector('line');
    line.style.stroke = color;
    line.style.strokeDasharray = dash.join(' ');
  }
  const ramp = $('#ramp');
  ramp.hidden = !paint.ramp;
  if (paint.ramp) {
    ramp.replaceChildren(`${brief(paint.ramp[0])} `, Object.assign(document.createElement('i'), { ariaHidden: 'true' }), ` ${brief(paint.ramp.at(-1))}`);
    ramp.querySelector('i').style.background = `linear-gradient(90deg, ${RAMP.map((_, i) => along(i / (RAMP.length - 1))).join(', ')})`;
  }
}

// --- what is pointed at ---

const tip = Object.assign(document.createElement('div'), { id: 'tip', hidden: true });
tip.setAttribute('role', 'presentation');

/** The words on a curve at a place: its name, then [label, value] pairs. */
function told({ chart, curve, x }) {
  const { group } = chart;
  const reading = chart.reading(curve, x);
  const name = curve.name ?? (group.names ? curve.line.run.name : names[curve.line.run.index]);
  const pairs = [];
  if (group.names) pairs.push([group.names[reading.step] ?? '', brief(reading.raw, 5)]);
  else if (curve.lines) {
    pairs.push([group.axis, spell(group.axis, x)], [curve.count > 1 ? `mean of ${curve.count} seeds` : 'value', brief(reading.soft, 5)]);
    if (Number.isFinite(reading.low)) pairs.push([group.band === 'sd' ? '± sd' : 'min–max', `${brief(reading.low, 5)} – ${brief(reading.high, 5)}`]);
  } else {
    pairs.push(['step', reading.step.toLocaleString('en')]);
    if (group.axis !== 'step') pairs.push([group.axis, spell(group.axis, x)]);
    pairs.push(['raw', brief(reading.raw, 5)]);
    if (reading.soft !== undefined) pairs.push(['smoothed', brief(reading.soft, 5)]);
  }
  return { name, pairs };
}

const spell = (axis, x) => (axis === 'time' ? (x < 180 ? `${brief(x, 3)} s` : clock(x)) : axis === 'step' ? Math.round(x).toLocaleString('en') : brief(x, 3));

function showTip(at) {
  tip.hidden = !at?.curve;
  if (tip.hidden) return;
  const { name, pairs } = told(at);
  const list = document.createElement('dl');
  for (const pair of pairs) list.append(...pair.map((text, i) => Object.assign(document.createElement(i ? 'dd' : 'dt'), { textContent: text })));
  tip.replaceChildren(Object.assign(document.createElement('b'), { textContent: name }), list);
  const { plot } = at.chart;
  plot.append(tip);
  const left = at.px > plot.clientWidth / 2 ? at.px - tip.offsetWidth - 14 : at.px + 14;
  tip.style.left = `${Math.max(0, Math.min(plot.clientWidth - tip.offsetWidth, left))}px`;
  tip.style.top = `${Math.max(0, Math.min(plot.clientHeight - tip.offsetHeight, at.py - 20))}px`;
}

function pointed(hot, at) {
  for (const [index, row] of rows) row.classList.toggle('hot', hot !== null && (hot.run === index || hot.group === runs[index].group));
  showTip(at);
}

// --- export ---

function pngLegend(curves, chart, ctx, width, dry) {
  const listed = curves.slice(0, LISTED);
  const across = Math.max(1, Math.floor((width - 20) / 210));
  if (dry) return 16 * Math.ceil((listed.length + (curves.length > LISTED)) / across) + 6;
  listed.forEach((curve, i) => {
    const [x, y] = [14 + (i % across) * 210, 38 + 16 * Math.floor(i / across)];
    Object.assign(ctx, { strokeStyle: curve.color, lineWidth: 2 });
    ctx.setLineDash(curve.dash);
    ctx.beginPath(); ctx.moveTo(x, y); ctx.lineTo(x + 20, y); ctx.stroke();
    ctx.setLineDash([]);
    const text = curve.name ?? (chart.group.names ? curve.line.run.name : names[curve.line.run.index]);
    chart.write(ctx, text.length > 30 ? `${text.slice(0, 29)}…` : text, x + 26, y, 'left', 'ink');
  });
  if (curves.length > LISTED) chart.write(ctx, `and ${curves.length - LISTED} more`, 14 + (listed.length % across) * 210, 38 + 16 * Math.floor(listed.length / across), 'left', 'faint');
  return 0;
}

/** The points in view of the runs that are shown, as they were logged. */
function csv(chart) {
  const { group } = chart;
  const [low, high] = group.domain();
  if (group.names) return `ladder,rung,value\n${chart.lines.map((line) => [...line.drawn.x].map((x, i) => [quoted(line.key), quoted(group.names[x]), line.drawn.y[i]].join(',')).join('\n')).join('\n')}\n`;
  const lines = ['run,config,seed,series,step,tokens,flops,seconds,value'];
  for (const line of chart.there()) {
    const { run } = line;
    const { steps, x, y } = line.points(group.axis);
    const axes = ['tokens', 'flops', 'time'].map((axis) => (run.has(axis) ? run.along(axis, steps) : null));
    for (let i = bound(x, low); i < x.length && x[i] <= high; i++) {
      const cells = axes.map((values) => (values ? +values[i].toPrecision(12) : ''));
      lines.push([quoted(run.name), quoted(data.groups[run.group]), quoted(run.seed), quoted(line.key), steps[i], ...cells, +y[i].toPrecision(7)].join(','));
    }
  }
  return `${lines.join('\n')}\n`;
}

function tooled(figure, key, chart) {
  figure.addEventListener('click', (event) => {
    const action = event.target.dataset.do;
    const name = fileName(`${data.name}-${key}`);
    const field = { log: 'logY', end: 'end' }[action];
    if (field) { chart[field] = !chart[field]; event.target.setAttribute('aria-pressed', chart[field]); chart.stale = true; chart.draw(); }
    if (action === 'png') picture(chart, name, data.name, (ctx, width, dry) => pngLegend(chart.curves(), chart, ctx, width, dry));
    if (action === 'csv') save(`${name}.csv`, new Blob([csv(chart)], { type: 'text/csv' }));
  });
  return chart;
}

// --- the charts ---

const view = new View({ runs, shown, style, groups: data.groups, onpoint: pointed, onzoom: (zoomed) => { $('#reset').disabled = !zoomed; } });
for (const figure of document.querySelectorAll('[data-chart]')) {
  const key = figure.dataset.chart;
  const lines = runs.filter((run) => Object.hasOwn(run.series, key)).map((run) => new Line(run, key, run.series[key]));
  tooled(figure, key, new Overlay(figure, view, lines));
}

const ladder = new View({
  names: data.rungs.names, axis: 'rung',
  style: (run) => ({ color: css(`c${run.index % CYCLE}`), dash: DASHES[Math.floor(run.index / CYCLE) % DASHES.length] }), onpoint: (_, at) => showTip(at),
});
const ladders = [...new Set(data.rungs.charts.flatMap((chart) => Object.keys(chart.lines)))];
document.querySelectorAll('[data-rung]').forEach((figure, i) => {
  const { key, lines } = data.rungs.charts[i];
  tooled(figure, key, new Overlay(figure, ladder, Object.entries(lines).map(([name, points]) => new RungLine(name, ladders.indexOf(name), points))));
});

// --- settings ---

/** Takes in which runs are shown. */
function changed() {
  for (const [index, row] of rows) {
    row.hidden = !found[index];
    row.querySelector('input').checked = on[index];
  }
  const count = runs.filter((run) => shown(run.index)).length;
  const matched = found.some(Boolean);
  view.nothing = matched ? 'no run is shown' : 'no run matches the filter';
  $('#shown').textContent = count === runs.length ? `${count} shown` : matched ? `${count} of ${runs.length}` : 'no match';
  view.set();
}

function settings() {
  for (const input of document.querySelectorAll('[name=axis]')) {
    input.disabled = !runs.some((run) => run.has(input.value));
    input.addEventListener('change', () => view.set({ axis: input.value }));
  }
  const longest = Math.max(1, ...runs.map((run) => run.ends[1]));
  const spans = STEPS.filter((span) => span <= longest / 4 || span === 0);
  const slider = $('#smoothing');
  slider.max = spans.length - 1;
  slider.value = longest < 200 ? 0 : spans.findLastIndex((span) => span <= longest / 50);
  const smoothing = () => {
    const span = spans[slider.value];
    $('#smoothing-value').textContent = span ? `over ${span.toLocaleString('en')} steps` : 'off';
    slider.setAttribute('aria-valuetext', $('#smoothing-value').textContent);
    return span;
  };
  slider.addEventListener('input', () => view.set({ span: smoothing() }));
  const seeded = data.groups.length < runs.length;
  for (const input of document.querySelectorAll('[name=band]')) {
    input.checked = input.value === (seeded ? 'range' : 'lines');
    input.addEventListener('change', () => view.set({ band: input.value }));
  }
  const choices = [['config', seeded ? 'config (seeds alike)' : 'run'], ...(seeded ? [['run', 'run']] : []), ...data.keys.map((key, i) => [String(i), key])];
  const select = $('#color');
  select.append(...choices.map(([value, text]) => new Option(text, value)));
  const plain = data.keys.findIndex((key) => !/(^|\.)seed$/.test(key) && painterIsRamp(key));
  select.value = data.groups.length > CYCLE && plain >= 0 ? String(plain) : 'config';
  const colour = () => { paint = painter(select.value); recolor(); };
  select.addEventListener('change', () => { colour(); view.set(); });
  colour();
  Object.assign(view, { span: smoothing(), band: seeded ? 'range' : 'lines' });
  $('#reset').addEventListener('click', () => view.zoom(null));
}

function painterIsRamp(key) {
  return Boolean(painter(String(data.keys.indexOf(key))).ramp);
}

function legend() {
  for (const [index, row] of rows) {
    const box = row.querySelector('input');
    box.addEventListener('change', () => { on[index] = box.checked; changed(); });
    row.addEventListener('dblclick', () => { on.fill(false); on[index] = true; changed(); });
    for (const kind of ['pointerenter', 'focusin']) row.addEventListener(kind, () => { if (shown(index)) view.point({ run: index }); });
    for (const kind of ['pointerleave', 'focusout']) row.addEventListener(kind, () => view.point(null));
  }
  for (const [id, value] of [['#all', true], ['#none', false]]) {
    $(id).addEventListener('click', () => { runs.forEach((run) => { if (found[run.index]) on[run.index] = value; }); changed(); });
  }
  $('#filter').addEventListener('input', (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const [index, row] of rows) found[index] = words.every((word) => row.dataset.words.includes(word));
    changed();
  });
  sortable($('#legend'));
}

if ($('.charts')) { settings(); legend(); changed(); }
sortable($('#finals-table'));
$('#finals-csv').addEventListener('click', () => save(`${fileName(data.name)}-finals.csv`, new Blob([tableCsv($('#finals-table'))], { type: 'text/csv' })));
document.addEventListener('theme', () => { recolor(); view.set(); ladder.set(); });
document.addEventListener('say', () => { if (view.at?.curve) { const { name, pairs } = told(view.at); $('#announce').textContent = [name, ...pairs.map((pair) => pair.join(' '))].join(', '); } });
Object.assign(state, { view, ladder, charts: view.charts, csv });
