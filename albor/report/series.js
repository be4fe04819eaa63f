// Columns of numbers: decoding, looking up, smoothing, thinning, writing down. No DOM.

const AXES = ['step', 'tokens', 'time'];

/** A packed column (see metrics.py: pack) as a typed array of n numbers. */
function decode(packed, n) {
  if ('by' in packed) return Float64Array.from({ length: n }, (_, i) => packed.from + i * packed.by);
  const text = atob(packed.f ?? packed.d ?? packed.h);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  if (packed.h !== undefined) return sums(packed.from, new Uint16Array(bytes.buffer));
  return packed.f !== undefined ? new Float32Array(bytes.buffer) : new Float64Array(bytes.buffer);
}

/** A start and the differences from there as the values themselves. */
function sums(from, strides) {
  const values = new Float64Array(strides.length + 1).fill(from);
  strides.forEach((stride, i) => { values[i + 1] = values[i] + stride; });
  return values;
}

/** A packed track with its columns decoded and its axes made searchable; time counts from the run's first row. */
function openTrack(packed, start, steps) {
  const track = { n: packed.n, columns: Object.create(null), bad: Object.assign(Object.create(null), packed.bad), axes: {}, known: {} };
  for (const [key, column] of Object.entries(packed.columns)) track.columns[key] = decode(column, packed.n);
  for (const axis of AXES) {
    const raw = decode(packed.axes[axis], packed.n);
    track.known[axis] = raw.some(Number.isFinite);
    if (!track.known[axis] && steps) borrow(raw, axis, track, steps);
    else if (axis === 'time') for (let i = 0; i < raw.length; i++) raw[i] -= start;
    track.axes[axis] = raw;
  }
  track.x = Object.fromEntries(AXES.map((axis) => [axis, ascending(track.axes[axis])]));
  return track;
}

/** Validation rows carry no time: each takes that of the last training row at or before its step. */
function borrow(raw, axis, track, steps) {
  if (!steps.known[axis]) return;
  for (let i = 0; i < raw.length; i++) {
    raw[i] = steps.axes[axis][Math.max(0, bound(steps.x.step, track.axes.step[i] + 0.5) - 1)];
  }
  track.known[axis] = true;
}

/** Never falling: a step logged again after a resume may carry an odd clock, and gaps take the value before them. */
function ascending(values) {
  let top = values.find(Number.isFinite) ?? 0;
  return Float64Array.from(values, (value) => (value > top ? (top = value) : top));
}

/** The first index whose value is not below x. */
function bound(values, x) {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < x) low = middle + 1; else high = middle;
  }
  return low;
}

/** The index whose value is nearest to x, -1 if there is none. */
function nearest(values, x) {
  const i = bound(values, x);
  if (i > 0 && (i === values.length || x - values[i - 1] <= values[i] - x)) return i - 1;
  return i < values.length ? i : -1;
}

/**
 * Mean with exponentially falling weights over about `span` rows, half of them before and half behind: unlike a one-sided
 * average it does not lag where the curve is steep. Gaps stay gaps.
 */
function smooth(values, span) {
  const n = values.length;
  const keep = 1 - 2 / (span / 2 + 1);
  const sums = new Float64Array(n);
  const weights = new Float64Array(n);
  const pass = (from, to, stride, own) => {
    let sum = 0;
    let weight = 0;
    for (let i = from; i !== to; i += stride) {
      const finite = Number.isFinite(values[i]);
      const [before, weightBefore] = [sum * keep, weight * keep];
      sum = before + (finite ? values[i] : 0);
      weight = weightBefore + (finite ? 1 : 0);
      sums[i] += own ? sum : before;
      weights[i] += own ? weight : weightBefore;
    }
  };
  pass(0, n, 1, true);
  pass(n - 1, -1, -1, false);
  return Float32Array.from(values, (value, i) => (Number.isFinite(value) ? sums[i] / weights[i] : NaN));
}

/**
 * The points to draw for rows from..to: all of them, or where there are more than two to a pixel the first, lowest,
 * highest and last of every pixel column, so that no spike is lost. Returns flat [x, y, x, y, …]; NaN is a gap.
 */
function thin(x, y, from, to, toX, toY, width) {
  const points = [];
  if (to - from <= 2 * width) {
    for (let i = from; i < to; i++) points.push(toX(x[i]), toY(y[i]));
    return points;
  }
  let i = from;
  while (i < to) {
    const column = Math.round(toX(x[i]));
    let low = -1;
    let high = -1;
    let last = -1;
    const first = i;
    for (; i < to && Math.round(toX(x[i])) === column; i++) {
      if (!Number.isFinite(y[i])) continue;
      last = i;
      if (low < 0 || y[i] < y[low]) low = i;
      if (high < 0 || y[i] > y[high]) high = i;
    }
    if (last < 0) { points.push(column, NaN); continue; }
    const chosen = [Number.isFinite(y[first]) ? first : low, Math.min(low, high), Math.max(low, high), last];
    chosen.forEach((k, j) => { if (k !== chosen[j - 1]) points.push(toX(x[k]), toY(y[k])); });
  }
  return points;
}

/** Round tick values inside low..high, about `count` of them; on a log axis 1-2-5 or powers of ten if they fit, and of counts (whole) no fractions. */
function ticks(low, high, count, log, whole = false) {
  if (log && high / low > 8) {
    const all = [];
    const sparse = Math.log10(high / low) > count / 2;
    for (let p = Math.floor(Math.log10(low)); p <= Math.log10(high); p++) {
      for (const m of sparse ? [1] : [1, 2, 5]) all.push(m * 10 ** p);
    }
    const inside = all.filter((value) => value >= low * 0.9999 && value <= high * 1.0001);
    const stride = Math.ceil(inside.length / (count * 1.5));
    return inside.filter((_, i) => i % stride === 0);
  }
  const rough = Math.max((high - low) / count, whole ? 1 : 0);
  const power = 10 ** Math.floor(Math.log10(rough));
  const unit = [1, 2, 2.5, 5, 10].find((u) => u * power >= rough * 0.999) * power;
  const values = [];
  for (let k = Math.ceil(low / unit - 1e-9); k * unit <= high + unit * 1e-9; k++) values.push(k * unit);
  return values;
}

/** A number in a few characters: 12.3k, 4.2M, 0.00031 as 3.1e-4. */
function brief(value, digits = 4) {
  if (!Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  if (size >= 1e15) return value.toExponential(Math.max(0, digits - 2)).replace(/\.?0+e\+?/, 'e').replace('e+', 'e');
  for (const [unit, letter] of [[1e12, 'T'], [1e9, 'B'], [1e6, 'M'], [1e3, 'k']]) {
    if (size >= Math.max(unit, 1e4)) return `${+(value / unit).toPrecision(digits)}${letter}`;
  }
  if (size !== 0 && size < 1e-3) return value.toExponential(Math.max(0, digits - 2)).replace(/\.?0+e/, 'e');
  return size >= 1000 ? Math.round(value).toLocaleString('en') : String(+value.toPrecision(digits));
}

/** The labels of an axis, all in the unit of its largest; of a logarithmic one each in its own. */
function labels(values, log = false) {
  if (log) return values.map((value) => brief(value));
  const size = Math.max(...values.map(Math.abs));
  if (size >= 1e15) return values.map((value) => (value === 0 ? '0' : brief(value)));
  const [unit, letter] = [[1e12, 'T'], [1e9, 'B'], [1e6, 'M'], [1e3, 'k']].find(([u]) => size >= Math.max(u, 1e4)) ?? [1, ''];
  return values.map((value) => (value === 0 ? '0' : letter ? `${+(value / unit).toPrecision(4)}${letter}` : brief(value)));
}

/** Seconds as 1:02:03. */
function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const two = (n) => String(n).padStart(2, '0');
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return `${h}:${two(m)}:${two(s)}`;
}
