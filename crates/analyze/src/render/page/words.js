'use strict';
// Elements, numbers with units, and the only place that shows errors. Text from a trace always becomes a text
// node or an attribute's value, never markup.
const DATA = JSON.parse(document.getElementById('data').textContent);
const R = DATA.report;
const page = document.getElementById('page');
page.textContent = '';

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ''));
  return element;
}
const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const s = (tag, attributes, ...children) => fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
const color = (name) => `var(--${name})`;

// Numbers: three significant digits and a unit.
const three = (x) => (Math.abs(x) < 10 ? x.toFixed(2) : Math.abs(x) < 100 ? x.toFixed(1) : x.toFixed(0));
// Axis labels without trailing zeros.
const short = (x) => String(+three(x));
function scaled(x, base, units) {
  let unit = 0;
  while (Math.abs(x) >= base && unit < units.length - 1) { x /= base; unit += 1; }
  return [x, units[unit]];
}
const BYTES = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
function bytes(x, digits) {
  const [value, unit] = scaled(x, 1024, BYTES);
  return `${unit === 'B' ? value.toFixed(0) : (digits || three)(value)}\u00a0${unit}`;
}
const rate = (x) => `${bytes(x)}/s`;
const rateTick = (x) => (x === 0 ? '0' : `${bytes(x, short)}/s`);
function nanos(x, digits) {
  if (x === 0) return '0\u00a0s';
  const form = digits || three;
  if (x < 1e3) return `${+x.toFixed(1)}\u00a0ns`;
  if (x < 1e6) return `${form(x / 1e3)}\u00a0µs`;
  if (x < 1e9) return `${form(x / 1e6)}\u00a0ms`;
  return seconds(x / 1e9, digits);
}
function seconds(x, digits) {
  if (x < 0) return `−${seconds(-x, digits)}`;
  if (x === 0) return '0\u00a0s';
  if (x < 1) return nanos(x * 1e9, digits);
  if (x < 120) return `${(digits || three)(x)}\u00a0s`;
  const whole = Math.round(x);
  if (whole < 7200) return `${Math.floor(whole / 60)}\u00a0m\u00a0${String(whole % 60).padStart(2, '0')}\u00a0s`;
  return `${Math.floor(whole / 3600)}\u00a0h\u00a0${String(Math.floor(whole / 60) % 60).padStart(2, '0')}\u00a0m`;
}
const count = (x) => String(Math.round(x)).replace(/\B(?=(\d{3})+$)/g, '\u202f');
function many(x) {
  if (x < 1e4) return String(+x.toFixed(x < 10 ? 2 : 0));
  const [value, unit] = scaled(x, 1000, ['', 'k', 'M', 'G']);
  return `${short(value)}${unit}`;
}
const percent = (x) => `${x.toFixed(2)}\u00a0%`;
const about = (x) => `${Math.abs(x) < 9.95 ? x.toFixed(1) : x.toFixed(0)}\u00a0%`;
const signed = (x) => `${x > 0 ? '+' : x < 0 ? '−' : '±'}${Math.abs(x).toFixed(2)}\u00a0%`;
const plural = (number, one, more) => `${count(number)} ${number === 1 ? one : more || `${one}s`}`;
const known = (value, format) => (value === null || value === undefined ? '–' : format(value));

// A part that cannot be drawn is reported on the page, and counted for tests.
let drawn = 0;
let failures = 0;
function failed(where, error) {
  failures += 1;
  document.documentElement.dataset.errors = failures;
  console.error(where, error);
  return h('p', { class: 'empty' }, `${where} could not be drawn: ${error.message}. report.json has the numbers.`);
}
