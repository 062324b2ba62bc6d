// The page, with the most important information first.
const run = R.run, more = DATA.more || {}, base = DATA.base;
const trained = Boolean(R.train && R.train.au);
const amount = (list, key) => (list || []).length + (more[key] || 0);

// Components of a wait or a loss: key, name, responsible party.
const LOSSES = [['queueing', 'queueing', 'client'], ['first_byte', 'first byte', 'waiting'], ['transfer', 'transfer', 'waiting'], ['retries', 'retries', 'waiting'],
  ['decode', 'decode', 'client'], ['barrier', 'barrier', 'barrier'], ['checkpoint', 'checkpoint', 'checkpoint'], ['rest', 'unexplained', 'other']];
const BLAME = [['waiting', 'storage'], ['client', 'this client'], ['barrier', 'other ranks'], ['checkpoint', 'checkpoints'], ['other', 'no row explains it'], ['compute', 'computation']];
const PARTS = [['compute', 'computation'], ['waiting', 'waiting for data'], ['barrier', 'waiting for other ranks'], ['checkpoint', 'checkpoint'], ['evaluation', 'evaluation'], ['other', 'other']];
const DONE = { read: 'read', write: 'written' };

function head() {
  const start = run.start_unix_ns ? `${new Date(run.start_unix_ns / 1e6).toISOString().replace('T', ' ').slice(0, 19)} UTC · ` : '';
  const hosts = run.hosts.slice(0, 4).join(', '), others = amount(run.hosts, 'hosts_named') - Math.min(run.hosts.length, 4);
  page.append(h('h1', {}, run.model || 'Run'),
    h('p', { class: 'soft' }, `${start}${plural(run.world, 'rank')}${hosts ? ` on ${hosts}${others > 0 ? ` and ${plural(others, 'more host')}` : ''}` : ''} · ${seconds(run.seconds)}${run.tool_version ? ` · dlio-rs ${run.tool_version}` : ''}`));
  const { verdict } = DATA, findings = R.why.findings;
  page.append(h('div', { class: `verdict ${verdict.tone}`, role: 'status' }, h('b', {}, together(verdict.headline)), ...verdict.sentences.map((text) => h('p', {}, together(text))),
    findings.length ? h('ul', {}, ...findings.slice(0, 6).map((finding) => h('li', {}, `${together(capital(finding.text))}${finding.seconds > 0 ? ` (${seconds(finding.seconds)} of waiting)` : ''}.`))) : null));
}
// Non-breaking spaces keep numbers and units together.
const together = (text) => text.replace(/(\d) (%|[KMGTP]?i?B\b|[nµm]?s\b)/g, '$1\u00a0$2');
// Endpoint names are not changed.
const capital = (text) => (/^[a-z]+ /.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text);

function figures() {
  const box = h('div', { class: 'figures' });
  const figure = (value, label, style) => box.append(h('div', { class: 'figure' }, h('b', { class: style || null }, value), h('span', {}, label)));
  const at = (distribution, mille) => (distribution.curve.find((point) => point[0] >= mille) || [0, null])[1];
  if (trained) {
    const target = run.au_threshold_percentage, reached = R.train.au_meets_expectation;
    const judged = target !== null && typeof reached === 'boolean';
    figure(percent(R.train.au.mean), judged ? `accelerator utilisation; target ${+target.toFixed(2)} % ${reached ? 'reached' : 'missed'}` : `accelerator utilisation${target === null ? '' : `; no verdict, ${R.warnings.some((warning) => warning.code === 'nothing_measured') ? 'no step was measured' : 'the run did not complete'}`}`, judged ? (reached ? 'good' : 'bad') : '');
    if (R.train.throughput_spread) figure(three(R.train.throughput_spread.mean), 'samples per second');
  }
  const flow = (total, name) => total && figure(rate(run.seconds ? total / run.seconds : 0), `${name}, mean; ${bytes(total)} in all`);
  flow(run.read_bytes, 'read');
  flow(run.written_bytes, 'written');
  const busiest = run.read_bytes || !run.written_bytes ? ['read', R.read_latency] : ['write', R.write_latency];
  if (busiest[1].counts.length) figure(nanos(at(busiest[1], 990)), `99 % of ${busiest[0]}s are faster; median ${nanos(at(busiest[1], 500))}`);
  figure(count(run.operations), run.seconds ? `storage operations, ${many(run.operations / run.seconds)} per second` : 'storage operations');
  figure(count(run.errors), `errors; ${plural(run.retries, 'attempt')} repeated`, run.errors ? 'bad' : '');
  page.append(box);
  const all = R.warnings.length + (more.warnings || 0);
  if (all) {
    page.append(h('details', { class: 'warnings', open: '' }, h('summary', {}, all === 1 ? 'Before you believe the numbers' : `Before you believe the numbers: ${all} remarks`),
      h('ul', {}, ...R.warnings.map((warning) => h('li', {}, warning.text)), more.warnings ? h('li', {}, `${more.warnings} more in report.json`) : null)));
  }
  page.append(nav);
}

const METRICS = { au: ['AU', percent, true], samples_per_second: ['samples per second', three, true], wait: ['wait per step', seconds, false], step: ['time of a step', seconds, false], read_p50: ['read, median', seconds, false], read_p99: ['read, 99th percentile', seconds, false] };
function comparison() {
  const changes = R.comparison || [];
  if (!changes.length && !base) return;
  section('base', 'Against the base');
  const rows = changes.map((change) => {
    const [label, format, more] = METRICS[change.metric] || [change.metric, three, true];
    const [low, high] = change.interval, sure = low > 0 || high < 0;
    const tone = !sure ? 'other' : (change.change_percentage > 0) === more ? 'good' : 'bad';
    return { change, low, high, sure, tone, label, text: `${format(change.base)} → ${format(change.this)}` };
  });
  // The axis is limited, so that one extreme change does not flatten the others.
  const limit = Math.min(150, Math.max(1, ...rows.flatMap((row) => [row.low, row.high, row.change.change_percentage].map(Math.abs))) * 1.08);
  const within = (x) => Math.min(Math.max(x, -limit * 0.98), limit * 0.98);
  plot('Change of each metric', 'Dot: change in percent of the base; line: 95 % confidence interval. Where the line crosses 0 the runs may be equal.', { wide: true, legend: [['good', 'better'], ['bad', 'worse'], ['other', 'not sure']] }, () => (rows.length ? rowsOf({
    label: 'Change of each metric against the base', domain: [-limit, limit], ticks: plainTicks((x) => `${x > 0 ? '+' : ''}${short(x)} %`), fair: 0,
    rows: rows.map((row) => ({ label: row.label, value: signed(row.change.change_percentage), parts: [[row.tone, within(row.low), Math.max(within(row.high), within(row.low) + limit / 200)]], dots: [['ink', within(row.change.change_percentage)]],
      lines: [row.text, `between ${signed(row.low)} and ${signed(row.high)}`, row.sure ? (row.tone === 'good' ? 'better' : 'worse') : 'chance may explain it'] })),
  }) : 'The two runs have no metric in common.'));
  table('Both runs', null, ['metric', 'base', 'this run', 'change', '95 % interval', ''], rows.map((row) => [row.label, ...row.text.split(' → '), signed(row.change.change_percentage), `${signed(row.low)} to ${signed(row.high)}`, row.tone === 'other' ? 'not sure' : row.tone === 'good' ? 'better' : 'worse']));
  if (!base) return;
  const shares = (report) => new Map((report.why ? report.why.waterfall : report.waterfall).map((fall) => [fall.part, fall.percentage]));
  const [old, now] = [shares(base), shares(R)];
  table('What AU was lost to', 'Percentage points of AU.', ['part', 'base', 'this run', 'difference'], [...new Set([...old.keys(), ...now.keys()])].filter((part) => Math.max(old.get(part) || 0, now.get(part) || 0) >= 0.005).map((part) => {
    const [before, after] = [old.get(part) || 0, now.get(part) || 0];
    return [part === 'rest' ? 'unexplained' : part, percent(before), percent(after), `${after >= before ? '+' : '−'}${Math.abs(after - before).toFixed(2)} points`];
  }));
  if (base.findings.length) card('What stood out in the base', null, { wide: true }, h('ul', {}, ...base.findings.map((finding) => h('li', {}, together(capital(finding.text))))));
}

const fallOf = (bar, key) => bar.falls.find((fall) => fall.part.replace(' ', '_') === key);
function lossRows(bar) {
  let left = 100;
  const rows = [];
  for (const [key, label, blame] of LOSSES) {
    const fall = fallOf(bar, key), lost = fall ? fall.percentage : 0;
    if (!(lost >= 0.05)) continue;
    rows.push({ label, value: `−${lost.toFixed(1)} %`, parts: [[blame, left - lost, left]], lines: [[blame, `${percent(lost)} of AU: ${seconds(fall.seconds)}, all ranks added up`], `without it AU would be ${percent(fall.au_without)}`] });
    left -= lost;
  }
  const au = bar.au_percentage;
  rows.push({ label: 'AU', value: percent(au), parts: [['compute', 0, au]], lines: [['compute', `computation ${seconds(bar.compute)} of ${seconds(bar.total)}, all ranks added up`]] });
  return rows;
}
function losses() {
  const all = DATA.all_losses, epochs = all.total > 0 ? DATA.epoch_losses : [];
  const shown = epochs.length > 1 ? [all, ...epochs] : epochs;
  const used = BLAME.filter(([blame]) => blame === 'compute' || LOSSES.some(([key, , whom]) => whom === blame && fallOf(all, key)));
  let at = 0;
  plot('Where AU was lost', 'From 100 % down to the AU of the first line: the time in the AU formula, by cause. Barriers are those of all steps, as in the formula.', { legend: epochs.length ? used : [],
    choices: [['Epoch', shown.map((row) => (row === all ? 'all epochs' : `epoch ${row.epoch}`)), (chosen) => { at = chosen; }]] },
  () => (shown.length ? rowsOf({ label: 'Where AU was lost', domain: [0, 100], ticks: plainTicks((x) => `${short(x)} %`), rows: lossRows(shown[at]) })
    : 'No training steps that AU counts, so no AU was lost.'));
}

function utilisation() {
  const { series } = R;
  const target = run.au_threshold_percentage, measured = series.au_percentage.some((value) => value !== null);
  const waiting = (series.waiting_percentage || []).some((value) => value !== null);
  plot('Accelerator utilisation', 'Shares of the training time of all ranks; no step left out.', { legend: measured ? [['compute', 'computation (AU)'], ...(waiting ? [['waiting', 'waiting for data']] : []), ...(target === null ? [] : [['bad', `target ${+target.toFixed(2)} %`, true]])] : [] },
    () => (measured ? perTime([{ color: 'compute', label: 'AU', values: series.au_percentage, format: percent }, ...(waiting ? [{ color: 'waiting', label: 'waiting', values: series.waiting_percentage, format: percent, bare: true }] : [])], 100, (x) => `${x} %`, { label: 'Accelerator utilisation over time', mark: target })
      : 'This run has no training steps, and therefore no AU.'));
}

const perTime = (lines, most, tick, extra) => overSlices({ slice: R.series.slice_seconds, group: 'time', lines, most, tick, ...extra });
const somewhere = (values) => (values || []).some((value) => value > 0);
function overTime() {
  section('time', 'Over time');
  const { series } = R, steady = R.steady;
  const moved = [['read', 'read', series.read_bytes_per_second], ['write', 'written', series.written_bytes_per_second]].filter(([, , values]) => somewhere(values));
  const warm = steady && steady.warm_up_seconds > 0 ? steady.warm_up_seconds : 0;
  const settled = steady ? ` ${warm ? `Grey: warm-up of ${seconds(warm)}; then` : 'Throughout'} ${rate(steady.bytes_per_second)} on average${steady.steady ? '' : ', not steady'} (deviation ${about(steady.variation_percentage)}).` : '';
  plot('Throughput', `Bytes of each operation spread over its duration.${settled}`, { legend: moved.map(([name, label]) => [name, label]) },
    () => (moved.length ? perTime(moved.map(([name, label, values]) => ({ color: name, label, values, format: rate })), 0, rateTick, { label: 'Throughput over time', binary: true, shade: warm })
      : 'No operation of this run transferred data.'));
  if (somewhere(series.operations_per_second)) {
    plot('Operations', 'Storage operations per second, spread over their duration.', {}, () => perTime([{ color: 'read', label: 'operations', values: series.operations_per_second, format: (x) => `${many(x)}/s` }], 0, (x) => (x ? `${many(x)}/s` : '0'), { label: 'Operations per second over time' }));
  }
  if (somewhere(series.in_flight)) {
    plot('In flight', 'Storage operations at a time, all ranks together.', {}, () => perTime([{ color: 'checkpoint', label: 'in flight', values: series.in_flight, format: (x) => `${+x.toFixed(2)}` }], 0, many, { label: 'Operations in flight over time' }));
  }
  if (somewhere(series.busy_percentage)) {
    plot('Storage in use', 'Share of the time with an operation in flight, mean over the ranks.', {}, () => perTime([{ color: 'evaluation', label: 'in use', values: series.busy_percentage, format: percent }], 100, (x) => `${x} %`, { label: 'Storage in use over time' }));
  }
  heat();
}

function heat() {
  const { ranks = [], slice_seconds: slice, read_bytes_per_second: reads = [], waiting_percentage: waits = [] } = R.heat || {};
  const largest = (rows) => rows.reduce((most, row) => row.reduce((high, value) => Math.max(high, value), most), 0);
  const kinds = [];
  if (largest(waits) > 0) kinds.push({ title: 'waiting for data', values: waits, most: 100, end: '100 %', name: 'waiting', format: (x) => `waiting ${percent(x)} of the time` });
  if (largest(reads) > 0) kinds.push({ title: 'throughput', values: reads, most: largest(reads), end: rate(largest(reads)), name: 'read', format: (x) => `read ${rate(x)}` });
  let at = 0;
  const ramp = h('div', { class: 'legend' });
  const label = () => {
    const bar = h('span', { class: 'ramp' });
    bar.style.background = `linear-gradient(to right, var(--ground), ${color(kinds[at].name)})`;
    ramp.replaceChildren(h('span', {}, '0', bar, kinds[at].end));
  };
  plot('Ranks over time', ranks.some((row) => row[0] !== row[1]) ? 'Each row is the mean of some neighbouring ranks.' : 'One row per rank.', { wide: true, above: ramp, choices: [['Quantity', kinds.map((kind) => kind.title), (chosen) => { at = chosen; }]] }, () => {
    if (!kinds.length) return 'No rank read anything or waited for data.';
    label();
    const kind = kinds[at];
    return heatMap({ label: `Ranks over time: ${kind.title}`, ranks, slice, group: 'time', values: kind.values, most: kind.most, name: kind.name, format: kind.format });
  });
}

const CYCLE = ['read', 'write', 'compute', 'checkpoint', 'client', 'evaluation', 'barrier', 'waiting'];
function latency() {
  section('latency', 'Latency');
  const error = R.method && R.method.percentile_error;
  const exact = error ? `Within ${about(100 * error)} of the exact value.` : 'Exact at 50, 90, 99 and 99.9 %, elsewhere within 0.4 %.';
  const kinds = (R.curves || []).filter((curve) => curve.latency.counts.length).map((curve) => ({ ...curve, total: curve.latency.counts.reduce((sum, value) => sum + value, 0) })).sort((one, other) => other.total - one.total);
  const distributions = [['all reads', R.read_latency, 'read'], ['all writes', R.write_latency, 'write'], ...kinds.map((curve) => [curve.op, curve.latency, 'checkpoint'])].filter(([, distribution]) => distribution.counts.length);
  let at = 0, logarithmic = false;
  plot('How long operations took', 'Operations by duration, every attempt counted.', { choices: [['Operations', distributions.map(([label]) => label), (chosen) => { at = chosen; }], ['Scale', ['linear', 'logarithmic'], (chosen) => { logarithmic = chosen === 1; }]] },
    () => (distributions.length ? histogram({ label: `Durations of ${distributions[at][0]}`, distribution: distributions[at][1], name: distributions[at][2], logarithmic }) : 'No storage operation in this run.'));
  const of = (report, suffix, dashed) => [['read', 'all reads', report.read_latency], ['write', 'all writes', report.write_latency]].filter(([, , distribution]) => distribution && distribution.counts.length)
    .map(([name, label, distribution]) => ({ color: name, label: `${label}${suffix}`, points: distribution.curve, base: dashed }));
  const curves = [...of(R, '', false), ...(base ? of(base, ' of the base', true) : []), ...kinds.slice(0, 6).map((curve, place) => ({ color: CYCLE[2 + place], label: curve.op, points: curve.latency.curve, hidden: true }))];
  if (!curves.some((curve) => !curve.hidden)) curves.forEach((curve) => { curve.hidden = false; });
  const toggles = h('div', { class: 'legend' });
  const shown = plot('Percentile curves', `${exact} The axis stretches towards the slowest operations. Names switch curves on and off.`, { above: toggles }, () => {
    const visible = curves.filter((curve) => !curve.hidden);
    if (!curves.length) return 'No storage operation in this run.';
    return percentileCurves({ label: 'Percentiles of durations', curves: visible.length ? visible : curves.slice(0, 1) });
  });
  for (const curve of curves) {
    const button = h('button', { type: 'button', 'aria-pressed': String(!curve.hidden) }, swatch(curve.color, curve.base), curve.label);
    button.addEventListener('click', () => {
      curve.hidden = !curve.hidden;
      button.setAttribute('aria-pressed', String(!curve.hidden));
      shown.again();
    });
    toggles.append(button);
  }
}

// Throughput and latency of ranks, hosts and endpoints.
const ROWS = 40;
function balance(title, rows, hidden) {
  const named = rows.map((row) => ({ label: row.label, flow: row.flow, moved: row.flow.read_bytes + row.flow.written_bytes }));
  const longest = [...named].sort((one, other) => other.flow.latency.p99_ns - one.flow.latency.p99_ns).slice(0, ROWS);
  const list = named.filter((row) => longest.includes(row)), left = named.length - list.length + hidden;
  const extra = left ? ` The ${list.length} with the longest 99 % latency; ${count(left)} more in report.json.` : '', even = list.length > 1 && !left;
  const most = Math.max(...named.map((row) => row.flow.bytes_per_second)), mean = named.reduce((sum, row) => sum + row.flow.bytes_per_second, 0) / named.length;
  plot(`Throughput per ${title}`, `Mean over the whole run${even ? '; dashed: an equal share' : ''}.${extra}`, { legend: [['read', 'read'], ['write', 'written']] }, () => (most > 0 ? rowsOf({
    label: `Throughput per ${title}`, domain: [0, most], fair: even ? mean : undefined, ticks: (frame) => valueTicks(frame.hi, true).filter((tick) => tick >= frame.lo).map((tick) => [tick, rateTick(tick)]),
    rows: list.map((row) => {
      const read = row.moved ? row.flow.bytes_per_second * row.flow.read_bytes / row.moved : 0;
      return { label: row.label, value: rate(row.flow.bytes_per_second), parts: [['read', 0, read], ['write', read, row.flow.bytes_per_second]],
        lines: [['read', `read ${bytes(row.flow.read_bytes)}`], ['write', `written ${bytes(row.flow.written_bytes)}`], `${plural(row.flow.operations, 'operation')}, ${plural(row.flow.errors, 'error')}`] };
    }),
  }) : 'No data were transferred.'));
  const timed = list.filter((row) => row.flow.latency.count > 0);
  const log = (value) => Math.log10(Math.max(value, 1));
  const low = Math.min(...timed.map((row) => log(row.flow.latency.p50_ns))), high = Math.max(...timed.map((row) => log(row.flow.latency.max_ns)));
  plot(`Latency per ${title}`, `Reads and writes.${extra}`, { legend: [['compute', 'median'], ['barrier', '99 %'], ['waiting', 'slowest']] }, () => (timed.length ? rowsOf({
    label: `Latency per ${title}`, domain: [low - 0.06, Math.max(high, low + 0.2) + 0.06], ticks: (frame) => logTicks(frame.lo, frame.hi).map((value) => [Math.log10(value), nanos(value, short)]),
    rows: timed.map(({ label, flow: { latency: found } }) => ({ label, value: `${nanos(found.p50_ns)} / ${nanos(found.p99_ns)}`, dots: [['compute', log(found.p50_ns)], ['barrier', log(found.p99_ns)], ['waiting', log(found.max_ns)]],
      lines: [['compute', `median ${nanos(found.p50_ns)}`], `90 %: ${nanos(found.p90_ns)}`, ['barrier', `99 %: ${nanos(found.p99_ns)}`], `99.9 %: ${nanos(found.p999_ns)}`, ['waiting', `slowest ${nanos(found.max_ns)}`]] })),
  }) : 'No reads or writes.'));
}
function balances() {
  section('balance', 'Balance');
  if (R.endpoints.length) balance('endpoint', R.endpoints.map((row) => ({ label: row.endpoint, flow: row.flow })), more.endpoints || 0);
  else card('Throughput per endpoint', null, {}, h('p', { class: 'empty' }, 'No operation named an endpoint.'));
  if (amount(R.hosts, 'hosts') > 1) balance('host', R.hosts.map((row) => ({ label: row.host || 'unnamed', flow: row.flow })), more.hosts || 0);
  if (amount(R.ranks, 'ranks') > 1) balance('rank', R.ranks.map((row) => ({ label: `rank ${row.rank}`, flow: row.flow })), more.ranks || 0);
  table('How even', 'Equal shares have a largest value of 1 × the mean and a Gini coefficient of 0.', ['quantity', 'largest by mean', 'Gini'], R.why.imbalance.map((row) => [row.quantity, row.max_by_mean.toFixed(2), row.gini.toFixed(3)]));
  table('Where the slowest 5 % of the reads are', 'Groups with more than their share of slow reads.', ['which', 'by', 'slow', 'reads', 'times its share'], R.why.stragglers.map((row) => [{ long: row.name }, row.by, count(row.slow), count(row.reads), row.factor.toFixed(1)]), { most: 24 });
}

function timeRows(rows, label) {
  return rows.filter((row) => row.total > 0).map((row) => {
    let from = 0;
    const parts = PARTS.map(([part]) => { const to = from + row[part] / row.total * 100; const bar = [part, from, to]; from = to; return bar; });
    return { label: label(row), value: trained ? about(100 * row.compute / row.total) : seconds(row.total), parts, lines: PARTS.filter(([part]) => row[part] > 0).map(([part, name]) => [part, `${name} ${about(100 * row[part] / row.total)}, ${seconds(row[part])}`]) };
  });
}
function steps() {
  section('steps', 'Epochs and steps');
  const used = (rows) => PARTS.filter(([part]) => rows.some((row) => row[part] > 0));
  const whereTo = (title, note, rows, label) => plot(title, note, { legend: used(rows) }, () => (rows.length ? rowsOf({ label: title, domain: [0, 100], ticks: plainTicks((x) => `${short(x)} %`), rows: timeRows(rows, label) }) : 'No epochs in this run.'));
  const left = more.epoch_times ? ` The last ${DATA.epoch_times.length}; ${plural(more.epoch_times, 'earlier one')} in report.json.` : '';
  whereTo('Where the time went, per epoch', `All ranks together${trained ? '; the number is the share of computation' : ''}.${left}`, DATA.epoch_times, (row) => `epoch ${row.epoch}`);
  if (DATA.rank_times.length > 1) whereTo('Where the time went, per rank', more.rank_times ? `The ${DATA.rank_times.length} ranks with the least computation of ${DATA.rank_times.length + more.rank_times}.` : 'All epochs together.', DATA.rank_times, (row) => `rank ${row.rank}`);
  const rows = R.steps || [];
  if (rows.length) {
    const title = (at) => `epoch ${rows[at].epoch}, ${rows[at].from === rows[at].to ? `step ${rows[at].from}` : `steps ${rows[at].from}–${rows[at].to}`}`;
    const ticks = (frame) => ticksOf(frame.lo, frame.hi, Math.max(1, niceStep(frame.hi - frame.lo, (frame.right - frame.left) / 90))).filter((at) => rows[at]).map((at) => [at, `${rows[at].epoch}/${rows[at].from}`]);
    const perStep = (label, lines, most, tick, mark) => () => overSlices({ label, slice: 1, group: 'steps', lines, most, tick, ticks, title, mark });
    plot('AU from step to step', 'All ranks; the axis shows epoch/step.', {}, perStep('AU from step to step', [{ color: 'compute', label: 'AU', values: rows.map((row) => row.au_percentage), format: percent }], 100, (x) => `${x} %`, run.au_threshold_percentage));
    plot('Waits from step to step', 'Waiting for the next batch.', { legend: [['waiting', 'mean of the ranks'], ['client', 'longest']] }, perStep('Waits from step to step', [{ color: 'client', label: 'longest', values: rows.map((row) => row.wait_ns_max), format: nanos, bare: true }, { color: 'waiting', label: 'mean', values: rows.map((row) => row.wait_ns), format: nanos }], 0, (x) => nanos(x, short)));
  }
  const slow = R.why.slow_steps;
  const mostly = (step) => LOSSES.map(([key, label]) => [step.parts[key], label]).sort((one, other) => other[0] - one[0])[0][1];
  if (slow.length) {
    table('Slowest steps', 'The object that took most of the wait. Colours as in “Where AU was lost”.', ['step', 'rank', 'wait', 'parts', 'mostly', 'object', 'endpoint'],
      slow.map((step) => [`${step.epoch}/${step.step}`, step.rank, nanos(step.wait), stack(LOSSES.map(([key, , blame]) => [blame, step.parts[key]]), step.wait), mostly(step), { long: step.object || '–' }, { long: step.endpoint || '–' }]), { most: 20 });
  } else card('Slowest steps', null, { wide: true }, h('p', { class: 'empty' }, trained ? 'No step of this run waited for data.' : 'No training steps.'));
  table('Ranks that the others waited for', null, ['rank', 'host', 'last at barriers', 'others waited', 'of its lateness: waiting for data'], R.why.critical_ranks.map((row) => [row.rank, row.host, count(row.steps), seconds(row.seconds), about(row.waiting_percentage)]), { lefts: 2, most: 16, more: more.critical_ranks });
  if (trained) checkpoints();
}
function checkpoints() {
  const rows = R.checkpoints || [];
  if (!rows.length) return;
  const shown = rows.slice(0, ROWS), left = rows.length - shown.length + (more.checkpoints || 0);
  const most = Math.max(...shown.map((row) => row.seconds_all));
  const gb = (x) => known(x, (value) => `${three(value)} GiB/s`);
  plot('Checkpoints', `From the first rank’s start to the last rank’s end.${left ? ` ${left} more in report.json.` : ''}`, { wide: true, legend: [['checkpoint', 'saved'], ['evaluation', 'loaded']] }, () => rowsOf({
    label: 'Checkpoints', domain: [0, most || 1], ticks: timeTicks,
    rows: shown.map((row) => ({ label: `${row.load ? 'load' : 'save'} ${row.number}, epoch ${row.epoch}`, value: row.gb_per_second_all === null ? seconds(row.seconds_all) : gb(row.gb_per_second_all), parts: [[row.load ? 'evaluation' : 'checkpoint', 0, row.seconds_all]],
      lines: [`${plural(row.ranks, 'rank')}: ${seconds(row.seconds_all)}, ${gb(row.gb_per_second_all)}`, `rank 0: ${known(row.seconds_rank0, seconds)}, ${gb(row.gb_per_second_rank0)}`, `fastest rank ${seconds(row.seconds_min)}, slowest ${seconds(row.seconds_max)}`] })),
  }));
}
