// Many runs in one chart, on three canvases: axes, lines, and what is singled out. It is drawn when it is in sight.

const FEW = 12; // lines of which the raw values are drawn, too, behind the smoothed
const SPARSE = 12; // points that are drawn as such
const NEAR = 60; // pixels within which a line is meant
const PAPER = [350, 220]; // pixels of a chart that is printed, whatever it has on the screen
const ROOM = { left: 54, right: 14, top: 10, bottom: 38 };

const same = (a, b) => a !== null && b !== null && a.run === b.run && a.group === b.group;

class Overlay extends Plot {
  constructor(figure, view, lines) {
    super(figure, view, ROOM);
    Object.assign(this, { lines, stale: true, cache: null, visible: false, end: figure.querySelector('[data-do=end][aria-pressed=true]') !== null });
    this.middle = document.createElement('canvas');
    this.plot.insertBefore(this.middle, this.top);
    new IntersectionObserver(([entry]) => { this.visible = entry.isIntersecting; this.draw(); }, { rootMargin: '200px' }).observe(figure);
  }

  get positive() { return this.curves().some((c) => c.strong.y.some((y) => y > 0)); }

  /** What is to be drawn: a curve for each visible run, or for each group of seeds. */
  curves() {
    this.cache ??= this.group.band === 'lines' || this.group.names ? this.single() : this.grouped();
    return this.cache;
  }

  there() { return this.lines.filter((line) => this.group.shown(line.run.index) && line.has(this.group.axis)); }

  single() {
    const { axis, span, style } = this.group;
    return this.there().map((line) => {
      const soft = line.soft(axis, span);
      const raw = line.points(axis);
      return { hot: { run: line.run.index }, line, strong: soft ?? raw, raw: soft ? raw : null, bad: line.bad, ...style(line.run) };
    });
  }

  grouped() {
    const { axis, span, style, groups } = this.group;
    const members = new Map();
    for (const line of this.there()) members.set(line.run.group, [...(members.get(line.run.group) ?? []), line]);
    return [...members].map(([group, lines]) => {
      // As in the table: what is not finished counts only where nothing is.
      const finished = lines.filter((line) => line.run.done);
      const curves = (finished.length ? finished : lines).map((line) => line.soft(axis, span) ?? line.points(axis, true));
      const strong = band(curves, this.group.band);
      return { hot: { group }, name: groups[group], lines, count: curves.length, strong, raw: null, bad: lines.flatMap((line) => line.bad.map((step) => [line, step])), ...style(lines[0].run) };
    }).filter((curve) => curve.strong.x.length);
  }

  /** [low, high] of the y axis; null where there is nothing to draw. */
  range(domain, log) {
    const found = this.end ? this.reach([domain[0] + (domain[1] - domain[0]) / 10, domain[1]], log) : null;
    const [low, high] = found && found[0] <= found[1] ? found : this.reach(domain, log);
    if (low > high) return null;
    if (log) return low === high ? [low / 2, high * 2] : [low / (high / low) ** 0.04, high * (high / low) ** 0.04];
    const air = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
    return [low >= 0 && low - air < 0 ? 0 : low - air, high + air];
  }

  /** [low, high] of what the lines show in a part of the axis. */
  reach(domain, log) {
    let [low, high] = [Infinity, -Infinity];
    const take = (y) => {
      if (!Number.isFinite(y) || (log && y <= 0)) return;
      if (y < low) low = y;
      if (y > high) high = y;
    };
    for (const { strong, line } of this.curves()) {
      const { x, y } = strong;
      for (let i = Math.max(0, bound(x, domain[0]) - 1); i < x.length && x[i] <= domain[1]; i++) {
        if (x[i] >= domain[0]) { take(y[i]); if (strong.low) { take(strong.low[i]); take(strong.high[i]); } }
      }
      for (const at of domain) take(value(strong, at)); // its points may all lie outside
      for (const [, from, to] of line?.whiskers ?? []) { take(from); take(to); }
    }
    return [low, high];
  }

  paintFrame(ctx, width, height) {
    const domain = this.group.domain();
    const log = this.logY && this.positive;
    const range = this.range(domain, log);
    this.empty = range === null;
    this.place(width, height, domain, range ?? [0, 1], log && !this.empty);
    if (!this.empty) this.paintAxes(ctx, domain, range, log);
  }

  paintLines(ctx) {
    const curves = this.curves();
    const { box } = this;
    this.inside(ctx, () => {
      if (curves.length <= FEW) for (const curve of curves) this.faint(ctx, curve);
      for (const curve of curves) this.strong(ctx, curve);
    });
    ctx.fillStyle = css('bad');
    const [low, high] = this.group.domain();
    for (const curve of curves) {
      for (const [line, step] of curve.lines ? curve.bad : curve.bad.map((step) => [curve.line, step])) {
        const [x] = line.run.along(this.group.axis, [step]);
        if (x >= low && x <= high) cross(ctx, this.toX(x), box.b - 5);
      }
    }
    if (this.empty) this.write(ctx, this.absence(), (box.l + box.r) / 2, (box.t + box.b) / 2, 'center', 'faint');
  }

  /** Why there is no line. */
  absence() {
    const { group } = this;
    if (this.curves().length) return 'nothing to draw here';
    if (!this.lines.some((line) => line.has(group.axis))) return `no ${group.title} logged`;
    return group.runs.some((run) => group.shown(run.index)) ? 'not logged by the runs that are shown' : group.nothing;
  }

  /** All of it on one canvas, for a PNG or for paper. */
  paint(ctx, width, height) {
    this.paintFrame(ctx, width, height);
    this.paintLines(ctx);
  }

  faint(ctx, { raw, color }) { if (raw) this.trace(ctx, raw, color, 0.2, 1, []); }

  strong(ctx, curve, weight = 1.6) {
    const { strong, color, dash, line } = curve;
    if (strong.low) this.shade(ctx, strong, color);
    this.trace(ctx, strong, color, 1, weight, dash, line?.dots || strong.x.length <= SPARSE);
    ctx.lineWidth = 1.6;
    ctx.setLineDash([]);
    for (const [at, low, high] of line?.whiskers ?? []) {
      ctx.beginPath(); ctx.moveTo(this.toX(at), this.toY(low)); ctx.lineTo(this.toX(at), this.toY(high)); ctx.stroke();
    }
  }

  trace(ctx, { x, y }, color, alpha, weight, dash, dotted = false) {
    const [low, high] = this.group.domain();
    const [from, to] = [Math.max(0, bound(x, low) - 1), Math.min(x.length, bound(x, high) + 1)];
    Object.assign(ctx, { strokeStyle: color, fillStyle: color, globalAlpha: alpha, lineWidth: weight, lineJoin: 'round' });
    ctx.setLineDash(dash);
    ctx.beginPath();
    let pen = false;
    for (let i = from; i < to; i++) {
      const py = this.toY(y[i]);
      if (!Number.isFinite(py)) { pen = false; continue; }
      if (pen) ctx.lineTo(this.toX(x[i]), py); else ctx.moveTo(this.toX(x[i]), py);
      pen = true;
    }
    ctx.stroke();
    ctx.setLineDash([]);
    if (dotted || to - from < 3) for (let i = from; i < to; i++) if (Number.isFinite(this.toY(y[i]))) disc(ctx, this.toX(x[i]), this.toY(y[i]), 3);
    ctx.globalAlpha = 1;
  }

  shade(ctx, { x, low, high }, color) {
    Object.assign(ctx, { fillStyle: color, globalAlpha: 0.16 });
    const parts = [];
    for (let i = 0; i < x.length; i++) {
      if (!Number.isFinite(this.toY(low[i])) || !Number.isFinite(this.toY(high[i]))) { if (parts.at(-1)?.length) parts.push([]); continue; }
      if (!parts.length) parts.push([]);
      parts.at(-1).push(i);
    }
    for (const part of parts) {
      ctx.beginPath();
      part.forEach((i) => ctx.lineTo(this.toX(x[i]), this.toY(high[i])));
      part.toReversed().forEach((i) => ctx.lineTo(this.toX(x[i]), this.toY(low[i])));
      ctx.fill();
    }
    ctx.globalAlpha = 1;
  }

  draw() {
    if (state.printing) {
      this.paint(this.fit(this.base, PAPER, 2), ...PAPER);
      this.stale = true;
      return;
    }
    if (!this.visible || !(this.stale || this.plot.clientWidth !== this.width)) return;
    this.stale = false;
    const ctx = this.fit(this.base);
    this.paintFrame(ctx, this.width, this.height);
    this.paintLines(this.fit(this.middle));
    this.drawCursor();
    this.plot.dataset.drawn = this.curves().length;
  }

  /** The curve that is singled out, over all others, which fade. */
  drawCursor() {
    if (!this.visible || !this.toX) return;
    const ctx = this.fit(this.top);
    const { hot, at } = this.group;
    this.paintDrag(ctx);
    const chosen = hot && this.curves().filter((curve) => same(curve.hot, hot) || (hot.run !== undefined && curve.lines?.some((line) => line.run.index === hot.run)));
    this.middle.classList.toggle('faded', Boolean(chosen?.length));
    if (at && !this.empty) {
      const px = Math.round(this.toX(at.x)) + 0.5;
      ctx.strokeStyle = css('axis');
      if (px >= this.box.l && px <= this.box.r) { ctx.beginPath(); ctx.moveTo(px, this.box.t); ctx.lineTo(px, this.box.b); ctx.stroke(); }
    }
    this.inside(ctx, () => {
      for (const curve of chosen ?? []) {
        if (curve.raw) this.faint(ctx, curve);
        this.strong(ctx, curve, 2.4);
        const own = hot.run !== undefined ? curve.lines?.find((line) => line.run.index === hot.run) : null;
        if (own) this.trace(ctx, own.soft(this.group.axis, this.group.span) ?? own.points(this.group.axis, true), curve.color, 1, 1.2, [2, 2]);
        if (at) disc(ctx, this.toX(at.x), this.toY(value(curve.strong, at.x)), 4);
      }
    });
  }

  /** [curve, pixels away] nearest to a place. */
  nearest(x, y) {
    const at = this.fromX(x);
    let found = [null, NEAR];
    for (const curve of this.curves()) {
      const away = Math.abs(this.toY(value(curve.strong, at)) - y);
      if (away < found[1]) found = [curve, away];
    }
    return found[0];
  }

  pointed(x, y) {
    const curve = this.drag ? null : this.nearest(x, y);
    const places = curve && this.places(curve);
    const at = curve ? places[nearest(places, this.fromX(x))] : this.fromX(x);
    this.group.point(curve?.hot ?? null, { chart: this, x: at, px: x, py: y, curve });
  }

  left() { this.group.point(null); }

  /** Where a curve can be read: at what was logged, or where its mean was taken. */
  places({ line, strong }) { return line ? line.points(this.group.axis).x : strong.x; }

  /** What a curve shows at one of its places: {raw, soft, step}, or {soft, low, high} of a mean. */
  reading(curve, at) {
    const { strong, line } = curve;
    const i = nearest(this.places(curve), at);
    if (!line) return { soft: strong.y[i], low: strong.low[i], high: strong.high[i] };
    const raw = line.points(this.group.axis);
    return { raw: raw.y[i], step: raw.steps[i], soft: curve.raw ? value(strong, at) : undefined };
  }

  key(event) {
    const { group } = this;
    const curves = this.curves();
    if (!curves.length) return;
    const [low, high] = group.domain();
    const x = group.at?.chart === this ? group.at.x : high;
    const current = curves.find((curve) => same(curve.hot, group.hot)) ?? curves[0];
    const size = high - low;
    const inside = (curve) => this.places(curve).filter((at) => at >= low && at <= high);
    const go = (curve, to) => {
      const places = inside(curve);
      if (!places.length) return;
      const at = places[nearest(places, to)];
      group.point(curve.hot, { chart: this, x: at, px: this.toX(at), py: this.toY(value(curve.strong, at)), curve });
      this.figure.dispatchEvent(new CustomEvent('say', { bubbles: true }));
    };
    const stride = group.names ? 1 : size / (event.shiftKey ? 10 : 100);
    const next = (way) => {
      const beyond = inside(current).filter((at) => (at - x) * way > 0);
      return beyond[nearest(beyond, x + way * stride)] ?? x;
    };
    const goals = { ArrowLeft: () => next(-1), ArrowRight: () => next(1), Home: () => low, End: () => high };
    if (goals[event.key]) go(current, goals[event.key]());
    else if (event.key === 'ArrowUp' || event.key === 'ArrowDown') {
      const order = curves.toSorted((a, b) => (value(a.strong, x) || 0) - (value(b.strong, x) || 0));
      const place = order.indexOf(current) + (event.key === 'ArrowUp' ? 1 : -1);
      go(order[Math.min(order.length - 1, Math.max(0, place))], x);
    } else if (event.key === '+' || event.key === '=') group.zoom([Math.max(low, x - size / 4), Math.min(high, x + size / 4)]);
    else if (event.key === '-') {
      const [all0, all1] = group.names ? [-0.5, group.names.length - 0.5] : group.extent();
      group.zoom(2 * size >= all1 - all0 ? null : [Math.max(all0, low - size / 2), Math.min(all1, high + size / 2)]);
    } else if (event.key === 'Escape') { group.zoom(null); group.point(null); } else return;
    event.preventDefault();
  }
}

/** A curve's value at a place; NaN before its beginning and behind its end. */
function value({ x, y }, at) {
  const n = x.length;
  const room = n > 1 ? (x[n - 1] - x[0]) * 0.01 : Infinity;
  return at < x[0] - room || at > x[n - 1] + room ? NaN : between(x, y, Math.min(x[n - 1], Math.max(x[0], at)));
}
