// Runs that are compared: columns opened when first looked at, lines on any axis, bands over seeds. No DOM.

/** Columns of a pool by their place, each decoded once. */
function opener(pool) {
  const opened = [];
  return (place) => (opened[place] ??= decode(pool[place], pool[place].n));
}

class Run {
  constructor(packed, index, column) {
    Object.assign(this, packed, { index, column });
  }

  has(axis) {
    if (axis === 'step') return true;
    return axis === 'flops' ? this.has('tokens') && this.flops !== null : this.knots[axis] !== undefined;
  }

  /** Where steps lie on an axis; between two places that were logged it grows evenly. */
  along(axis, steps) {
    if (axis === 'step') return steps;
    if (axis === 'flops') return this.along('tokens', steps).map((tokens) => tokens * this.flops);
    const [x, y] = [this.column(this.knots[`${axis}_steps`]), this.column(this.knots[axis])];
    return Float64Array.from(steps, (step) => between(x, y, step));
  }
}

/** y at a place between the points (x, y); beyond their ends the line goes on as it did. */
function between(x, y, at) {
  const i = Math.min(Math.max(bound(x, at), 1), x.length - 1);
  if (x.length < 2) return y[0];
  const share = x[i] > x[i - 1] ? (at - x[i - 1]) / (x[i] - x[i - 1]) : 1;
  return y[i - 1] + share * (y[i] - y[i - 1]);
}

/** One series of one run. */
class Line {
  constructor(run, key, packed) {
    Object.assign(this, { run, key, packed, kept: {}, bad: packed.bad ?? [], exact: key === 'lr' });
  }

  has(axis) { return this.run.has(axis); }

  remember(name, make) { return (this.kept[name] ??= make()); }

  /** {x, y, steps}: the points as they were logged, or the means of buckets of them where there are such. */
  points(axis, means = false) {
    const { run, packed } = this;
    const [s, y] = means && packed.m !== undefined ? [packed.c, packed.m] : [packed.s, packed.y];
    return this.remember(`${axis} ${s}`, () => ({ steps: run.column(s), x: run.along(axis, run.column(s)), y: run.column(y) }));
  }

  /** The smoothed line over about `span` steps; null where nothing would change. */
  soft(axis, span) {
    const base = this.points(axis, true);
    const n = base.y.length;
    if (span === 0 || this.exact || n < 3) return null;
    const rows = span / ((base.steps[n - 1] - base.steps[0]) / (n - 1));
    if (rows < 2) return this.packed.m === undefined ? null : base;
    return this.remember(`${axis} over ${span}`, () => ({ ...base, y: smooth(base.y, rows) }));
  }
}

/** A rung's place is its number on the axis. */
class RungLine {
  constructor(name, index, points) {
    const [x, y] = [0, 1].map((i) => Float64Array.from(points, (point) => point[i]));
    Object.assign(this, { run: { index, name, has: () => true }, key: name, bad: [], dots: true, drawn: { x, y, steps: x } });
    this.whiskers = points.filter((point) => point.length === 4).map(([at, , low, high]) => [at, low, high]);
  }

  has() { return true; }

  points() { return this.drawn; }

  soft() { return null; }
}

const GRID = 400;

/**
 * Mean, and low and high of the band, over several curves: the least and the greatest, or one standard deviation to both
 * sides. It is where all of them are: a mean of fewer would jump where one ends. Of one alone there is no band.
 */
function band(curves, kind) {
  const [from, to] = [Math.max(...curves.map(({ x }) => x[0])), Math.min(...curves.map(({ x }) => x[x.length - 1]))];
  const longest = curves.reduce((a, b) => (b.x.length > a.x.length ? b : a));
  const inside = longest.x.filter((x) => x > from && x < to);
  const stride = Math.max(1, Math.ceil(inside.length / GRID));
  const places = from > to ? [] : new Set([from, ...inside.filter((_, i) => i % stride === 0), to]);
  const made = { x: Float64Array.from(places), y: [], low: [], high: [] };
  for (const x of made.x) {
    const values = curves.map((curve) => between(curve.x, curve.y, x));
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const spread = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
    made.y.push(mean);
    made.low.push(values.length < 2 ? NaN : kind === 'sd' ? mean - spread : Math.min(...values));
    made.high.push(values.length < 2 ? NaN : kind === 'sd' ? mean + spread : Math.max(...values));
  }
  return made;
}
