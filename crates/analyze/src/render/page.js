'use strict';
const R = JSON.parse(document.getElementById('data').textContent);
const page = document.getElementById('page');
page.textContent = '';

// Elements.
function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}
function s(tag, attributes, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
  element.append(...children);
  return element;
}
const tip = (text) => s('title', {}, text);
const color = (name) => `var(--${name})`;

// Numbers with units.
const three = (x) => (x < 10 ? x.toFixed(2) : x < 100 ? x.toFixed(1) : x.toFixed(0));
function bytes(x) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let unit = 0;
  while (x >= 1024 && unit < units.length - 1) { x /= 1024; unit += 1; }
  return unit === 0 ? `${x.toFixed(0)} B` : `${three(x)} ${units[unit]}`;
}
const rate = (x) => `${bytes(x)}/s`;
function nanos(x) {
  if (x < 1e3) return `${x.toFixed(0)} ns`;
  if (x < 1e6) return `${three(x / 1e3)} µs`;
  if (x < 1e9) return `${three(x / 1e6)} ms`;
  return `${three(x / 1e9)} s`;
}
function seconds(x) {
  if (x < 1) return nanos(x * 1e9);
  if (x < 120) return `${three(x)} s`;
  return `${Math.floor(x / 60)} m ${String(Math.round(x % 60)).padStart(2, '0')} s`;
}
const count = (x) => String(x).replace(/\B(?=(\d{3})+$)/g, '\u202f');
const percent = (x) => `${x.toFixed(2)} %`;

// Cards whose plots are drawn again when their width changes.
const plots = [];
function card(title, note, wide, ...children) {
  const box = h('section', { class: wide ? 'card wide' : 'card' }, h('h2', {}, title), note ? h('p', { class: 'soft' }, note) : null, ...children);
  grid.append(box);
  return box;
}
function plot(title, note, wide, legend, draw) {
  const target = h('div', {});
  card(title, note, wide, legend ? legendOf(legend) : null, target);
  plots.push(() => {
    const width = Math.max(target.clientWidth, 240);
    target.replaceChildren(draw(width));
  });
}
function legendOf(entries) {
  return h('div', { class: 'legend' }, ...entries.map(([name, label]) => {
    const mark = h('i', {});
    mark.style.background = color(name);
    return h('span', {}, mark, label);
  }));
}

// Axes.
function niceStep(most, wanted) {
  const raw = most / wanted;
  const magnitude = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map((m) => m * magnitude).find((step) => step >= raw);
}
function binaryStep(most, wanted) {
  let step = 1;
  while (most / step > wanted) step *= 2;
  return step;
}
function frame(width, height, margin) {
  const svg = s('svg', { viewBox: `0 0 ${width} ${height}`, height, role: 'img' });
  const inner = { left: margin.left, right: width - margin.right, top: margin.top, bottom: height - margin.bottom };
  return [svg, inner];
}
function yAxis(svg, box, ticks, place, label) {
  for (const tick of ticks) {
    const y = place(tick);
    svg.append(s('line', { class: 'axis', x1: box.left, x2: box.right, y1: y, y2: y }),
      s('text', { x: box.left - 6, y: y + 4, 'text-anchor': 'end' }, label(tick)));
  }
}
function xAxis(svg, box, ticks, place, label) {
  ticks.forEach((tick) => {
    const x = place(tick);
    const anchor = x < box.left + 20 ? 'start' : x > box.right - 20 ? 'end' : 'middle';
    svg.append(s('text', { x, y: box.bottom + 16, 'text-anchor': anchor }, label(tick)));
  });
}
function range(most, step) {
  const ticks = [];
  for (let tick = 0; tick <= most * 1.0001; tick += step) ticks.push(tick);
  return ticks;
}
function timeTicks(total, width) {
  const step = niceStep(total, Math.max(2, Math.floor(width / 110)));
  return range(total, step);
}
const timeLabel = (total) => (x) => (total >= 300 ? `${(x / 60).toFixed(total >= 1200 ? 0 : 1)} min` : total >= 2 ? `${+x.toFixed(1)} s` : `${+(x * 1000).toFixed(1)} ms`);

// Lines over the time of the run; gaps where a value is null.
function overTime(width, lines, most, yTicks, yLabel, mark) {
  const [svg, box] = frame(width, 210, { left: 68, right: 8, top: 8, bottom: 24 });
  const slices = lines[0].values.length;
  const total = R.series.slice_seconds * slices;
  const x = (slice) => box.left + (box.right - box.left) * slice / slices;
  const y = (value) => box.bottom - (box.bottom - box.top) * Math.min(value / most, 1);
  yAxis(svg, box, yTicks, y, yLabel);
  const ticks = timeTicks(total, box.right - box.left);
  xAxis(svg, box, ticks, (t) => x(t / R.series.slice_seconds), timeLabel(total));
  for (const line of lines) {
    let path = '', area = '', open = false;
    line.values.forEach((value, slice) => {
      if (value === null) { if (open) area += `V${box.bottom}Z`; open = false; return; }
      const from = x(slice).toFixed(1), to = x(slice + 1).toFixed(1), at = y(value).toFixed(1);
      path += `${open ? 'L' : 'M'}${from} ${at}H${to}`;
      area += open ? `L${from} ${at}H${to}` : `M${from} ${box.bottom}V${at}H${to}`;
      open = true;
    });
    if (open) area += `V${box.bottom}Z`;
    svg.append(s('path', { d: area, fill: color(line.color), 'fill-opacity': 0.16 }),
      s('path', { d: path, fill: 'none', stroke: color(line.color), 'stroke-width': 1.6, 'stroke-linejoin': 'round' }));
  }
  if (mark) {
    svg.append(s('line', { x1: box.left, x2: box.right, y1: y(mark), y2: y(mark), stroke: color('waiting'), 'stroke-dasharray': '5 4' }));
  }
  for (let slice = 0; slice < slices; slice += 1) {
    const texts = lines.filter((line) => line.values[slice] !== null).map((line) => `${line.label} ${line.format(line.values[slice])}`);
    if (texts.length === 0) continue;
    const hit = s('rect', { x: x(slice), y: box.top, width: x(1) - x(0), height: box.bottom - box.top, fill: 'transparent' },
      tip(`${seconds(slice * R.series.slice_seconds)}: ${texts.join(', ')}`));
    svg.append(hit);
  }
  return svg;
}

function histogram(width, distribution, name) {
  const [svg, box] = frame(width, 210, { left: 52, right: 8, top: 8, bottom: 24 });
  const { bounds_ns: bounds, counts } = distribution;
  const most = Math.max(...counts);
  const step = Math.max(1, niceStep(most, 4));
  const y = (value) => box.bottom - (box.bottom - box.top) * value / most;
  yAxis(svg, box, range(most, step), y, (v) => (v >= 1e6 ? `${+(v / 1e6).toFixed(1)}M` : v >= 1e3 ? `${+(v / 1e3).toFixed(1)}k` : v));
  const wide = Math.min((box.right - box.left) / counts.length, 60);
  counts.forEach((value, at) => {
    const from = at === 0 ? 'up to' : `${nanos(bounds[at - 1])} –`;
    svg.append(s('rect', { x: box.left + at * wide + 0.5, y: y(value), width: Math.max(wide - 1, 1), height: box.bottom - y(value), fill: color(name), rx: 1 },
      tip(`${from} ${nanos(bounds[at])}: ${count(value)}`)));
  });
  const every = Math.max(1, Math.ceil(70 / wide));
  for (let at = 0; at < bounds.length; at += every) {
    const x = box.left + (at + 1) * wide;
    if (x < box.right - 16 || at === 0) svg.append(s('text', { x, y: box.bottom + 16, 'text-anchor': 'middle' }, nanos(bounds[at])));
  }
  return svg;
}

// The x axis stretches towards 100 %, where the interesting part is.
function percentiles(width, curves) {
  const [svg, box] = frame(width, 210, { left: 62, right: 12, top: 8, bottom: 24 });
  const all = curves.flatMap((curve) => curve.points.map((point) => Math.max(point[1], 1)));
  const low = Math.floor(Math.log10(Math.min(...all))), high = Math.max(Math.ceil(Math.log10(Math.max(...all))), low + 1);
  const y = (value) => box.bottom - (box.bottom - box.top) * (Math.log10(Math.max(value, 1)) - low) / (high - low);
  const stretch = (mille) => -Math.log10(Math.max(1 - mille / 1000, 0.0002));
  const end = stretch(1000);
  const x = (mille) => box.left + (box.right - box.left) * stretch(mille) / end;
  const ticks = [];
  for (let power = low; power <= high; power += 1) ticks.push(10 ** power);
  yAxis(svg, box, ticks, y, (v) => nanos(v).replace(/\.0+ /, ' '));
  xAxis(svg, box, [500, 900, 990, 999, 1000], x, (mille) => (mille === 1000 ? 'max' : `${mille / 10} %`));
  for (const curve of curves) {
    const d = curve.points.map(([mille, value], at) => `${at ? 'L' : 'M'}${x(mille).toFixed(1)} ${y(value).toFixed(1)}`).join('');
    svg.append(s('path', { d, fill: 'none', stroke: color(curve.color), 'stroke-width': 2, 'stroke-linejoin': 'round' }));
    for (const [mille, value] of curve.points) {
      svg.append(s('circle', { cx: x(mille), cy: y(value), r: 5, fill: 'transparent' }, tip(`${curve.label} ${mille / 10} %: ${nanos(value)}`)));
    }
  }
  return svg;
}

// Horizontal bars: one per row, each made of parts.
function bars(width, rows, most, format) {
  const label = Math.min(Math.max(...rows.map((row) => row.label.length)) * 6.6 + 10, width * 0.42);
  const height = rows.length > 40 ? 12 : 22;
  const value = 86;
  const [svg, box] = frame(width, rows.length * height + 6, { left: label, right: value, top: 2, bottom: 4 });
  const scale = (box.right - box.left) / (most || 1);
  rows.forEach((row, at) => {
    const y = box.top + at * height;
    const fits = Math.floor((label - 10) / 6.4);
    const text = row.label.length > fits ? `…${row.label.slice(row.label.length - fits + 1)}` : row.label;
    if (height > 14 || at % 5 === 0) {
      svg.append(s('text', { x: label - 6, y: y + height / 2 + 4, 'text-anchor': 'end' }, text, tip(row.label)));
    }
    let x = box.left;
    for (const [name, amount, title] of row.parts) {
      const size = amount * scale;
      if (size > 0.2) svg.append(s('rect', { x, y: y + 2, width: size, height: height - 4, fill: name === 'none' ? 'none' : color(name), rx: 2 }, tip(`${row.label}: ${title}`)));
      x += size;
    }
    if (height > 14) svg.append(s('text', { class: 'value', x: x + 6, y: y + height / 2 + 4 }, format(row)));
  });
  return svg;
}

function table(title, note, head, rows, lefts) {
  const cell = (tag) => (text, at) => h(tag, at < (lefts || 1) ? { class: 'left' } : {}, String(text));
  card(title, note, true, h('div', { class: 'scroll' }, h('table', {},
    h('thead', {}, h('tr', {}, ...head.map(cell('th')))),
    h('tbody', {}, ...rows.map((row) => h('tr', {}, ...row.map(cell('td'))))))));
}

// Head.
const run = R.run;
const au = R.train && R.train.au;
page.append(h('h1', {}, run.model || 'Run'));
page.append(h('p', { class: 'soft' },
  `${new Date(run.start_unix_ns / 1e6).toISOString().replace('T', ' ').slice(0, 19)} UTC · ${run.world} ${run.world === 1 ? 'rank' : 'ranks'} on ${run.hosts.slice(0, 6).join(', ')}${run.hosts.length > 6 ? ` and ${run.hosts.length - 6} more hosts` : ''} · dlio-rs ${run.tool_version}`));
const figures = h('div', { class: 'figures' });
const figure = (value, label, style) => figures.append(h('div', { class: 'figure' }, h('b', style ? { class: style } : {}, value), h('span', {}, label)));
if (au) {
  const target = run.au_threshold_percentage;
  figure(percent(au.mean), target === null ? 'accelerator utilisation' : `AU, target ${target.toFixed(0)} %: ${R.train.au_meets_expectation ? 'reached' : 'missed'}`,
    target === null ? '' : R.train.au_meets_expectation ? 'good' : 'bad');
  figure(three(R.train.throughput_spread.mean), 'samples per second');
}
figure(bytes(run.read_bytes), `read, ${rate(run.seconds ? run.read_bytes / run.seconds : 0)}`);
if (run.written_bytes) figure(bytes(run.written_bytes), `written, ${rate(run.seconds ? run.written_bytes / run.seconds : 0)}`);
figure(seconds(run.seconds), 'run time');
figure(count(run.operations), 'storage operations');
figure(count(run.errors), `errors, ${count(run.retries)} retries`, run.errors ? 'bad' : '');
page.append(figures);
if (R.warnings.length) page.append(h('ul', { class: 'warnings' }, ...R.warnings.map((warning) => h('li', {}, warning.text))));
const grid = h('div', { class: 'grid' });
page.append(grid);

// Plots.
const reads = R.series.read_bytes_per_second, writes = R.series.written_bytes_per_second;
const most = Math.max(0, ...reads, ...writes);
if (most > 0) {
  const lines = [];
  if (Math.max(...reads) > 0) lines.push({ values: reads, color: 'read', label: 'read', format: rate });
  if (Math.max(...writes) > 0) lines.push({ values: writes, color: 'write', label: 'written', format: rate });
  plot('Throughput over time', 'Bytes of each operation spread over its duration.', false, lines.map((line) => [line.color, line.label]),
    (width) => overTime(width, lines, most * 1.05, range(most, binaryStep(most, 4)).filter((tick, at) => at < 9), rate));
}
if (R.series.au_percentage.some((value) => value !== null)) {
  const lines = [{ values: R.series.au_percentage, color: 'compute', label: 'AU', format: percent }];
  plot('Accelerator utilisation over time', 'Share of the training time of all ranks that was computation; no step left out.', false,
    run.au_threshold_percentage === null ? [['compute', 'AU']] : [['compute', 'AU'], ['waiting', 'target']],
    (width) => overTime(width, lines, 100, [0, 25, 50, 75, 100], (v) => `${v} %`, run.au_threshold_percentage));
}
const distributions = [['read', 'reads', R.read_latency], ['write', 'writes', R.write_latency]].filter(([, , d]) => d.counts.length);
for (const [name, label, distribution] of distributions) {
  plot(`Latency of ${label}`, 'Operations by duration; buckets grow by √2.', false, null, (width) => histogram(width, distribution, name));
}
if (distributions.length) {
  const curves = distributions.map(([name, label, d]) => ({ color: name, label, points: d.curve }));
  plot('Latency percentiles', 'Exact values; the axis stretches towards the slowest operations.', false, curves.map((curve) => [curve.color, curve.label]),
    (width) => percentiles(width, curves));
}
const PARTS = [['compute', 'compute'], ['waiting', 'waiting for data'], ['barrier', 'waiting for other ranks'], ['checkpoint', 'checkpoint'], ['evaluation', 'evaluation'], ['other', 'other']];
function timeRows(key, label) {
  const groups = new Map();
  for (const row of R.times) {
    const group = groups.get(row[key]) || { total: 0, parts: PARTS.map(() => 0) };
    PARTS.forEach(([part], at) => { group.parts[at] += row[part]; });
    group.total += row.total;
    groups.set(row[key], group);
  }
  return [...groups].sort((one, other) => one[0] - other[0]).map(([number, group]) => ({
    label: `${label} ${number}`,
    compute: group.parts[0] / (group.total || 1),
    parts: PARTS.map(([part, text], at) => [part, group.parts[at] / (group.total || 1), `${text} ${(100 * group.parts[at] / (group.total || 1)).toFixed(1)} %, ${seconds(group.parts[at])}`]),
  }));
}
if (R.times.length) {
  const used = PARTS.filter(([part]) => R.times.some((row) => row[part] > 0));
  const show = (row) => `${(100 * row.compute).toFixed(1)} % comp.`;
  const perEpoch = timeRows('epoch', 'epoch'), perRank = timeRows('rank', 'rank');
  plot('Where the time went, per epoch', 'All ranks together.', false, used, (width) => bars(width, perEpoch, 1, show));
  if (perRank.length > 1) {
    const shown = perRank.length > 128 ? perRank.sort((one, other) => one.compute - other.compute).slice(0, 128) : perRank;
    plot('Where the time went, per rank', shown.length < perRank.length ? 'The 128 ranks with the least computation.' : 'All epochs together.', false, used, (width) => bars(width, shown, 1, show));
  }
}
function flowBars(title, rows) {
  const largest = Math.max(...rows.map((row) => row.flow.bytes_per_second));
  if (!(largest > 0)) return;
  const made = rows.map((row) => {
    const total = row.flow.read_bytes + row.flow.written_bytes;
    const share = total ? row.flow.bytes_per_second / total : 0;
    return { label: row.label, rate: row.flow.bytes_per_second, parts: [
      ['read', row.flow.read_bytes * share, `read ${bytes(row.flow.read_bytes)}, p99 ${nanos(row.flow.latency.p99_ns)}`],
      ['write', row.flow.written_bytes * share, `written ${bytes(row.flow.written_bytes)}`]] };
  });
  plot(title, 'Mean over the whole run.', false, [['read', 'read'], ['write', 'written']], (width) => bars(width, made, largest, (row) => rate(row.rate)));
}
if (R.ranks.length > 1) flowBars('Throughput per rank', R.ranks.slice(0, 128).map((row) => ({ label: `rank ${row.rank}`, flow: row.flow })));
if (R.endpoints.length) flowBars('Throughput per endpoint', R.endpoints.map((row) => ({ label: row.endpoint, flow: row.flow })));

// Why AU was lost: per epoch over all ranks a waterfall from the ideal to what was measured, then who and what.
const W = R.why || { findings: [], losses: [], slow_steps: [], critical_ranks: [], stragglers: [], imbalance: [], overlap: [] };
const LOSSES = [['queueing', 'queueing'], ['first_byte', 'first byte'], ['transfer', 'transfer'], ['retries', 'retries'], ['decode', 'decode'], ['barrier', 'barrier'], ['checkpoint', 'checkpoint'], ['rest', 'rest']];
if (W.findings.length) table('What stands out', null, ['finding', 'seconds of waiting', ''], W.findings.map((f) => [f.text, seconds(f.seconds), f.code]));
for (const epoch of [...new Set(W.losses.map((row) => row.epoch))].slice(0, 12)) {
  const rows = W.losses.filter((row) => row.epoch === epoch);
  const total = rows.reduce((sum, row) => sum + row.total, 0), busy = rows.reduce((sum, row) => sum + row.compute, 0);
  if (!total) continue;
  let left = 100;
  const made = [];
  for (const [key, label] of LOSSES) {
    const lost = 100 * rows.reduce((sum, row) => sum + row.parts[key], 0) / total;
    if (lost < 0.05) continue;
    left -= lost;
    const without = percent(Math.min(100, 100 * busy / (total * (1 - lost / 100))));
    made.push({ label, value: `−${lost.toFixed(1)} %`, parts: [['none', left, ''], [key === 'barrier' || key === 'checkpoint' ? key : 'waiting', lost, `${percent(lost)} of the time; AU would be ${without} without it`]] });
  }
  const au = 100 * busy / total;
  made.push({ label: 'AU', value: percent(au), parts: [['compute', au, percent(au)]] });
  plot(`AU lost, epoch ${epoch}`, 'From 100 % down to AU: what the time of all ranks went to, over the steps that AU counts.', false, [['waiting', 'waiting for data'], ['barrier', 'waiting for other ranks'], ['checkpoint', 'checkpoint'], ['compute', 'computation']], (width) => bars(width, made, 100, (row) => row.value));
}
if (W.slow_steps.length) {
  const mostly = (step) => LOSSES.map(([key, label]) => [step.parts[key], label]).sort((one, other) => other[0] - one[0])[0];
  table('Slowest steps', 'The object that took most of the wait.', ['epoch', 'step', 'rank', 'wait', 'mostly', 'object', 'endpoint'],
    W.slow_steps.map((step) => [step.epoch, step.step, step.rank, nanos(step.wait), mostly(step)[1], step.object || '–', step.endpoint || '–']));
}
if (W.critical_ranks.length) table('Ranks that the others waited for', null, ['rank', 'host', 'last at barriers', 'others waited', 'its time waiting for data'], W.critical_ranks.slice(0, 64).map((row) => [row.rank, row.host, count(row.steps), seconds(row.seconds), percent(row.waiting_percentage)]), 2);
if (W.stragglers.length) table('Where the slowest 5 % of the reads are', null, ['by', 'which', 'slow', 'reads', 'times its share'], W.stragglers.map((row) => [row.by, row.name, count(row.slow), count(row.reads), row.factor.toFixed(1)]), 2);
if (W.imbalance.length) table('Balance', null, ['quantity', 'max/mean', 'Gini'], W.imbalance.map((row) => [row.quantity, row.max_by_mean.toFixed(2), row.gini.toFixed(3)]));
if (W.overlap.length) table('Overlap', 'λ·W: arrivals per second times mean duration; differs from the operations in flight where the run is not steady.', ['rank', 'both', 'compute alone', 'I/O alone', 'neither', 'in flight', 'max', 'λ·W'],
  W.overlap.slice(0, 64).map((row) => [row.rank, seconds(row.both), seconds(row.compute), seconds(row.io), seconds(row.neither), row.concurrency.toFixed(2), row.concurrency_max, row.little.toFixed(2)]));

// Tables.
if (R.epochs.length) {
  table('Epochs', null, ['epoch', 'steps', 'AU', 'samples/s', 'eval AU', 'time', 'read', 'read rate', 'samples read', 'twice', 'missing'],
    R.epochs.map((e) => [e.epoch, count(e.steps), percent(e.au_percentage), three(e.samples_per_second), e.eval_au_percentage === null ? '–' : percent(e.eval_au_percentage),
      seconds(e.seconds), bytes(e.read_bytes), rate(e.read_bytes_per_second), count(e.coverage.distinct), count(e.coverage.duplicates), e.coverage.missing === null ? '–' : count(e.coverage.missing)]));
}
const rankNumbers = [...new Set(R.times.map((row) => row.rank))].sort((one, other) => one - other).slice(0, 64);
if (rankNumbers.length > 1 && R.times.some((row) => row.au_percentage !== null)) {
  const au = new Map(R.times.map((row) => [`${row.epoch}/${row.rank}`, row.au_percentage]));
  const cell = (epoch, rank) => { const value = au.get(`${epoch}/${rank}`); return value === undefined || value === null ? '–' : percent(value); };
  table('AU per epoch and rank', rankNumbers.length === 64 ? 'The first 64 ranks; report.json has all.' : null, ['epoch', ...rankNumbers.map((rank) => `rank ${rank}`)],
    [...new Set(R.times.map((row) => row.epoch))].map((epoch) => [epoch, ...rankNumbers.map((rank) => cell(epoch, rank))]));
}
const operationRow = (o) => [o.op, o.size, count(o.latency.count), o.bytes ? bytes(o.bytes) : '', count(o.errors), count(o.retries),
  nanos(o.latency.p50_ns), nanos(o.latency.p90_ns), nanos(o.latency.p99_ns), nanos(o.latency.p999_ns), nanos(o.latency.max_ns),
  o.first_byte ? nanos(o.first_byte.p50_ns) : '–', o.first_byte ? nanos(o.first_byte.p99_ns) : '–'];
const operationHead = ['op', 'size', 'count', 'bytes', 'errors', 'retries', 'p50', 'p90', 'p99', 'p99.9', 'max', 'first byte p50', 'p99'];
if (R.operations.length) table('Storage operations', 'One row per kind and size class; every attempt counts.', operationHead, R.operations.map(operationRow), 2);
if (R.spans.length) table('Spans of the run', null, ['span', 'count', 'p50', 'p90', 'p99', 'p99.9', 'max'],
  R.spans.map((o) => [o.op, count(o.latency.count), nanos(o.latency.p50_ns), nanos(o.latency.p90_ns), nanos(o.latency.p99_ns), nanos(o.latency.p999_ns), nanos(o.latency.max_ns)]));
const flowRow = (f) => [count(f.operations), bytes(f.read_bytes), bytes(f.written_bytes), rate(f.bytes_per_second), count(f.errors), nanos(f.latency.p50_ns), nanos(f.latency.p99_ns), nanos(f.latency.max_ns)];
const flowHead = ['ops', 'read', 'written', 'rate', 'errors', 'p50', 'p99', 'max'];
if (R.ranks.length) table('Ranks', null, ['rank', 'host', 'AU', ...flowHead, 'trace'],
  R.ranks.slice(0, 512).map((r) => [r.rank, r.host, r.au_percentage === null ? '–' : percent(r.au_percentage), ...flowRow(r.flow), r.complete ? 'complete' : 'incomplete']), 2);
const gb = (x) => (x === null ? '-' : `${x.toFixed(4)} GB/s`);
if ((R.checkpoints || []).length) table('Checkpoints', 'The reference reports rank 0; the storage served all ranks from the first start to the last end.', ['epoch', '', 'number', 'rank 0', 'fastest', 'slowest', 'all', 'by rank 0', 'by all'], R.checkpoints.map((c) => [c.epoch, c.load ? 'load' : 'save', c.number, c.seconds_rank0 === null ? '-' : seconds(c.seconds_rank0), seconds(c.seconds_min), seconds(c.seconds_max), seconds(c.seconds_all), gb(c.gb_per_second_rank0), gb(c.gb_per_second_all)]));
if (R.endpoints.length) table('Endpoints', null, ['endpoint', ...flowHead], R.endpoints.map((e) => [e.endpoint, ...flowRow(e.flow)]));
page.append(h('footer', {}, run.argv.length ? `Command: ${run.argv.join(' ')}. ` : '',
  'AU and throughput follow DLIO: the first step of each block is left out, and two steps are taken off its count of samples. MB and GB in DLIO’s files are 2²⁰ and 2³⁰ bytes.'));

// A plot that has nothing to show must not take the others with it.
const draw = () => plots.forEach((one) => { try { one(); } catch (error) { console.error(error); } });
draw();
let pending = 0;
window.addEventListener('resize', () => { cancelAnimationFrame(pending); pending = requestAnimationFrame(draw); });
