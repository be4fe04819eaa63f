// What the charts of many runs have in common: axis, zoom, smoothing, and the line that is singled out.

/** Charts that share axis, zoom, smoothing, colours and the line that is singled out. */
class View {
  constructor(options) {
    Object.assign(this, { charts: [], axis: 'step', span: 0, band: 'lines', view: null, hot: null, onpoint: () => {}, onzoom: () => {}, shown: () => true, nothing: 'no run is shown' }, options);
  }

  get title() { return { step: 'step', tokens: 'tokens', flops: 'FLOPs', time: 'time since the first line' }[this.axis]; }

  domain() {
    if (this.view) return this.view;
    if (this.names) return [-0.5, this.names.length - 0.5];
    this.full ??= this.extent();
    return this.full;
  }

  /** [low, high] of all runs that are shown; of all there are while none is. */
  extent() {
    const there = this.runs.filter((run) => run.has(this.axis));
    const seen = there.filter((run) => this.shown(run.index));
    const ends = (seen.length ? seen : there).map((run) => run.along(this.axis, run.ends));
    if (!ends.length) return [0, 1];
    const [low, high] = [Math.min(...ends.map(([from]) => from)), Math.max(...ends.map(([, to]) => to))];
    return high > low ? [low, high] : [low - 0.5, high + 0.5];
  }

  zoom(view) { this.view = view; this.onzoom(view); this.draw(); }

  /** Sets some of axis, span and band, or, with nothing, takes in that other runs are shown. */
  set(change = {}) {
    if (change.axis) this.view = null;
    Object.assign(this, change, { full: null });
    for (const chart of this.charts) chart.cache = null;
    this.zoom(this.view);
  }

  /** Singles out a curve everywhere: {run} or {group}, or null; `at` is {chart, x} where somebody points. */
  point(hot, at = null) {
    this.hot = hot;
    this.at = at;
    for (const chart of this.charts) chart.drawCursor();
    this.onpoint(hot, at);
  }

  draw() {
    for (const chart of this.charts) { chart.stale = true; chart.draw(); }
  }
}
