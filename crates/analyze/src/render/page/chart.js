// A plot whose horizontal axis can be zoomed by dragging, pinching, the wheel, buttons and keys. Plots over the same
// quantity share one view: zooming into a second of one shows the same second in all.
const views = new Map();
function viewOf(group, domain) {
  if (group && views.has(group)) return views.get(group);
  const view = { full: domain, lo: domain[0], hi: domain[1], charts: [] };
  if (group) views.set(group, view);
  return view;
}

const tipBox = h('div', { class: 'tip', hidden: '' });
const spoken = h('div', { class: 'unseen', 'aria-live': 'polite' });
document.body.append(tipBox, spoken);
function showTip(point, x, y) {
  tipBox.replaceChildren(h('b', {}, point.title), ...point.lines.map((line) => {
    const [name, text] = Array.isArray(line) ? line : [null, line];
    const mark = name ? h('i', {}) : null;
    if (mark) mark.style.background = color(name);
    return h('span', {}, mark, text);
  }));
  tipBox.hidden = false;
  const { width, height } = tipBox.getBoundingClientRect();
  const room = document.documentElement.clientWidth;
  const left = x + 14 + width < room ? x + 14 : Math.max(4, x - width - 14);
  const top = y - height - 12 > 0 ? y - height - 12 : y + 18;
  tipBox.style.left = `${Math.min(left, Math.max(4, room - width - 4))}px`;
  tipBox.style.top = `${top}px`;
}
function hideTip() { tipBox.hidden = true; }

let clips = 0;
class Chart {
  /// `spec`: label, domain, group, least (smallest part of the domain to zoom to), paint(frame), ticks(frame), points,
  /// pick(frame, x, y), point(index, frame), stride (points from one row to the next).
  constructor(target, spec, buttons) {
    this.target = target;
    this.buttons = buttons;
    this.clip = `clip${clips += 1}`;
    this.at = null;
    this.pointers = new Map();
    this.svg = s('svg', { class: 'plot', tabindex: 0, role: 'img', 'aria-roledescription': 'zoomable plot' });
    target.append(this.svg);
    this.listen();
    this.use(spec);
  }

  use(spec) {
    if (this.view) this.view.charts = this.view.charts.filter((chart) => chart !== this);
    this.spec = spec;
    this.view = viewOf(spec.group, spec.domain);
    this.view.charts.push(this);
    this.svg.setAttribute('aria-label', `${spec.label}. Plus and minus zoom, arrow keys read values, 0 shows everything.`);
  }

  draw() {
    const { svg, spec, view } = this;
    const width = Math.max(this.target.clientWidth, 220);
    const frame = { width, lo: view.lo, hi: view.hi, texts: s('g', {}), grid: s('g', {}), body: s('g', { 'clip-path': `url(#${this.clip})` }) };
    frame.place = (left, right, top, bottom, height) => {
      Object.assign(frame, { left, right: width - right, top, bottom: height - bottom, height });
      frame.x = (value) => frame.left + (frame.right - frame.left) * (value - frame.lo) / (frame.hi - frame.lo || 1);
      frame.value = (x) => frame.lo + (frame.hi - frame.lo) * (x - frame.left) / (frame.right - frame.left || 1);
    };
    spec.paint(frame);
    this.frame = frame;
    this.axis(frame);
    svg.setAttribute('viewBox', `0 0 ${width} ${frame.height}`);
    svg.setAttribute('height', frame.height);
    const area = { x: frame.left, y: frame.top, width: Math.max(frame.right - frame.left, 1), height: Math.max(frame.bottom - frame.top, 1) };
    this.over = s('g', { class: 'over' });
    this.chosen = s('rect', { class: 'chosen', y: area.y, height: area.height, width: 0, visibility: 'hidden' });
    svg.replaceChildren(s('defs', {}, s('clipPath', { id: this.clip }, s('rect', area))), frame.grid, frame.body, frame.texts,
      this.over, this.chosen, s('rect', { ...area, fill: 'transparent' }));
    const zoomed = view.lo > view.full[0] || view.hi < view.full[1];
    svg.classList.toggle('zoomed', zoomed);
    this.buttons.forEach(([button, needs]) => { button.disabled = needs && !zoomed; });
  }

  axis(frame) {
    let last = -Infinity;
    for (const [value, label] of this.spec.ticks(frame)) {
      const x = frame.x(value), wide = label.length * 6.3;
      if (x < frame.left - 0.5 || x > frame.right + 0.5) continue;
      const from = Math.min(Math.max(x - wide / 2, 0), frame.width - wide);
      if (from < last + 8) continue;
      last = from + wide;
      frame.grid.append(s('line', { class: 'axis', x1: x, x2: x, y1: frame.bottom, y2: frame.bottom + 4 }));
      frame.texts.append(s('text', { x: from + wide / 2, y: frame.bottom + 17, 'text-anchor': 'middle' }, label));
    }
  }

  zoom(lo, hi) {
    const { view } = this, [first, last] = view.full;
    const least = (last - first) * (this.spec.least || 0.005);
    const span = Math.min(Math.max(hi - lo, least), last - first);
    view.lo = Math.min(Math.max((lo + hi - span) / 2, first), last - span);
    view.hi = view.lo + span;
    hideTip();
    view.charts.forEach((chart) => chart.later());
  }
  zoomAt(value, factor) {
    const { lo, hi } = this.view;
    this.zoom(value - (value - lo) * factor, value + (hi - value) * factor);
  }
  zoomBy(factor) { this.zoomAt((this.view.lo + this.view.hi) / 2, factor); }
  shift(by) { const { lo, hi, full } = this.view; const d = Math.min(Math.max(by, full[0] - lo), full[1] - hi); this.zoom(lo + d, hi + d); }
  reset() { this.zoom(...this.view.full); }
  later() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => { this.pending = 0; this.draw(); });
  }

  /// Shows a line at the value, here and in the plots that share the view.
  cross(value) {
    for (const chart of this.view.charts) {
      if (!chart.over) continue;
      const x = value === null || value === undefined ? -1 : chart.frame.x(value);
      const inside = x >= chart.frame.left && x <= chart.frame.right;
      chart.over.replaceChildren(...(inside ? [s('line', { x1: x, x2: x, y1: chart.frame.top, y2: chart.frame.bottom })] : []));
    }
  }
  read(index, aloud) {
    const point = index === null ? null : this.spec.point(index, this.frame);
    this.at = point ? index : null;
    if (!point) { this.leave(); return; }
    this.cross(point.x);
    if (point.mark) this.over.append(point.mark);
    const place = this.svg.getBoundingClientRect();
    const x = point.px === undefined ? this.frame.x(point.x) : point.px;
    showTip(point, place.left + Math.min(Math.max(x, 0), this.frame.width), place.top + (point.y === undefined ? this.frame.top + 20 : point.y));
    if (aloud) spoken.textContent = [point.title, ...point.lines.map((line) => (Array.isArray(line) ? line[1] : line))].join(', ');
  }
  leave() { this.at = null; this.cross(null); hideTip(); }

  listen() {
    const { svg } = this;
    const spot = (event) => { const at = svg.getBoundingClientRect(); return [event.clientX - at.left, event.clientY - at.top]; };
    const hover = (event) => { const [x, y] = spot(event); this.read(x < this.frame.left - 4 || x > this.frame.right + 4 ? null : this.spec.pick(this.frame, x, y)); };
    svg.addEventListener('pointerdown', (event) => {
      if (event.button !== 0) return;
      const [x] = spot(event);
      this.pointers.set(event.pointerId, x);
      svg.setPointerCapture(event.pointerId);
      this.drag = { from: x, lo: this.view.lo, hi: this.view.hi, touch: event.pointerType === 'touch', moved: false };
      if (this.pointers.size === 2) { const [a, b] = [...this.pointers.values()]; this.pinch = { a: this.frame.value(a), b: this.frame.value(b) }; }
    });
    svg.addEventListener('pointermove', (event) => {
      const [x] = spot(event);
      if (!this.pointers.has(event.pointerId)) { hover(event); return; }
      this.pointers.set(event.pointerId, x);
      if (this.pinch && this.pointers.size === 2) this.spread();
      else if (!this.pinch && this.drag && Math.abs(x - this.drag.from) > 5) { this.drag.moved = true; this.pull(x); }
    });
    const up = (event) => {
      const mine = this.pointers.delete(event.pointerId), { drag } = this;
      if (this.pointers.size > 0) return;
      const pinched = this.pinch;
      this.drag = null;
      this.pinch = null;
      if (!mine || !drag || pinched || event.type !== 'pointerup') { this.chosen.setAttribute('visibility', 'hidden'); return; }
      const [x] = spot(event);
      if (!drag.moved) hover(event);
      else if (!drag.touch) { this.chosen.setAttribute('visibility', 'hidden'); this.zoom(...[drag.from, x].map((px) => this.frame.value(px)).sort((one, other) => one - other)); }
    };
    svg.addEventListener('pointerup', up);
    svg.addEventListener('pointercancel', up);
    svg.addEventListener('pointerleave', (event) => { if (event.pointerType !== 'touch') this.leave(); });
    svg.addEventListener('dblclick', () => this.reset());
    svg.addEventListener('blur', () => this.leave());
    // The wheel scrolls the page unless a modifier key is held or the plot has the focus.
    svg.addEventListener('wheel', (event) => {
      if (!(event.ctrlKey || event.metaKey || document.activeElement === svg)) return;
      event.preventDefault();
      this.zoomAt(this.frame.value(spot(event)[0]), event.deltaY < 0 ? 0.8 : 1.25);
    }, { passive: false });
    svg.addEventListener('keydown', (event) => this.key(event));
  }
  /// A mouse selects a range; a finger moves the zoomed part.
  pull(x) {
    const { drag, frame } = this;
    if (drag.touch) {
      const by = (drag.from - x) / (frame.right - frame.left) * (drag.hi - drag.lo);
      this.shift(drag.lo + by - this.view.lo);
      return;
    }
    const [from, to] = [drag.from, x].map((px) => Math.min(Math.max(px, frame.left), frame.right)).sort((one, other) => one - other);
    hideTip();
    fill(this.chosen, { x: from, width: to - from, visibility: 'visible' }, []);
  }
  /// Pinching keeps the values under the two fingers.
  spread() {
    const [one, other] = [...this.pointers.values()], { a, b } = this.pinch, { left, right } = this.frame;
    if (Math.abs(one - other) < 8) return;
    const perPixel = (b - a) / (other - one);
    if (perPixel > 0) this.zoom(a - (one - left) * perPixel, a + (right - one) * perPixel);
  }
  key(event) {
    const { spec, view } = this, step = spec.stride || 1;
    const move = (by) => {
      const next = this.at === null ? this.first() : this.at + by;
      if (next >= 0 && next < spec.points) this.read(next, true);
    };
    const span = view.hi - view.lo;
    const keys = {
      '+': () => this.zoomBy(0.5), '=': () => this.zoomBy(0.5), '-': () => this.zoomBy(2), 0: () => this.reset(), Escape: () => this.reset(),
      ArrowRight: () => (event.shiftKey ? this.shift(span / 4) : move(1)), ArrowLeft: () => (event.shiftKey ? this.shift(-span / 4) : move(-1)),
      ArrowDown: () => move(step), ArrowUp: () => move(-step), Home: () => this.read(0, true), End: () => this.read(spec.points - 1, true),
    };
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  }
  /// Returns the first visible point.
  first() {
    for (let index = 0; index < this.spec.points; index += 1) {
      const point = this.spec.point(index, this.frame);
      if (point && (point.x === undefined || point.x >= this.view.lo)) return index;
    }
    return 0;
  }
}
