// Sections, cards and tables.
const charts = [];
const nav = h('nav', { 'aria-label': 'Sections' });
let grid = null;
function section(id, title) {
  nav.append(h('a', { href: `#${id}` }, title));
  grid = h('div', { class: 'grid' });
  page.append(h('h2', { id }, title), grid);
}
function card(title, note, options, ...children) {
  const bar = h('div', { class: 'bar' }, h('h3', {}, title));
  const box = h('section', { class: options.wide ? 'card wide' : 'card', 'aria-label': title }, bar, note ? h('p', { class: 'soft' }, note) : null, ...children);
  grid.append(box);
  return [box, bar];
}
function choice(bar, label, names, choose) {
  const select = h('select', { 'aria-label': label }, ...names.map((name, at) => h('option', { value: at }, name)));
  select.addEventListener('change', () => choose(Number(select.value)));
  bar.append(select);
}
const swatch = (name, dashed) => { const mark = h('i', dashed ? { class: 'dash' } : {}); mark.style.background = color(name); return mark; };
const legendOf = (entries) => h('div', { class: 'legend' }, ...entries.map(([name, label, dashed]) => h('span', {}, swatch(name, dashed), label)));

/// A card with a plot. `make` returns the plot's description, or a sentence that explains why there is nothing to draw.
/// `options`: wide, legend, choices [[label, names, set]], above (an element over the plot).
function plot(title, note, options, make) {
  const target = h('div', {});
  const [box, bar] = card(title, note, options, options.legend && options.legend.length ? legendOf(options.legend) : null, options.above, target);
  let chart = null;
  const guarded = (work) => {
    try { work(); } catch (error) { chart = null; target.replaceChildren(failed(title, error)); }
  };
  const use = () => guarded(() => {
    const spec = make();
    if (typeof spec === 'string') { target.replaceChildren(h('p', { class: 'empty' }, spec)); box.classList.add('nothing'); return; }
    if (chart) { chart.use(spec); chart.draw(); return; }
    const zoom = [['+', 'Zoom in', () => chart.zoomBy(0.5), false], ['−', 'Zoom out', () => chart.zoomBy(2), true], ['Reset', 'Show everything', () => chart.reset(), true]];
    const buttons = zoom.map(([text, name, work, needs]) => {
      const button = h('button', { type: 'button', 'aria-label': `${name}: ${title}` }, text);
      button.addEventListener('click', work);
      return [button, needs];
    });
    (options.choices || []).filter(([, names]) => names.length > 1).forEach(([label, names, set]) => choice(bar, label, names, (at) => { set(at); use(); }));
    bar.append(h('div', { class: 'zoom' }, ...buttons.map(([button]) => button)));
    chart = new Chart(target, spec, buttons);
    charts.push(() => guarded(() => { if (chart) { chart.use(make()); chart.draw(); } }));
    chart.draw();
    drawn += 1;
  });
  use();
  return { again: use };
}

/// A table of at most `most` rows, followed by the number of omitted ones. A cell is text, an element, or { long: text }.
function table(title, note, head, rows, options) {
  const { lefts = 1, most = 64, more = 0 } = options || {};
  if (!rows.length) return;
  const lines = new Set(rows[0].flatMap((content, at) => (content && (content.long !== undefined || content instanceof Node) ? [at] : [])));
  const cell = (tag) => (content, at) => {
    const long = content && content.long !== undefined;
    const named = long ? 'long left' : at < lefts || lines.has(at) ? 'left' : null;
    return h(tag, { class: named, scope: tag === 'th' ? 'col' : null }, long ? content.long : content instanceof Node ? content : String(content));
  };
  const hidden = Math.max(rows.length - most, 0) + more;
  card(title, note, { wide: true },
    h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': `${title}: table` }, h('table', {},
      h('thead', {}, h('tr', {}, ...head.map(cell('th')))),
      h('tbody', {}, ...rows.slice(0, most).map((row) => h('tr', {}, ...row.map(cell('td'))))))),
    hidden ? h('p', { class: 'soft' }, `${plural(hidden, 'more row')}; report.json has all.`) : null);
}
function stack(parts, whole) {
  const bar = h('span', { class: 'stack', 'aria-hidden': 'true' });
  for (const [name, amount] of parts) {
    const part = h('i', {});
    part.style.background = color(name);
    part.style.width = `${100 * amount / (whole || 1)}%`;
    bar.append(part);
  }
  return bar;
}
