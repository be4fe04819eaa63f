// The page around the charts: settings, export.

const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
const SPANS = [1, 3, 5, 10, 20, 50, 100, 200, 500, 1000];

// A CSS custom property as a colour that a canvas understands (light-dark() resolved), cached until the theme changes.
const probe = document.body.appendChild(Object.assign(document.createElement('i'), { hidden: true }));
const colors = new Map();
function css(name) {
  if (!colors.has(name)) {
    probe.style.color = `var(--${name})`;
    colors.set(name, getComputedStyle(probe).color);
  }
  return colors.get(name);
}

function save(name, blob) {
  const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** The chart at twice its size with its title and legend, in the colours of the screen. */
function png(chart, name) {
  const [width, height, head] = [Math.max(chart.width, 640), chart.height, 48];
  const canvas = Object.assign(document.createElement('canvas'), { width: 2 * width, height: 2 * (height + head) });
  const ctx = canvas.getContext('2d');
  ctx.scale(2, 2);
  ctx.fillStyle = css('paper');
  ctx.fillRect(0, 0, width, height + head);
  chart.write(ctx, chart.title, 14, 18, 'left', 'ink', '600 14px');
  chart.write(ctx, state.name, width - 12, 18, 'right', 'faint');
  let x = 14;
  for (const s of chart.series) {
    ctx.fillStyle = css(s.color);
    ctx.fillRect(x, 36, 12, 3);
    chart.write(ctx, s.label, x + 18, 38, 'left', 'ink');
    x += 34 + ctx.measureText(s.label).width;
  }
  ctx.translate(0, head);
  chart.paint(ctx, width, height);
  chart.draw();
  canvas.toBlob((blob) => save(`${name}.png`, blob));
}

/** The visible rows of a chart: one line per point, so that series of different steps share a table. */
function csv(chart) {
  const quote = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = ['run,series,step,tokens,seconds,value'];
  const [low, high] = chart.group.domain();
  for (const s of chart.series) {
    const x = s.track.x[chart.group.axis];
    for (let i = bound(x, low); i < s.track.n && x[i] <= high; i++) {
      const cells = [...AXES.map((axis) => s.track.axes[axis][i]).map((v) => (Number.isFinite(v) ? +v.toFixed(3) : ''))];
      lines.push([quote(s.run), quote(s.label), ...cells, Number.isFinite(s.raw[i]) ? +s.raw[i].toPrecision(7) : s.bad.includes(i) ? 'nan' : ''].join(','));
    }
  }
  return `${lines.join('\n')}\n`;
}

function charts() {
  const packed = JSON.parse($('#data').textContent).runs[0];
  const start = decode(packed.train.axes.time, packed.train.n).find(Number.isFinite) ?? NaN;
  const train = openTrack(packed.train, start);
  const val = openTrack(packed.val, start, train);
  const main = train.n ? train : val;
  const group = new Group(main);
  Object.assign(state, { group, name: packed.name, rows: train.n });
  const ppl = val.columns.val_ppl;
  for (const figure of document.querySelectorAll('[data-chart]')) {
    const key = figure.dataset.chart;
    const series = [{ run: packed.name, label: key === 'loss' ? 'train' : key, track: train, key, color: 'train', exact: key === 'lr' }];
    if (key === 'loss' && val.n) {
      series.push({ run: packed.name, label: 'validation', track: val, key: 'val_loss', color: 'val', dots: true, note: (row) => (ppl ? ` (perplexity ${brief(ppl[row])})` : '') });
    }
    const chart = new Chart(figure, group, series);
    const log = figure.querySelector('[data-do=log]');
    log.disabled = !chart.positive;
    figure.addEventListener('click', (event) => {
      const name = `${packed.name}-${key}`.replace(/[^\w.-]+/g, '_');
      const action = event.target.dataset.do;
      if (action === 'log') { chart.logY = !chart.logY; log.setAttribute('aria-pressed', chart.logY); chart.draw(); }
      if (action === 'png') png(chart, name);
      if (action === 'csv') save(`${name}.csv`, new Blob([csv(chart)], { type: 'text/csv' }));
    });
  }
  Object.assign(state, { charts: group.charts, csv });
  settings(group, main);
}

function settings(group, main) {
  const readout = $('#readout');
  const words = (row) => {
    const { step, tokens, time } = main.axes;
    return [`step ${step[row].toLocaleString('en')}`, main.known.tokens && `${brief(tokens[row])} tokens`, main.known.time && clock(time[row])].filter(Boolean).join(' · ');
  };
  group.onmove = (row) => {
    $('#reset').disabled = !group.view;
    const last = main.n - 1;
    readout.textContent = row >= 0 ? words(row) : last >= 0 ? `last: ${words(last)}` : '';
  };
  for (const input of document.querySelectorAll('[name=axis]')) {
    input.disabled = !main.known[input.value];
    input.addEventListener('change', () => group.setAxis(input.value));
  }
  const slider = $('#smoothing');
  const apply = () => {
    const span = SPANS[slider.value];
    $('#smoothing-value').textContent = span > 1 ? `over ${span} rows` : 'off';
    slider.setAttribute('aria-valuetext', $('#smoothing-value').textContent);
    group.setSpan(span);
  };
  slider.value = main.n < 40 ? 0 : SPANS.findLastIndex((span) => span <= main.n / 100);
  slider.addEventListener('input', apply);
  apply();
  $('#reset').addEventListener('click', () => group.zoom(null));
  document.addEventListener('say', (event) => { $('#announce').textContent = `${readout.textContent}. ${event.detail}`; });
}

document.addEventListener('theme', () => { colors.clear(); state.group?.draw(); });
if ($('.charts')) charts();
ready();
