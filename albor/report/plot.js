// What every chart is made of: two canvases (lines; crosshair), axes, dragging. The chart's group has its axis and zoom.

const MARGIN = { left: 50, right: 12, top: 8, bottom: 22 };
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';

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
document.addEventListener('theme', () => colors.clear());

function save(name, blob) {
  const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** A cell of a CSV file. */
const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

/** A name that is a file's on every system. */
const fileName = (text) => text.replace(/[^\w.-]+/g, '_');

/** Charts of one axis, which zoom together. A subclass has `domain()`, `zoom(view)` and `draw()`. */
class Plot {
  constructor(figure, group, margin = MARGIN) {
    Object.assign(this, { figure, group, margin, title: figure.dataset.title, logY: figure.querySelector('[data-do=log][aria-pressed=true]') !== null, drag: null });
    this.plot = figure.querySelector('.plot');
    [this.base, this.top] = [0, 1].map(() => this.plot.appendChild(document.createElement('canvas')));
    this.top.tabIndex = 0;
    this.top.setAttribute('role', 'img');
    this.top.setAttribute('aria-label', `${this.title} chart. ${figure.querySelector('figcaption').textContent}`);
    group.charts.push(this);
    new ResizeObserver(() => { if (this.plot.clientWidth !== this.width) this.draw(); }).observe(this.plot);
    this.listen();
  }

  /** Where values lie on a canvas of the given size. */
  place(width, height, domain, range, log) {
    const { margin } = this;
    const box = { l: margin.left, r: width - margin.right, t: margin.top, b: height - margin.bottom };
    const f = log ? Math.log : (v) => v;
    const [f0, f1] = range.map(f);
    const toX = (x) => box.l + ((x - domain[0]) / (domain[1] - domain[0])) * (box.r - box.l);
    const toY = (y) => (log && y <= 0 ? NaN : box.b - ((f(y) - f0) / (f1 - f0)) * (box.b - box.t));
    Object.assign(this, { toX, toY, box, fromX: (p) => domain[0] + ((p - box.l) / (box.r - box.l)) * (domain[1] - domain[0]) });
  }

  /** Draws what `paint` does inside the axes only: the whole of a dot at either end, but nothing of what a zoom leaves out. */
  inside(ctx, paint) {
    const { l, r, t, b } = this.box;
    const room = this.group.view ? 0 : 4;
    ctx.save();
    ctx.beginPath();
    ctx.rect(l - room, t, r - l + 2 * room, b - t + 1);
    ctx.clip();
    paint();
    ctx.restore();
  }

  paintAxes(ctx, domain, range, log) {
    const { l, r, t, b } = this.box;
    ctx.lineWidth = 1;
    ctx.strokeStyle = css('grid');
    const rows = ticks(...range, Math.max(3, (b - t) / 50), log);
    const names = labels(rows, log);
    rows.forEach((y, i) => {
      const py = Math.round(this.toY(y)) + 0.5;
      ctx.beginPath(); ctx.moveTo(l, py); ctx.lineTo(r, py); ctx.stroke();
      this.write(ctx, names[i], l - 7, py, 'right', 'faint');
    });
    if (this.group.names) this.paintNames(ctx, domain);
    else this.paintTicks(ctx, domain);
    ctx.strokeStyle = css('axis');
    ctx.beginPath(); ctx.moveTo(l, b + 0.5); ctx.lineTo(r, b + 0.5); ctx.stroke();
  }

  paintTicks(ctx, domain) {
    const { l, r, b } = this.box;
    const time = this.group.axis === 'time';
    const size = time ? (domain[1] - domain[0] > 2 * 86400 ? 86400 : domain[1] - domain[0] > 7200 ? 3600 : domain[1] - domain[0] > 180 ? 60 : 1) : 1;
    const unit = { 1: time ? ' s' : '', 60: ' min', 3600: ' h', 86400: ' d' }[size];
    const marks = ticks(domain[0] / size, domain[1] / size, Math.max(2, (r - l) / 90), false, !time);
    labels(marks).forEach((name, i) => {
      const px = this.toX(marks[i] * size);
      this.write(ctx, name + unit, Math.min(px, r + 10), b + 13, px > r - 16 ? 'right' : 'center', 'faint');
    });
    if (this.group.title) this.write(ctx, this.group.title, r, b + 29, 'right', 'faint');
  }

  /** An axis of words: one at each whole number. */
  paintNames(ctx, domain) {
    const { l, r, b } = this.box;
    const wide = (r - l) / (domain[1] - domain[0]);
    this.group.names.forEach((name, i) => {
      if (i < domain[0] || i > domain[1]) return;
      ctx.font = `11px ${FONT}`;
      let text = name;
      while (text.length > 3 && ctx.measureText(text).width > wide - 4) text = `${text.slice(0, -2)}…`;
      this.write(ctx, text, this.toX(i), b + 13, 'center', 'faint');
    });
  }

  write(ctx, text, x, y, align, color, font = '11px') {
    Object.assign(ctx, { fillStyle: css(color), font: `${font} ${FONT}`, textAlign: align, textBaseline: 'middle' });
    ctx.fillText(text, x, y);
  }

  fit(canvas, [width, height] = [this.plot.clientWidth, this.plot.clientHeight], scale = window.devicePixelRatio || 1) {
    Object.assign(this, { width, height });
    if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
    if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
    const ctx = canvas.getContext('2d');
    ctx.setTransform(scale, 0, 0, scale, 0, 0);
    ctx.clearRect(0, 0, width, height);
    return ctx;
  }

  /** The part that is being dragged over. */
  paintDrag(ctx) {
    if (!this.drag) return;
    ctx.fillStyle = css('select');
    ctx.fillRect(this.drag[0], this.box.t, this.drag[1] - this.drag[0], this.box.b - this.box.t);
  }

  /** Dragging zooms, a double click shows everything; a subclass has `pointed(x, y)` (pixels) and `left()`. */
  listen() {
    const { group, top } = this;
    const place = (event) => {
      const at = top.getBoundingClientRect();
      return [Math.min(this.box.r, Math.max(this.box.l, event.clientX - at.left)), event.clientY - at.top];
    };
    let from = null;
    top.addEventListener('pointerdown', (event) => {
      if (event.button === 0 && event.pointerType === 'mouse') { [from] = place(event); top.setPointerCapture(event.pointerId); }
    });
    top.addEventListener('pointermove', (event) => {
      const [to, y] = place(event);
      this.drag = from !== null && Math.abs(to - from) > 4 ? [from, to].sort((a, b) => a - b) : null;
      this.pointed(to, y);
    });
    top.addEventListener('pointerup', (event) => {
      const drag = this.drag;
      from = this.drag = null;
      if (drag) group.zoom(drag.map(this.fromX)); else this.pointed(...place(event));
    });
    top.addEventListener('pointercancel', () => { from = this.drag = null; });
    top.addEventListener('pointerleave', () => this.left());
    top.addEventListener('blur', () => this.left());
    top.addEventListener('dblclick', () => group.zoom(null));
    top.addEventListener('keydown', (event) => this.key(event));
  }
}

/** The size of a canvas of a PNG, twice that of the screen, with a title; `legend(ctx, width)` draws below it and says how high it is. */
function picture(chart, name, corner, legend) {
  const width = Math.max(chart.width, 640);
  const canvas = document.createElement('canvas');
  canvas.width = 2 * width;
  const head = 34 + legend(canvas.getContext('2d'), width, true);
  canvas.height = 2 * (chart.height + head);
  const ctx = canvas.getContext('2d');
  ctx.scale(2, 2);
  ctx.fillStyle = css('paper');
  ctx.fillRect(0, 0, width, chart.height + head);
  chart.write(ctx, chart.title, 14, 18, 'left', 'ink', '600 14px');
  chart.write(ctx, corner, width - 12, 18, 'right', 'faint');
  legend(ctx, width, false);
  ctx.translate(0, head);
  chart.paint(ctx, width, chart.height);
  chart.stale = true;
  chart.draw();
  canvas.toBlob((blob) => save(`${name}.png`, blob));
}

function disc(ctx, x, y, radius) { ctx.beginPath(); ctx.arc(x, y, radius, 0, 7); ctx.fill(); }

/** A small triangle on the x axis: a value that was not finite. */
function cross(ctx, x, y) { ctx.beginPath(); ctx.moveTo(x, y - 4); ctx.lineTo(x - 4, y + 4); ctx.lineTo(x + 4, y + 4); ctx.fill(); }
