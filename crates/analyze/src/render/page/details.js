// Tables with all numbers, and the end of the page.
function details() {
  section('details', 'Numbers');
  const spread = new Map((DATA.epoch_ranks || []).map((row) => [row.epoch, row]));
  const ranked = amount(R.ranks, 'ranks') > 1;
  const end = (epoch, which) => { const row = spread.get(epoch); return row ? `${percent(row[which][1])} (rank ${row[which][0]})` : '–'; };
  table('Epochs', null, ['epoch', 'steps', 'AU', ...(ranked ? ['lowest', 'highest'] : []), 'samples/s', 'eval AU', 'time', 'read', 'rate', 'samples', 'twice', 'missing'],
    R.epochs.map((e) => [e.epoch, count(e.steps), e.steps ? percent(e.au_percentage) : '–', ...(ranked ? [end(e.epoch, 'lowest'), end(e.epoch, 'highest')] : []), three(e.samples_per_second), known(e.eval_au_percentage, percent), seconds(e.seconds),
      bytes(e.read_bytes), rate(e.read_bytes_per_second), count(e.coverage.distinct), count(e.coverage.duplicates), known(e.coverage.missing, count)]), { most: 100, more: more.epochs });
  const timesOf = (name, latency) => [name, count(latency.count), nanos(latency.mean_ns), nanos(latency.p50_ns), nanos(latency.p90_ns), nanos(latency.p99_ns), nanos(latency.p999_ns), known(latency.p9999_ns, nanos), nanos(latency.max_ns)];
  const timesHead = ['count', 'mean', 'p50', 'p90', 'p99', 'p99.9', 'p99.99', 'max'];
  const operations = R.operations.flatMap((o) => [
    [o.op, ...timesOf(o.size, o.latency), o.bytes ? bytes(o.bytes) : '', count(o.errors), count(o.retries)],
    ...[['first byte', o.first_byte], ['transfer', o.transfer]].filter(([, part]) => part).map(([name, part]) => ['', ...timesOf(name, part), '', '', '']),
  ]);
  table('Storage operations', 'One row per kind and size; every attempt counts. Below: its parts, where the first byte was measured.', ['op', 'size', ...timesHead, 'bytes', 'errors', 'retries'], operations, { lefts: 2, most: 120 });
  table('Spans of the run', null, ['span', ...timesHead], R.spans.map((o) => timesOf(o.op, o.latency)));
  const flow = (f) => [count(f.operations), bytes(f.read_bytes), bytes(f.written_bytes), rate(f.bytes_per_second), count(f.errors), nanos(f.latency.p50_ns), nanos(f.latency.p99_ns), nanos(f.latency.max_ns), f.first_byte ? nanos(f.first_byte.p50_ns) : '–', f.first_byte ? nanos(f.first_byte.p99_ns) : '–'];
  const flowHead = ['ops', 'read', 'written', 'rate', 'errors', 'p50', 'p99', 'max', 'first byte p50', 'p99'];
  table('Ranks', more.ranks ? 'The ranks with the lowest AU or rate.' : null, ['rank', 'host', 'AU', ...flowHead, 'trace'], R.ranks.map((r) => [r.rank, r.host || '–', known(r.au_percentage, percent), ...flow(r.flow), r.ending === 'unknown' || !r.ending ? (r.complete ? 'complete' : 'incomplete') : r.ending]), { lefts: 2, most: 128, more: more.ranks });
  table('Hosts', null, ['host', 'ranks', ...flowHead], R.hosts.map((row) => [row.host || '–', count(row.ranks), ...flow(row.flow)]), { most: 128, more: more.hosts });
  table('Endpoints', null, ['endpoint', ...flowHead], R.endpoints.map((row) => [{ long: row.endpoint }, ...flow(row.flow)]), { most: 128, more: more.endpoints });
  const gb = (x) => known(x, (value) => `${three(value)} GiB/s`);
  table('All checkpoints', 'The reference reports rank 0; the storage served all ranks.', ['epoch', '', 'number', 'ranks', 'rank 0', 'fastest', 'slowest', 'all', 'rate by rank 0', 'by all'], (R.checkpoints || []).map((c) => [c.epoch, c.load ? 'load' : 'save', c.number, c.ranks, known(c.seconds_rank0, seconds), seconds(c.seconds_min), seconds(c.seconds_max), seconds(c.seconds_all), gb(c.gb_per_second_rank0), gb(c.gb_per_second_all)]), { more: more.checkpoints });
  table('Computation and storage at the same time', 'From each rank’s first to its last step. λ·W: arrivals per second times mean duration; differs from “in flight” where the run is not steady.', ['rank', 'both', 'computation alone', 'storage alone', 'neither', 'in flight', 'most', 'λ·W'],
    R.why.overlap.map((row) => [row.rank, seconds(row.both), seconds(row.compute), seconds(row.io), seconds(row.neither), row.concurrency.toFixed(2), row.concurrency_max, row.little.toFixed(2)]), { most: 32, more: more.overlap });
  access();
  clocks();
  fidelity();
}

function access() {
  const cache = new Map((R.cache || []).map((row) => [row.epoch, row]));
  const digits = (value) => known(value, (x) => x.toFixed(3)), { reread_factor: again, sequential_percentage: inOrder } = R.why.access;
  const note = [known(again, (x) => `Every byte was read ${three(x)} times.`), known(inOrder, (x) => `${about(x)} of the reads began where the last one of the object had ended.`)].filter((text) => text !== '–').join(' ');
  const epochs = [...new Set([...(R.shuffle || []), ...(R.cache || [])].map((row) => row.epoch))];
  const orders = new Map((R.shuffle || []).map((row) => [row.epoch, row]));
  table('Order and cache', `${note} Correlations: 1 in order, 0 shuffled.`, ['epoch', 'with numbers', 'with the next', 'with the epoch before', 'same rank as before', 'read by several ranks', 'speed by first epoch', 'from memory'],
    epochs.map((epoch) => {
      const order = orders.get(epoch) || {}, speed = cache.get(epoch) || {};
      return [epoch, digits(order.with_numbers), digits(order.with_next), digits(order.with_before), known(order.kept_percentage, about), known(order.shared_percentage, about), known(speed.speed_by_first, (x) => `${three(x)} ×`), known(speed.from_memory_percentage, about)];
    }), { most: 40, more: more.shuffle });
}
function clocks() {
  const clock = R.clock || {}, rows = clock.ranks || [];
  if (rows.length + (more.clock_ranks || 0) < 2) return;
  const checked = clock.barriers ? `${plural(clock.barriers, 'barrier')} looked at: ${clock.violations ? `${count(clock.violations)} were left before the last rank came, by ${nanos(clock.worst_ns)} at most: the clocks of the ranks are wrong by that much` : 'nobody left one before the last rank came'}.` : '';
  table('Clocks', checked, ['rank', 'added', 'may be wrong by', 'changed until the end', 'drift'], rows.map((row) => [row.rank, seconds(row.offset_ns / 1e9), nanos(row.uncertainty_ns), known(row.moved_ns, (x) => seconds(x / 1e9)), `${+row.drift_ppm.toFixed(3)} ppm`]), { most: 32, more: more.clock_ranks });
}

const UNITS = { issue_error: nanos, think_error: nanos, bytes: bytes, stretched: nanos, duration: nanos, concurrency: three, interarrival: (x) => x.toFixed(4) };
function fidelity() {
  const found = R.fidelity;
  if (!found || typeof found !== 'object') return;
  const flat = Object.entries({ ...found, ...(found.metrics || {}) }).filter(([, value]) => value === null || ['number', 'string'].includes(typeof value));
  const form = (name, value) => {
    if (typeof value !== 'number') return known(value, String);
    const unit = name.endsWith('_ns') ? nanos : Object.entries(UNITS).find(([start]) => name.startsWith(start) && !name.endsWith('_ratio'));
    return typeof unit === 'function' ? unit(value) : unit ? unit[1](value) : Number.isInteger(value) ? count(value) : three(value);
  };
  table('How closely the trace was replayed', 'Issue error: when an operation was issued minus when it was due.', ['quantity', 'value'], flat.map(([name, value]) => [name.replace(/_ns$/, '').replaceAll('_', ' '), form(name, value)]), { most: 60 });
  const ranks = (Array.isArray(found.ranks) ? found.ranks : []).filter((row) => row && typeof row === 'object');
  const metric = (row, name) => (row.metrics ? row.metrics[name] : row[name]);
  const names = ['issue_error_p50', 'issue_error_p99', 'issue_error_max', 'inversions', 'operations_missing', 'bytes_missing'];
  table('Replay, rank by rank', null, ['rank', ...names.map((name) => name.replaceAll('_', ' '))], ranks.length > 1 ? ranks.map((row, at) => [row.rank === undefined ? at : row.rank, ...names.map((name) => form(name, metric(row, name)))]) : [], { more: more.fidelity_ranks });
}

function finish() {
  const method = R.method || {}, from = (method.estimated || []).length ? ` Estimated: ${method.estimated.join('; ')}.` : '';
  const left = method.streaming ? ` Rows were not retained: percentiles are within ${+(100 * method.percentile_error).toFixed(1)} %.${from}` : '';
  const command = run.argv.length ? `Command: ${run.argv.join(' ')}. ` : '';
  page.append(h('footer', {}, h('p', { class: 'hint' }, 'Plots: drag over a range, pinch, or use Ctrl and the wheel to zoom; a double click or Reset shows everything. Plots over time zoom together. With the keyboard: Tab to a plot, arrows read values, + and − zoom, 0 resets.'),
    h('p', {}, `${command}${trained ? 'AU and throughput follow DLIO: the first step of each block is left out, and two steps are taken off its count of samples.' : ''}${left} ${plural(run.events, 'row')} of ${plural(run.traces, 'trace')}.`)));
}

const PARTS_OF_PAGE = [['The head', head], ['The figures', figures], ['The comparison', comparison], ['The plots over time', overTime], ['Latency', latency], ['Balance', balances],
  ['Epochs and steps', steps], ['The numbers', details], ['The end', finish]];
// A run with AU begins with its lost AU, other runs with their checkpoints.
PARTS_OF_PAGE.splice(trained ? 3 : 7, 0, ['AU', () => { section('loss', 'AU'); losses(); utilisation(); }]);
if (!trained) PARTS_OF_PAGE.splice(3, 0, ['Checkpoints', () => { section('checkpoints', 'Checkpoints'); checkpoints(); }]);
for (const [name, part] of PARTS_OF_PAGE) {
  try { part(); } catch (error) { page.append(failed(name, error)); }
}
// A narrow card that is alone in its row takes the whole width.
for (const box of page.querySelectorAll('.grid')) {
  let alone = null;
  for (const one of box.children) {
    if (one.classList.contains('wide')) { if (alone) alone.classList.add('wide'); alone = null; } else alone = alone ? null : one;
  }
  if (alone) alone.classList.add('wide');
}
// Sections without a card are removed.
for (const title of page.querySelectorAll('h2')) {
  if (title.nextElementSibling && title.nextElementSibling.childElementCount === 0) { nav.querySelector(`a[href="#${title.id}"]`).remove(); title.nextElementSibling.remove(); title.remove(); }
}
const redraw = () => charts.forEach((again) => again());
redraw();
let drawnAt = page.clientWidth;
new ResizeObserver(() => {
  if (drawnAt === page.clientWidth) return;
  drawnAt = page.clientWidth;
  redraw();
}).observe(page);
window.addEventListener('scroll', hideTip, { passive: true });
window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
// The width differs in print.
const paper = (is) => { document.documentElement.classList.toggle('paper', is); redraw(); };
window.addEventListener('beforeprint', () => paper(true));
window.addEventListener('afterprint', () => paper(false));
document.documentElement.dataset.errors = failures;
document.documentElement.dataset.drawn = drawn;
