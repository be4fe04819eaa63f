// The page around the charts: settings, export.

const SPANS = [1, 3, 5, 10, 20, 50, 100, 200, 500, 1000];

function legend(chart, ctx, dry) {
  let x = 14;
  for (const s of dry ? [] : chart.series) {
    ctx.fillStyle = css(s.color);
    ctx.fillRect(x, 36, 12, 3);
    chart.write(ctx, s.label, x + 18, 38, 'left', 'ink');
    x += 34 + ctx.measureText(s.label).width;
  }
  return 14;
}

/** The visible rows of a chart: one line per point, so that series of different steps share a table. */
function csv(chart) {
  const lines = ['run,series,step,tokens,seconds,value'];
  const [low, high] = chart.group.domain();
  for (const s of chart.series) {
    const x = s.track.x[chart.group.axis];
    for (let i = bound(x, low); i < s.track.n && x[i] <= high; i++) {
      const cells = [...AXES.map((axis) => s.track.axes[axis][i]).map((v) => (Number.isFinite(v) ? +v.toFixed(3) : ''))];
      lines.push([quoted(s.run), quoted(s.label), ...cells, Number.isFinite(s.raw[i]) ? +s.raw[i].toPrecision(7) : s.bad.includes(i) ? 'nan' : ''].join(','));
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
      const name = fileName(`${packed.name}-${key}`);
      const action = event.target.dataset.do;
      if (action === 'log') { chart.logY = !chart.logY; log.setAttribute('aria-pressed', chart.logY); chart.draw(); }
      if (action === 'png') picture(chart, name, state.name, (ctx, width, dry) => legend(chart, ctx, dry));
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

document.addEventListener('theme', () => state.group?.draw());
if ($('.charts')) charts();
ready();
