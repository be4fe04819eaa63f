// One run's chart and the group that keeps several charts at the same place.

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
 * line), exact is never smoothed, note(row) adds words to the readout.
 */
class Chart extends Plot {
  constructor(figure, group, series) {
    super(figure, group);
    this.series = series.map((s) => ({ ...s, raw: s.track.columns[s.key], bad: s.track.bad[s.key] ?? [] })).filter((s) => s.raw || s.bad.length);
    for (const s of this.series) s.raw ??= new Float32Array(s.track.n).fill(NaN);
    this.legend = figure.querySelector('.legend');
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
    this.place(width, height, domain, range, log);
    this.paintAxes(ctx, domain, range, log);
    this.inside(ctx, () => { for (const s of this.series) this.paintSeries(ctx, s, domain); });
    const { box } = this;
    ctx.fillStyle = css('bad');
    for (const s of this.series) {
      const x = s.track.x[this.group.axis];
      for (const i of s.bad) if (x[i] >= domain[0] && x[i] <= domain[1]) cross(ctx, this.toX(x[i]), box.b - 5);
    }
    if (!this.series.length) this.write(ctx, 'nothing logged', (box.l + box.r) / 2, (box.t + box.b) / 2, 'center', 'faint');
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
    this.paintDrag(ctx);
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

  pointed(x) { this.group.point(nearest(this.group.main.x[this.group.axis], this.fromX(x))); }

  left() { this.group.point(-1); }

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
