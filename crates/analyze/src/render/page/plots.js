// The kinds of plots: lines over time, bars of a histogram, percentile curves, rows, and a map of ranks and time.
const HEIGHT = 200;
const textWidth = (labels) => Math.max(0, ...labels.map((label) => label.length)) * 6.4;

function niceStep(span, wanted) {
  if (!(span > 0)) return 1;
  const raw = span / Math.max(wanted, 1), magnitude = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map((m) => m * magnitude).find((step) => step >= raw * 0.999);
}
function ticksOf(lo, hi, step) {
  const ticks = [];
  for (let at = Math.ceil(lo / step - 1e-9); at * step <= hi + step * 1e-6; at += 1) ticks.push(at * step);
  return ticks;
}
// Ticks of byte axes are powers of two, for round labels.
function valueTicks(most, binary) {
  const wanted = 4;
  if (!binary) return ticksOf(0, most, niceStep(most, wanted));
  let step = 1;
  while (most / step > wanted + 1) step *= 2;
  return ticksOf(0, most, step);
}
function levels(frame, ticks, place, label) {
  for (const tick of ticks) {
    const y = place(tick);
    frame.grid.append(s('line', { class: 'axis', x1: frame.left, x2: frame.right, y1: y, y2: y }));
    frame.texts.append(s('text', { x: frame.left - 6, y: y + 4, 'text-anchor': 'end' }, label(tick)));
  }
}
function timeLabel(step) {
  if (step >= 3600) return (x) => `${+(x / 3600).toFixed(2)} h`;
  if (step >= 60) return (x) => `${+(x / 60).toFixed(1)} min`;
  const digits = Math.max(0, Math.min(9, -Math.floor(Math.log10(step))));
  if (step >= 0.1) return (x) => `${+x.toFixed(digits)} s`;
  return step >= 1e-4 ? (x) => `${+(x * 1e3).toFixed(Math.max(0, digits - 3))} ms` : (x) => `${+(x * 1e6).toFixed(Math.max(0, digits - 6))} µs`;
}
function timeTicks(frame) {
  let step = niceStep(frame.hi - frame.lo, Math.max(3, (frame.right - frame.left) / 90));
  if (step >= 20) step = [30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400].find((nice) => nice >= step) || step;
  const label = timeLabel(step);
  return ticksOf(frame.lo, frame.hi, step).map((value) => [value, label(value)]);
}
const plainTicks = (label) => (frame) => ticksOf(frame.lo, frame.hi, niceStep(frame.hi - frame.lo, Math.max(3, (frame.right - frame.left) / 80))).map((value) => [value, label(value)]);

// Values of equal slices: `lines` have values (null where nothing was measured), color, label, format.
function overSlices(options) {
  const { label, lines, slice, group, most, binary, tick, mark, shade, ticks = timeTicks, title = (at) => `${seconds(at * slice, short)} – ${seconds((at + 1) * slice, short)}` } = options;
  const points = Math.max(...lines.map((line) => line.values.length));
  // Text for screen readers.
  const told = lines.map((line) => {
    const values = line.values.filter((value) => value !== null);
    return values.length ? `${line.label}: mean ${line.format(values.reduce((sum, value) => sum + value, 0) / values.length)}, highest ${line.format(Math.max(...values))}` : `${line.label}: nothing measured`;
  });
  const shown = (frame) => [Math.max(0, Math.floor(frame.lo / slice)), Math.min(points, Math.ceil(frame.hi / slice))];
  return {
    label: `${label}. ${told.join('; ')}`, group, points, ticks, domain: [0, points * slice], least: Math.max(4 / points, 0.001),
    paint(frame) {
      const [from, to] = shown(frame);
      const seen = lines.flatMap((line) => line.values.slice(from, to).filter((value) => value !== null));
      const top = most || Math.max(...seen, mark || 0, 0) * 1.05 || 1;
      const steps = valueTicks(top, binary);
      frame.place(textWidth(steps.map(tick)) + 12, 10, 8, 24, HEIGHT);
      const y = (value) => frame.bottom - (frame.bottom - frame.top) * Math.min(value / top, 1);
      levels(frame, steps, y, tick);
      if (shade > 0) frame.body.append(s('rect', { class: 'shade', x: frame.x(0), width: Math.max(frame.x(shade) - frame.x(0), 0), y: frame.top, height: frame.bottom - frame.top }));
      for (const line of lines) {
        let path = '', area = '', open = false;
        line.values.slice(from, to).forEach((value, at) => {
          if (value === null) { if (open) area += `V${frame.bottom}Z`; open = false; return; }
          const x = frame.x((from + at) * slice).toFixed(1), end = frame.x((from + at + 1) * slice).toFixed(1), height = y(value).toFixed(1);
          path += `${open ? 'L' : 'M'}${x} ${height}H${end}`;
          area += `${open ? 'L' : `M${x} ${frame.bottom}L`}${x} ${height}H${end}`;
          open = true;
        });
        if (open) area += `V${frame.bottom}Z`;
        frame.body.append(s('path', { d: area, fill: color(line.color), 'fill-opacity': line.bare ? 0 : 0.15 }),
          s('path', { d: path, class: 'line', stroke: color(line.color) }));
      }
      if (mark) frame.body.append(s('line', { class: 'mark', x1: frame.left, x2: frame.right, y1: y(mark), y2: y(mark) }));
    },
    pick: (frame, x) => Math.min(Math.max(Math.floor(frame.value(x) / slice), 0), points - 1),
    point(at) {
      const rows = lines.filter((line) => line.values[at] !== null && line.values[at] !== undefined);
      return { x: (at + 0.5) * slice, title: title(at), lines: rows.length ? rows.map((line) => [line.color, `${line.label} ${line.format(line.values[at])}`]) : ['nothing measured'] };
    },
  };
}

// Operations by duration, in buckets whose bounds grow by a constant factor.
function histogram({ label, distribution: { bounds_ns: bounds, counts }, name, logarithmic }) {
  const total = counts.reduce((sum, value) => sum + value, 0);
  const range = (at) => (at ? `${nanos(bounds[at - 1])} – ${nanos(bounds[at])}` : `up to ${nanos(bounds[0])}`);
  return {
    label, points: counts.length, domain: [0, counts.length], least: Math.min(1, 4 / counts.length),
    ticks: (frame) => bounds.map((bound, at) => [at + 1, nanos(bound, short)]).filter(([at]) => at >= frame.lo),
    paint(frame) {
      const seen = counts.slice(Math.floor(frame.lo), Math.ceil(frame.hi)), most = Math.max(...seen, 1);
      const steps = logarithmic ? powers(1, most).filter((value) => value <= most) : valueTicks(most, false).filter((value) => value === Math.round(value));
      frame.place(textWidth(steps.map(many)) + 12, 12, 8, 24, HEIGHT);
      const part = (value) => (logarithmic ? (value ? (Math.log10(value) + 0.15) / (Math.log10(most) + 0.15 || 1) : 0) : value / most);
      const y = (value) => frame.bottom - (frame.bottom - frame.top) * part(value);
      levels(frame, steps, y, many);
      counts.forEach((value, at) => {
        const x = frame.x(at), wide = frame.x(at + 1) - x;
        if (value) frame.body.append(s('rect', { x: x + Math.min(wide * 0.05, 1), width: Math.max(wide * 0.9, wide - 2, 0.5), y: Math.min(y(value), frame.bottom - 1), height: Math.max(frame.bottom - y(value), 1), fill: color(name), rx: Math.min(wide / 6, 2) }));
      });
    },
    pick: (frame, x) => Math.min(Math.max(Math.floor(frame.value(x)), 0), counts.length - 1),
    point(at) {
      const below = counts.slice(0, at + 1).reduce((sum, value) => sum + value, 0);
      return { x: at + 0.5, title: range(at), lines: [[name, `${plural(counts[at], 'operation')}, ${percent(100 * counts[at] / total)}`], `${percent(100 * below / total)} took no longer`] };
    },
  };
}
function powers(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(Math.max(low, 1))); power <= Math.ceil(Math.log10(Math.max(high, 1))); power += 1) found.push(10 ** power);
  return found;
}
// Ticks at decades, with intermediate ticks if there are few decades.
function logTicks(lo, hi) {
  const found = [];
  const parts = hi - lo > 3 ? [1] : hi - lo > 1.2 ? [1, 3] : [1, 2, 3, 5, 7];
  for (let power = Math.floor(lo); power <= Math.ceil(hi); power += 1) parts.forEach((part) => found.push(part * 10 ** power));
  return found.filter((value) => Math.log10(value) >= lo - 1e-9 && Math.log10(value) <= hi + 1e-9);
}

// Percentile curves: the horizontal axis is stretched towards 100 %, where the slow operations are.
const stretch = (mille) => -Math.log10(Math.max(1 - mille / 1000, 0.0002));
const MILLES = [1000, 500, 900, 990, 999, 0, 750, 950, 980, 995, 998, 250, 970, 985, 850];
function percentileCurves({ label, curves }) {
  const milles = [...new Set(curves.flatMap((curve) => curve.points.map((point) => point[0])))].sort((one, other) => one - other);
  const name = (mille) => (mille >= 1000 ? 'max' : `${mille / 10} %`);
  return {
    label, points: milles.length, domain: [0, stretch(1000)], least: 0.05,
    ticks(frame) {
      const kept = [];
      for (const mille of MILLES) if (kept.every((other) => Math.abs(frame.x(stretch(other)) - frame.x(stretch(mille))) > 48)) kept.push(mille);
      return kept.sort((one, other) => one - other).map((mille) => [stretch(mille), name(mille)]);
    },
    paint(frame) {
      const inside = (mille) => stretch(mille) >= frame.lo - 0.4 && stretch(mille) <= frame.hi + 0.4;
      const all = curves.flatMap((curve) => curve.points.filter(([mille]) => inside(mille)).map((point) => Math.log10(Math.max(point[1], 1))));
      const low = Math.min(...all, 9), high = Math.max(...all, low + 0.3), room = (high - low) * 0.06;
      const steps = logTicks(low - room, high + room);
      frame.place(textWidth(steps.map((value) => nanos(value, short))) + 12, 14, 8, 24, 240);
      const y = (value) => frame.bottom - (frame.bottom - frame.top) * (Math.log10(Math.max(value, 1)) - low + room) / (high - low + 2 * room);
      levels(frame, steps, y, (value) => nanos(value, short));
      frame.y = y;
      for (const curve of curves) {
        const d = curve.points.map(([mille, value], at) => `${at ? 'L' : 'M'}${frame.x(stretch(mille)).toFixed(1)} ${y(value).toFixed(1)}`).join('');
        frame.body.append(s('path', { d, class: 'line thick', stroke: color(curve.color), 'stroke-dasharray': curve.base ? '5 4' : null }));
      }
    },
    pick(frame, x) {
      const distances = milles.map((mille) => Math.abs(frame.x(stretch(mille)) - x));
      return distances.indexOf(Math.min(...distances));
    },
    point(at, frame) {
      const mille = milles[at], x = stretch(mille), mark = s('g', {}), lines = [];
      for (const curve of curves) {
        const found = curve.points.find((point) => point[0] === mille);
        if (!found) continue;
        lines.push([curve.color, `${curve.label} ${nanos(found[1])}`]);
        mark.append(s('circle', { cx: frame.x(x), cy: frame.y(found[1]), r: 3.5, fill: color(curve.color) }));
      }
      return { x, mark, title: mille >= 1000 ? 'the slowest' : `${name(mille)} took no longer than`, lines };
    },
  };
}

// One row per item. A row has a label, a value (text at the end), lines (for the tooltip), and either parts (stacked bars:
// color, from, to) or dots (color, value) on a line.
function rowsOf({ label, rows, domain, ticks, fair, least }) {
  return {
    label, points: rows.length, domain, least: least || 0.02, ticks, stride: 1,
    paint(frame) {
      const narrow = frame.width < 560, names = Math.min(textWidth(rows.map((row) => row.label)) + 10, frame.width * 0.42);
      const values = textWidth(rows.map((row) => row.value || '')) + 8;
      const above = narrow && names > 110;
      const height = above ? 36 : 24, gap = above ? 17 : 0;
      frame.place(above ? 2 : Math.max(names, 12), above ? 12 : Math.max(values, 12), 4, 24, rows.length * height + 30);
      frame.row = (y) => Math.floor((y - frame.top) / height);
      frame.middle = (at) => frame.top + at * height + gap + (height - gap) / 2;
      const fits = Math.floor((above ? frame.width - values - 8 : names - 8) / 6.3);
      rows.forEach((row, at) => {
        const top = frame.top + at * height + gap, middle = frame.middle(at);
        const text = row.label.length > fits ? `…${row.label.slice(row.label.length - fits + 1)}` : row.label;
        frame.texts.append(above ? s('text', { x: 2, y: top - 3, class: 'name' }, text) : s('text', { x: frame.left - 6, y: middle + 4, 'text-anchor': 'end', class: 'name' }, text));
        if (row.value) frame.texts.append(s('text', { class: 'value', x: frame.width - 2, y: above ? top - 3 : middle + 4, 'text-anchor': 'end' }, row.value));
        frame.grid.append(s('line', { class: 'axis', x1: frame.left, x2: frame.right, y1: top + height - gap - 1, y2: top + height - gap - 1 }));
        for (const [name, from, to] of row.parts || []) {
          const x = frame.x(from), wide = frame.x(to) - x;
          if (wide > 0.15) frame.body.append(s('rect', { x, y: top + 3, width: wide, height: height - gap - 7, fill: color(name), rx: 1.5 }));
        }
        if (fair !== undefined) frame.body.append(s('line', { class: 'mark', x1: frame.x(fair), x2: frame.x(fair), y1: top, y2: top + height - gap - 2 }));
        const dots = row.dots || [];
        if (dots.length > 1) frame.body.append(s('line', { class: 'range', x1: frame.x(dots[0][1]), x2: frame.x(dots[dots.length - 1][1]), y1: middle, y2: middle }));
        dots.forEach(([name, value]) => frame.body.append(s('circle', { cx: frame.x(value), cy: middle, r: 4.5, fill: color(name) })));
      });
    },
    pick(frame, x, y) { const at = frame.row(y); return at >= 0 && at < rows.length ? at : null; },
    point(at, frame) {
      const row = rows[at];
      return { x: undefined, px: Math.min((frame.left + frame.right) / 2, 240), y: frame.middle(at) - 6, title: row.label, lines: row.lines };
    },
  };
}

// Heat map of ranks over time: a stronger colour is a larger value. It is one image with a pixel per cell.
function heatMap({ label, ranks, slice, values, most, name, format, group }) {
  const columns = Math.max(...values.map((row) => row.length)), rows = values.length;
  const who = (at) => (ranks[at][0] === ranks[at][1] ? `rank ${ranks[at][0]}` : `ranks ${ranks[at][0]}–${ranks[at][1]}`);
  const number = (at) => (ranks[at][0] === ranks[at][1] ? String(ranks[at][0]) : `${ranks[at][0]}–${ranks[at][1]}`);
  let picture = null;
  const painted = () => {
    const canvas = h('canvas', { width: columns, height: rows }), pen = canvas.getContext('2d');
    const probe = h('i', { class: `probe ${name}` });
    document.body.append(probe);
    pen.fillStyle = getComputedStyle(probe).color;
    probe.remove();
    values.forEach((row, y) => row.forEach((value, x) => { pen.globalAlpha = Math.min(Math.max(value / (most || 1), 0), 1); pen.fillRect(x, y, 1, 1); }));
    return canvas.toDataURL();
  };
  return {
    label, group, points: rows * columns, stride: columns, domain: [0, columns * slice], ticks: timeTicks, least: Math.max(4 / columns, 0.001),
    paint(frame) {
      const height = Math.min(Math.max(300 / rows, 7), 24), every = Math.ceil(14 / height);
      frame.place(textWidth(ranks.map((_, at) => number(at))) + 12, 10, 4, 24, rows * height + 30);
      frame.cell = (x, y) => [Math.floor(frame.value(x) / slice), Math.floor((y - frame.top) / height)];
      frame.middle = (at) => frame.top + (at + 0.5) * height;
      picture = picture || painted();
      const x = frame.x(0);
      frame.grid.append(s('rect', { class: 'ground', x: frame.left, y: frame.top, width: frame.right - frame.left, height: rows * height }));
      frame.body.append(s('image', { href: picture, x, y: frame.top, width: frame.x(columns * slice) - x, height: rows * height, preserveAspectRatio: 'none', class: 'cells' }));
      ranks.forEach((_, at) => { if (at % every === 0) frame.texts.append(s('text', { x: frame.left - 6, y: frame.middle(at) + 4, 'text-anchor': 'end' }, number(at))); });
    },
    pick(frame, x, y) {
      const [column, row] = frame.cell(x, y);
      return row >= 0 && row < rows && column >= 0 && column < columns ? row * columns + column : null;
    },
    point(at, frame) {
      const row = Math.floor(at / columns), column = at % columns;
      return { x: (column + 0.5) * slice, y: frame.middle(row), title: `${who(row)}, ${seconds(column * slice, short)} – ${seconds((column + 1) * slice, short)}`, lines: [[name, format(values[row][column] || 0)]] };
    },
  };
}
