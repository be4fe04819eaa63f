// One chart on two canvases (lines; crosshair) and the group that keeps several charts at the same place.

const MARGIN = { left: 50, right: 12, top: 8, bottom: 22 };

/** Charts that share the x axis, the zoom, the smoothing and the crosshair. `main` is the track that the crosshair follows. */
class Group {
  constructor(main) {
    Object.assign(this, { main, charts: [], axis: 'step', span: 1, view: null, hover: -1, onmove: () => {} });
  }

  /** [low, high] of the axis: the zoomed part, or all that any chart's series hold. */
  domain() {
    if (this.view) return this.view;
    const ends = this.charts.flatMap((chart) => chart.series.map((s) => s.track)).filter((track) => track.n)
      .flatMap((track) => [track.x[this.axis][0], track.x[this.axis][track.n - 1]]);
    const [low, high] = ends.length ? [Math.min(...ends), Math.max(...ends)] : [0, 1];
    return high > low ? [low, high] : [low - 0.5, high + 0.5];
  }

  zoom(view) { this.view = view; this.draw(); }

  setAxis(axis) {
    const rows = this.view?.map((x) => nearest(this.main.x[this.axis], x));
    this.axis = axis;
    const view = rows?.map((row) => this.main.x[axis][row]);
    this.zoom(view && view[1] > view[0] ? view : null);
  }

  setSpan(span) { this.span = span; this.draw(); }

  /** Puts the crosshair of every chart on a row of the main track; -1 removes it. */
  point(row) {
    this.hover = row;
    for (const chart of this.charts) chart.drawCursor();
    this.onmove(row);
  }

  draw() {
    for (const chart of this.charts) chart.draw();
    this.point(this.hover);
  }
}

/**
 * series: [{label, track, key, color, dots?, note?}]; color names a CSS custom property, dots draws points (joined by a
 * line), exact is never smoothed, note(row) adds words to the readout. Several runs are several series.
 */
class Chart {
  constructor(figure, group, series, logY = false) {
    Object.assign(this, { figure, group, logY, title: figure.dataset.title });
    this.series = series.map((s) => ({ ...s, raw: s.track.columns[s.key], bad: s.track.bad[s.key] ?? [] })).filter((s) => s.raw || s.bad.length);
    for (const s of this.series) s.raw ??= new Float32Array(s.track.n).fill(NaN);
    this.plot = figure.querySelector('.plot');
    this.legend = figure.querySelector('.legend');
    [this.base, this.top] = [0, 1].map(() => this.plot.appendChild(document.createElement('canvas')));
    this.top.tabIndex = 0;
    this.top.setAttribute('role', 'img');
    this.top.setAttribute('aria-label', `${this.title} chart. ${figure.querySelector('figcaption').textContent}`);
    group.charts.push(this);
    new ResizeObserver(() => { if (this.plot.clientWidth !== this.width) this.draw(); }).observe(this.plot);
    this.listen();
  }

  get positive() { return this.series.some((s) => s.raw.some((y) => y > 0)); }

  /** Rows lo..hi of a series inside the visible part, with one beyond each end so that lines run to the border. */
  rows(s, [low, high]) {
    const x = s.track.x[this.group.axis];
    return [Math.max(0, bound(x, low) - 1), Math.min(x.length, bound(x, high + Number.EPSILON * high) + 1)];
  }

  smoothed(s) {
    if (s.dots || s.exact || this.group.span < 2) return null;
    if (s.span !== this.group.span) Object.assign(s, { span: this.group.span, soft: smooth(s.raw, this.group.span) });
    return s.soft;
  }

  /** [low, high] of the values in view, with a little air. */
  range(domain, log) {
    let low = Infinity;
    let high = -Infinity;
    for (const s of this.series) {
      const [from, to] = this.rows(s, domain);
      const x = s.track.x[this.group.axis];
      for (let i = from; i < to; i++) {
        const y = s.raw[i];
        if (!Number.isFinite(y) || (log && y <= 0) || x[i] < domain[0] || x[i] > domain[1]) continue;
        if (y < low) low = y;
        if (y > high) high = y;
      }
    }
    if (low > high) return log ? [0.1, 1] : [0, 1];
    if (log) return low === high ? [low / 2, high * 2] : [low / (high / low) ** 0.04, high * (high / low) ** 0.04];
    const air = (high - low) * 0.05 || Math.abs(high) * 0.1 || 1;
    return [low >= 0 && low - air < 0 ? 0 : low - air, high + air];
  }

  /** Draws the chart into a context of the given size; what the screen and the PNG share. */
  paint(ctx, width, height) {
    const domain = this.group.domain();
    const log = this.logY && this.positive;
    const range = this.range(domain, log);
    const box = { l: MARGIN.left, r: width - MARGIN.right, t: MARGIN.top, b: height - MARGIN.bottom };
    const f = log ? Math.log : (v) => v;
    const [f0, f1] = range.map(f);
    const toX = (x) => box.l + ((x - domain[0]) / (domain[1] - domain[0])) * (box.r - box.l);
    const toY = (y) => (log && y <= 0 ? NaN : box.b - ((f(y) - f0) / (f1 - f0)) * (box.b - box.t));
    Object.assign(this, { toX, toY, box, fromX: (p) => domain[0] + ((p - box.l) / (box.r - box.l)) * (domain[1] - domain[0]) });
    this.paintAxes(ctx, domain, range, log);
    ctx.save();
    ctx.beginPath();
    ctx.rect(box.l, 0, box.r - box.l + 4, height);
    ctx.clip();
    for (const s of this.series) this.paintSeries(ctx, s, domain);
    ctx.restore();
    ctx.fillStyle = css('bad');
    for (const s of this.series) {
      const x = s.track.x[this.group.axis];
      for (const i of s.bad) if (x[i] >= domain[0] && x[i] <= domain[1]) cross(ctx, toX(x[i]), box.b - 5);
    }
    if (!this.series.length) this.write(ctx, 'nothing logged', (box.l + box.r) / 2, (box.t + box.b) / 2, 'center', 'faint');
  }

  paintAxes(ctx, domain, range, log) {
    const { l, r, t, b } = this.box;
    ctx.lineWidth = 1;
    ctx.strokeStyle = css('grid');
    const rows = ticks(...range, Math.max(3, (b - t) / 50), log);
    const names = labels(rows);
    rows.forEach((y, i) => {
      const py = Math.round(this.toY(y)) + 0.5;
      ctx.beginPath(); ctx.moveTo(l, py); ctx.lineTo(r, py); ctx.stroke();
      this.write(ctx, names[i], l - 7, py, 'right', 'faint');
    });
    const time = this.group.axis === 'time';
    const size = time ? (domain[1] - domain[0] > 2 * 86400 ? 86400 : domain[1] - domain[0] > 7200 ? 3600 : domain[1] - domain[0] > 180 ? 60 : 1) : 1;
    const unit = { 1: time ? ' s' : '', 60: ' min', 3600: ' h', 86400: ' d' }[size];
    const marks = ticks(domain[0] / size, domain[1] / size, Math.max(2, (r - l) / 90), false, !time);
    labels(marks).forEach((name, i) => {
      const px = this.toX(marks[i] * size);
      this.write(ctx, name + unit, Math.min(px, r + 10), b + 13, px > r - 16 ? 'right' : 'center', 'faint');
    });
    ctx.strokeStyle = css('axis');
    ctx.beginPath(); ctx.moveTo(l, b + 0.5); ctx.lineTo(r, b + 0.5); ctx.stroke();
  }

  paintSeries(ctx, s, domain) {
    const x = s.track.x[this.group.axis];
    const [from, to] = this.rows(s, domain);
    const width = this.box.r - this.box.l;
    const soft = this.smoothed(s);
    const trace = (y, alpha, weight) => {
      const points = thin(x, y, from, to, this.toX, this.toY, width);
      Object.assign(ctx, { strokeStyle: css(s.color), fillStyle: css(s.color), globalAlpha: alpha, lineWidth: weight, lineJoin: 'round' });
      ctx.beginPath();
      let pen = false;
      const alone = [];
      for (let i = 0; i < points.length; i += 2) {
        const ok = Number.isFinite(points[i + 1]);
        if (!ok) { pen = false; continue; }
        if (!pen && !Number.isFinite(points[i + 3])) alone.push(points[i], points[i + 1]);
        if (pen) ctx.lineTo(points[i], points[i + 1]); else ctx.moveTo(points[i], points[i + 1]);
        pen = true;
      }
      ctx.stroke();
      const dots = s.dots && points.length / 2 < width / 8 ? points : alone;
      for (let i = 0; i < dots.length; i += 2) if (Number.isFinite(dots[i + 1])) disc(ctx, dots[i], dots[i + 1], 2.8);
      ctx.globalAlpha = 1;
    };
    trace(s.raw, soft ? 0.28 : 1, soft ? 1 : 1.5);
    if (soft) trace(soft, 1, 1.8);
  }

  write(ctx, text, x, y, align, color, font = '11px') {
    Object.assign(ctx, { fillStyle: css(color), font: `${font} ${FONT}`, textAlign: align, textBaseline: 'middle' });
    ctx.fillText(text, x, y);
  }

  fit(canvas) {
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [this.plot.clientWidth, this.plot.clientHeight];
    Object.assign(this, { width, height });
    if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
    if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
    const ctx = canvas.getContext('2d');
    ctx.setTransform(scale, 0, 0, scale, 0, 0);
    ctx.clearRect(0, 0, width, height);
    return ctx;
  }

  draw() {
    const ctx = this.fit(this.base);
    this.paint(ctx, this.width, this.height);
    this.drawCursor();
    this.plot.dataset.drawn = this.series.length;
  }

  /** The crosshair, the dots on the lines, the values in the legend (without a crosshair: the last ones in view). */
  drawCursor() {
    if (!this.toX) return;
    const ctx = this.fit(this.top);
    const { group, box } = this;
    const domain = group.domain();
    const at = group.hover >= 0 ? group.main.x[group.axis][group.hover] : null;
    if (this.drag) {
      ctx.fillStyle = css('select');
      ctx.fillRect(this.drag[0], box.t, this.drag[1] - this.drag[0], box.b - box.t);
    }
    if (at !== null && at >= domain[0] && at <= domain[1]) {
      ctx.strokeStyle = css('axis');
      ctx.beginPath(); ctx.moveTo(Math.round(this.toX(at)) + 0.5, box.t); ctx.lineTo(Math.round(this.toX(at)) + 0.5, box.b); ctx.stroke();
    }
    this.legend.replaceChildren();
    for (const s of this.series) {
      const x = s.track.x[group.axis];
      // A dotted series is sparse: read its last point so far. A line is read at its nearest row.
      const limit = at ?? domain[1];
      const row = s.dots ? bound(x, limit * (1 + 1e-9) + 1e-9) - 1 : nearest(x, limit);
      const soft = this.smoothed(s);
      const shown = row >= 0 ? (soft ?? s.raw)[row] : NaN;
      if (at !== null && Number.isFinite(shown)) {
        ctx.fillStyle = css(s.color);
        disc(ctx, this.toX(x[row]), this.toY(shown), 3.5);
      }
      const raw = row >= 0 ? (s.bad.includes(row) ? 'not finite' : brief(s.raw[row], 5)) : '–';
      const words = soft ? ` (smoothed ${brief(shown, 5)})` : row >= 0 ? s.note?.(row) ?? '' : '';
      const item = this.legend.appendChild(document.createElement('span'));
      item.style.setProperty('--color', `var(--${s.color})`);
      item.append(this.series.length > 1 ? `${s.label} ` : '', Object.assign(document.createElement('b'), { textContent: raw }), words);
    }
  }

  listen() {
    const { group, top } = this;
    const place = (event) => Math.min(this.box.r, Math.max(this.box.l, event.clientX - top.getBoundingClientRect().left));
    let from = null;
    top.addEventListener('pointerdown', (event) => {
      if (event.button === 0 && event.pointerType === 'mouse') { from = place(event); top.setPointerCapture(event.pointerId); }
    });
    top.addEventListener('pointermove', (event) => {
      const to = place(event);
      this.drag = from !== null && Math.abs(to - from) > 4 ? [from, to].sort((a, b) => a - b) : null;
      group.point(nearest(group.main.x[group.axis], this.fromX(to)));
    });
    top.addEventListener('pointerup', () => {
      const drag = this.drag;
      from = this.drag = null;
      if (drag) group.zoom(drag.map(this.fromX)); else group.point(group.hover);
    });
    top.addEventListener('pointercancel', () => { from = this.drag = null; });
    top.addEventListener('pointerleave', () => group.point(-1));
    top.addEventListener('blur', () => group.point(-1));
    top.addEventListener('dblclick', () => group.zoom(null));
    top.addEventListener('keydown', (event) => this.key(event));
  }

  key(event) {
    const { group } = this;
    const x = group.main.x[group.axis];
    if (!x.length) return;
    const [low, high] = group.domain();
    const [first, last] = [bound(x, low), Math.max(0, bound(x, high + 1e-9) - 1)];
    const row = group.hover < 0 ? last : group.hover;
    const stride = event.shiftKey ? Math.max(1, Math.round((last - first) / 20)) : 1;
    const goal = { ArrowLeft: row - stride, ArrowRight: row + stride, Home: first, End: last }[event.key];
    if (goal !== undefined) {
      group.point(Math.min(last, Math.max(first, goal)));
      const words = `${this.title}: ${this.legend.textContent}`;
      this.figure.dispatchEvent(new CustomEvent('say', { bubbles: true, detail: words }));
    } else if (event.key === '+' || event.key === '=' || event.key === '-') {
      const size = (high - low) * (event.key === '-' ? 2 : 0.5);
      const all = [x[0], x[x.length - 1]];
      const start = Math.max(all[0], Math.min(x[row] - size / 2, all[1] - size));
      if (size > 0) group.zoom(size >= all[1] - all[0] ? null : [start, start + size]);
    } else if (event.key === 'Escape') group.zoom(null);
    else return;
    event.preventDefault();
  }
}

function disc(ctx, x, y, radius) { ctx.beginPath(); ctx.arc(x, y, radius, 0, 7); ctx.fill(); }

/** A small triangle on the x axis: a value that was not finite. */
function cross(ctx, x, y) { ctx.beginPath(); ctx.moveTo(x, y - 4); ctx.lineTo(x - 4, y + 4); ctx.lineTo(x + 4, y + 4); ctx.fill(); }
