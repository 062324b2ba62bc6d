//! Writes a tree as YAML in the form in which OmegaConf prints configurations: block style, an indent of two blanks,
//! quotes only around texts that would otherwise be read as another type, and long texts folded after column 80.
//!
//! Invariant: the output parses into the same tree.

use std::fmt::Write as _;

use crate::document::{Map, Node, Value};
use crate::scalar;

const COLUMN_MAX: usize = 80;
const BREAKS: [char; 4] = ['\n', '\u{85}', '\u{2028}', '\u{2029}'];

/// Formats a tree as YAML, with a final newline.
pub(crate) fn document(node: &Node) -> String {
    let mut emitter = Emitter::default();
    match &node.value {
        Value::Map(map) if !map.is_empty() => emitter.mapping(map, 0),
        Value::List(items) if !items.is_empty() => emitter.list(items, 0),
        value => {
            emitter.scalar(value, 0);
            emitter.out.push('\n');
        }
    }
    emitter.out
}

#[derive(Default)]
struct Emitter {
    out: String,
}

impl Emitter {
    fn mapping(&mut self, map: &Map, indent: usize) {
        for (position, (name, node)) in map.iter().enumerate() {
            if position > 0 || self.column() == 0 {
                self.pad(indent);
            }
            self.key(name);
            self.out.push(':');
            match &node.value {
                Value::Map(inner) if !inner.is_empty() => {
                    self.out.push('\n');
                    self.mapping(inner, indent + 2);
                }
                // A list under a key is indented to the column of the key.
                Value::List(items) if !items.is_empty() => {
                    self.out.push('\n');
                    self.list(items, indent);
                }
                value => {
                    self.out.push(' ');
                    self.scalar(value, indent + 2);
                    self.out.push('\n');
                }
            }
        }
    }

    fn list(&mut self, items: &[Node], indent: usize) {
        for (position, node) in items.iter().enumerate() {
            if position > 0 || self.column() == 0 {
                self.pad(indent);
            }
            self.out.push_str("- ");
            match &node.value {
                Value::Map(inner) if !inner.is_empty() => self.mapping(inner, indent + 2),
                Value::List(inner) if !inner.is_empty() => self.list(inner, indent + 2),
                value => {
                    self.scalar(value, indent + 2);
                    self.out.push('\n');
                }
            }
        }
    }

    fn key(&mut self, name: &str) {
        match Style::of(name) {
            Style::Plain => self.out.push_str(name),
            Style::Single => {
                let _ = write!(self.out, "'{}'", name.replace('\'', "''"));
            }
            Style::Double => {
                self.out.push('"');
                name.chars().for_each(|c| escape(c, &mut self.out));
                self.out.push('"');
            }
        }
    }

    fn scalar(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Null => self.out.push_str("null"),
            Value::Bool(flag) => self.out.push_str(if *flag { "true" } else { "false" }),
            Value::Int(number) => {
                let _ = write!(self.out, "{number}");
            }
            Value::Float(number) => self.out.push_str(&float(*number)),
            Value::List(_) => self.out.push_str("[]"),
            Value::Map(_) => self.out.push_str("{}"),
            Value::Text(text) => match Style::of(text) {
                Style::Plain => self.plain(text, indent),
                Style::Single => self.single(text, indent),
                Style::Double => self.double(text, indent),
            },
        }
    }

    /// Writes words; a single blank beyond the last column becomes a newline.
    fn plain(&mut self, text: &str, indent: usize) {
        for (position, run) in runs(text).enumerate() {
            if run == " " && position > 0 && self.column() > COLUMN_MAX {
                self.new_line(indent);
            } else {
                self.out.push_str(run);
            }
        }
    }

    fn single(&mut self, text: &str, indent: usize) {
        self.out.push('\'');
        let mut seen = 0;
        for run in runs(text) {
            let (first, last) = (seen == 0, seen + run.len() == text.len());
            seen += run.len();
            if run == " " && self.column() > COLUMN_MAX && !first && !last {
                self.new_line(indent);
            } else if run.starts_with(BREAKS) {
                // The first newline of a run is doubled because YAML folds a single one into a blank.
                if run.starts_with('\n') {
                    self.out.push('\n');
                }
                self.out.push_str(run);
                self.pad(indent);
            } else {
                self.out.push_str(&run.replace('\'', "''"));
            }
        }
        self.out.push('\'');
    }

    fn double(&mut self, text: &str, indent: usize) {
        let chars: Vec<char> = text.chars().collect();
        self.out.push('"');
        let mut pending = String::new();
        for (at, &c) in chars.iter().enumerate() {
            let special = needs_escape(c);
            if special {
                self.out.push_str(&pending);
                pending.clear();
                escape(c, &mut self.out);
            }
            let inside = at > 0 && at + 1 < chars.len();
            let width = self.column() + pending.chars().count();
            if inside && (c == ' ' || special) && width > COLUMN_MAX {
                self.out.push_str(&pending);
                pending.clear();
                self.out.push('\\');
                self.new_line(indent);
                let next = if special { chars.get(at + 1) } else { Some(&c) };
                if next == Some(&' ') {
                    self.out.push('\\');
                }
            }
            if !special {
                pending.push(c);
            }
        }
        self.out.push_str(&pending);
        self.out.push('"');
    }

    fn new_line(&mut self, indent: usize) {
        self.out.push('\n');
        self.pad(indent);
    }

    fn pad(&mut self, indent: usize) {
        self.out.extend(std::iter::repeat_n(' ', indent));
    }

    fn column(&self) -> usize {
        let line = self.out.rfind('\n').map_or(0, |at| at + 1);
        self.out[line..].chars().count()
    }
}

/// Splits text into runs of blanks, runs of newlines, and the rest.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    let kind = |c: char| {
        if c == ' ' {
            0
        } else if BREAKS.contains(&c) {
            1
        } else {
            2
        }
    };
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = kind(rest.chars().next()?);
        let end = rest.find(|c| kind(c) != first).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        rest = after;
        Some(run)
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
}

impl Style {
    fn of(text: &str) -> Self {
        let shape = Shape::of(text);
        if !shape.single {
            return Self::Double;
        }
        let reads_as_text = scalar::yaml(text) == Value::Text(text.to_owned()) && !other_type(text);
        if shape.plain && reads_as_text && !text.is_empty() { Self::Plain } else { Self::Single }
    }
}

/// Returns whether YAML 1.1 gives the word a type that configurations do not have: dates, `<<`, `=`, and number formats
/// of other languages.
fn other_type(text: &str) -> bool {
    let date = || {
        let mut parts = text.split('-');
        let all = |part: Option<&str>, lengths: &[usize]| {
            part.is_some_and(|part| lengths.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit()))
        };
        all(parts.next(), &[4])
            && all(parts.next(), &[1, 2])
            && parts.next().is_some_and(|day| day.starts_with(|c: char| c.is_ascii_digit()))
    };
    // OmegaConf quotes every text that Python's int() and float() accept, and booleans in any case.
    let lower = text.trim().to_ascii_lowercase();
    let number = lower.replace('_', "");
    let unsigned = number.trim_start_matches(['+', '-']);
    let numeric = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') && number.parse::<f64>().is_ok();
    let boolean = matches!(lower.as_str(), "y" | "yes" | "n" | "no" | "true" | "false" | "on" | "off");
    let special = matches!(unsigned, "nan" | "inf" | "infinity");
    date() || numeric || boolean || special || matches!(text, "<<" | "=")
}

/// Quoting styles that a text allows.
struct Shape {
    plain: bool,
    single: bool,
}

impl Shape {
    fn of(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let blank = |c: Option<&char>| c.is_none_or(|c| " \t\r\n\0\u{85}\u{2028}\u{2029}".contains(*c));
        let mut indicator = text.starts_with("---") || text.starts_with("...");
        let (mut broken, mut special) = (false, false);
        let (mut blank_then_break, mut break_then_blank) = (false, false);
        for (at, &c) in chars.iter().enumerate() {
            let before = at.checked_sub(1).and_then(|at| chars.get(at));
            let followed_by_blank = blank(chars.get(at + 1));
            indicator |= match c {
                '#' => at == 0 || blank(before),
                ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => at == 0,
                '?' | '-' => at == 0 && followed_by_blank,
                ':' => followed_by_blank,
                _ => false,
            };
            let is_break = BREAKS.contains(&c);
            broken |= is_break;
            special |= !(c == '\n' || (' '..='~').contains(&c) || wide(c));
            blank_then_break |= is_break && before == Some(&' ');
            break_then_blank |= c == ' ' && before.is_some_and(|before| BREAKS.contains(before));
        }
        let edge = |c: Option<&char>| c.is_some_and(|c| *c == ' ' || BREAKS.contains(c));
        let loose = edge(chars.first()) || edge(chars.last());
        let single = !(blank_then_break || break_then_blank || special);
        Self { plain: single && !loose && !broken && !indicator, single }
    }
}

/// Returns whether a character beyond ASCII is printable.
fn wide(c: char) -> bool {
    c == '\u{85}' || ('\u{a0}'..='\u{d7ff}').contains(&c) || (c >= '\u{e000}' && c != '\u{feff}' && c < '\u{10ffff}')
}

fn needs_escape(c: char) -> bool {
    let printable = (' '..='~').contains(&c) || (wide(c) && c <= '\u{fffd}');
    matches!(c, '"' | '\\' | '\u{85}' | '\u{2028}' | '\u{2029}') || !printable
}

fn escape(c: char, out: &mut String) {
    if !needs_escape(c) {
        out.push(c);
        return;
    }
    let short = match c {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' => '"',
        '\\' => '\\',
        '\u{85}' => 'N',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        _ => {
            let _ = match u32::from(c) {
                code @ 0..=0xff => write!(out, "\\x{code:02X}"),
                code @ 0x100..=0xffff => write!(out, "\\u{code:04X}"),
                code => write!(out, "\\U{code:08X}"),
            };
            return;
        }
    };
    out.push('\\');
    out.push(short);
}

/// Formats a float as Python prints it, with the point that YAML 1.1 requires before an exponent.
pub(crate) fn float(number: f64) -> String {
    if number.is_nan() {
        return ".nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let text = python_float(number);
    if text.contains('e') && !text.contains('.') { text.replacen('e', ".0e", 1) } else { text }
}

/// Formats a finite float as Python's `repr` does: with the fewest digits that identify it, and at least two digits in
/// an exponent.
#[must_use]
pub fn python_float(number: f64) -> String {
    let text = format!("{number:?}");
    match text.split_once('e') {
        None => text,
        Some((mantissa, exponent)) => {
            let mantissa = mantissa.strip_suffix(".0").unwrap_or(mantissa);
            let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
            format!("{mantissa}e{sign}{digits:0>2}")
        }
    }
}
