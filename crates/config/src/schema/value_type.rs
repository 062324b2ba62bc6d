//! Types of values, the checks of values, and the names of types in messages and in the configuration reference.

use crate::document::{Node, Value};
use crate::scalar;
use crate::similar_words;
use crate::workload::ColumnSelection;

/// Keys of a time specification.
pub(crate) const TIME_MEMBERS: &[&str] = &["type", "mean", "stdev", "min", "max", "shape", "scale", "lam"];

/// Type of the value of a key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum ValueType {
    Flag,
    /// A boolean, or the text `true` or `false`.
    FlagText,
    /// A whole number in a closed range. A float without a fraction is accepted.
    Whole {
        min: i64,
        max: i64,
    },
    /// A finite number in a closed range.
    Number {
        min: f64,
        max: f64,
    },
    Text,
    Secret,
    Word(&'static [&'static str]),
    /// One of the words. Booleans that YAML makes of bare `off` and `on` count as these words.
    Switch(&'static [&'static str]),
    /// A list of whole numbers with a minimum for each.
    Wholes {
        min: i64,
    },
    /// A list of texts, or one comma-separated text.
    Texts,
    /// A list of names, or a list of numbers counted from 0.
    Columns,
    Time,
    /// A value of any type.
    Free,
}

/// Returns the type of whole numbers from a minimum up to the largest unsigned 32-bit number.
pub(crate) const fn count32(min: i64) -> ValueType {
    ValueType::Whole { min, max: u32::MAX as i64 }
}

/// Returns the type of whole numbers with a minimum.
pub(crate) const fn count(min: i64) -> ValueType {
    ValueType::Whole { min, max: i64::MAX }
}

/// Longest emulated time in seconds. It is about thirty years and fits the nanoseconds of the clock.
pub(crate) const SECONDS_MAX: f64 = 1e9;

/// Largest record in bytes. A file of records must stay below 2^62 bytes.
pub(crate) const BYTES_MAX: f64 = 1_125_899_906_842_624.0;

/// Returns the type of times in seconds.
pub(crate) const fn seconds() -> ValueType {
    ValueType::Number { min: 0.0, max: SECONDS_MAX }
}

/// Returns the type of record sizes in bytes with a minimum.
pub(crate) const fn record_bytes(min: f64) -> ValueType {
    ValueType::Number { min, max: BYTES_MAX }
}

/// Returns the type of numbers with a minimum.
pub(crate) const fn at_least(min: f64) -> ValueType {
    ValueType::Number { min, max: f64::MAX }
}

impl ValueType {
    /// Describes the accepted values, to follow "expected" in a message.
    pub(crate) fn expected(self) -> String {
        match self {
            ValueType::Flag => "true or false".to_owned(),
            ValueType::FlagText => "true or false, as a boolean or in quotes".to_owned(),
            ValueType::Whole { min, max } => {
                format!("a whole number {}", range(&min, &max, min == i64::MIN, max == i64::MAX))
            }
            ValueType::Number { min, max } => {
                format!("a number {}", range(&min, &max, min <= f64::MIN, max >= f64::MAX))
            }
            ValueType::Text => "text".to_owned(),
            ValueType::Secret => "text (not shown)".to_owned(),
            ValueType::Word(words) | ValueType::Switch(words) => format!("one of {}", words.join(", ")),
            ValueType::Wholes { min } => format!("a list of whole numbers ≥ {min}"),
            ValueType::Texts => "a list of texts, or one text with commas".to_owned(),
            ValueType::Columns => "a list of column names or of column numbers".to_owned(),
            ValueType::Time => "seconds as a number, or a mapping such as {mean: 0.1, stdev: 0.01}".to_owned(),
            ValueType::Free => "anything".to_owned(),
        }
        .trim_end()
        .to_owned()
    }

    /// Checks a value that is not null; the error is the message.
    pub(crate) fn check(self, node: &Node) -> Result<(), String> {
        let fits = match self {
            ValueType::Flag => flag(node).is_some(),
            ValueType::FlagText => flag_text(node).is_some(),
            ValueType::Whole { min, max } => whole(node).is_some_and(|n| i128::from(min) <= n && n <= i128::from(max)),
            ValueType::Number { min, max } => number(node).is_some_and(|n| (min..=max).contains(&n)),
            ValueType::Text | ValueType::Secret => text(node).is_some(),
            ValueType::Word(words) => word(node).is_some_and(|found| words.contains(&found.as_str())),
            ValueType::Switch(words) => switch(node).is_some_and(|found| words.contains(&found.as_str())),
            ValueType::Wholes { min } => wholes(node).is_some_and(|all| all.iter().all(|&n| n >= i128::from(min))),
            ValueType::Texts => texts(node).is_some(),
            ValueType::Columns => columns(node).is_some(),
            ValueType::Time => return time(node),
            ValueType::Free => true,
        };
        if fits { Ok(()) } else { Err(self.refusal(node)) }
    }

    fn refusal(self, node: &Node) -> String {
        if self == ValueType::Secret {
            return "expected text; the value is not shown".to_owned();
        }
        let mut message = format!("expected {}, found {}", self.expected(), node.value.found());
        if let (ValueType::Word(words) | ValueType::Switch(words), Value::Text(found)) = (self, &node.value)
            && let Some(near) = similar_words::word(found, words)
        {
            message.extend([" (did you mean ", near, "?)"]);
        }
        if let (ValueType::Whole { .. } | ValueType::Number { .. }, Value::Text(found)) = (self, &node.value)
            && matches!(scalar::yaml(found), Value::Int(_) | Value::Float(_))
        {
            message.push_str("; remove the quotes");
        }
        if let (ValueType::Word(_), Value::Bool(_)) = (self, &node.value) {
            message.push_str("; unquoted off, no, on and yes are booleans in YAML: quote the word");
        }
        message
    }
}

fn range(min: &dyn std::fmt::Display, max: &dyn std::fmt::Display, no_min: bool, no_max: bool) -> String {
    match (no_min, no_max) {
        (true, true) => String::new(),
        (false, true) => format!("≥ {min}"),
        (true, false) => format!("≤ {max}"),
        (false, false) => format!("from {min} to {max}"),
    }
}

/// Returns the value that text from the environment would have without quotes; other values are unchanged.
fn plain(node: &Node) -> std::borrow::Cow<'_, Value> {
    match &node.value {
        Value::Text(text) if node.from_environment => std::borrow::Cow::Owned(scalar::yaml(text.trim())),
        value => std::borrow::Cow::Borrowed(value),
    }
}

pub(crate) fn flag(node: &Node) -> Option<bool> {
    match *plain(node) {
        Value::Bool(flag) => Some(flag),
        _ => None,
    }
}

pub(crate) fn flag_text(node: &Node) -> Option<bool> {
    match &*plain(node) {
        Value::Bool(flag) => Some(*flag),
        Value::Text(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::Text(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

pub(crate) fn whole(node: &Node) -> Option<i128> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match *plain(node) {
        Value::Int(number) => Some(number),
        #[expect(clippy::cast_possible_truncation, reason = "integral and within ±2^53")]
        Value::Float(number) if number.fract() == 0.0 && number.abs() <= EXACT => Some(number as i128),
        _ => None,
    }
}

pub(crate) fn number(node: &Node) -> Option<f64> {
    match *plain(node) {
        Value::Int(number) => Some(number as f64),
        Value::Float(number) if number.is_finite() => Some(number),
        _ => None,
    }
}

/// Returns the text. A bare number or boolean becomes the text that Python prints for it (`file_prefix: 12`).
pub(crate) fn text(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        Value::Float(number) => Some(format!("{number:?}")),
        Value::Bool(flag) => Some(if *flag { "True" } else { "False" }.to_owned()),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}

pub(crate) fn word(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    }
}

/// Returns a word. Booleans that YAML makes of bare words become `off` and `on`.
pub(crate) fn switch(node: &Node) -> Option<String> {
    match &node.value {
        Value::Bool(flag) => Some(if *flag { "on" } else { "off" }.to_owned()),
        Value::Text(text) => Some(text.clone()),
        _ => None,
    }
}

pub(crate) fn wholes(node: &Node) -> Option<Vec<i128>> {
    match &node.value {
        Value::List(items) => items.iter().map(whole).collect(),
        _ => None,
    }
}

pub(crate) fn texts(node: &Node) -> Option<Vec<String>> {
    match &node.value {
        Value::List(items) => items.iter().map(text).collect(),
        Value::Text(joined) => {
            Some(joined.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect())
        }
        _ => None,
    }
}

pub(crate) fn columns(node: &Node) -> Option<ColumnSelection> {
    let Value::List(items) = &node.value else { return None };
    let number = |item: &Node| whole(item).and_then(|number| u64::try_from(number).ok());
    if let Some(numbers) = items.iter().map(number).collect() {
        return Some(ColumnSelection::Indices(numbers));
    }
    items.iter().map(word).collect::<Option<Vec<_>>>().map(ColumnSelection::Names)
}

/// Checks a time: a number, a mapping with numbers, or text, which the reference ignores.
fn time(node: &Node) -> Result<(), String> {
    let sane = |n: f64| n.abs() <= SECONDS_MAX;
    let wrong = |what: &str, node: &Node| {
        Err(format!("{what}expected at most {SECONDS_MAX:e} seconds, found {}", node.value.found()))
    };
    match number(node) {
        Some(seconds) if !sane(seconds) => return wrong("", node),
        Some(_) => return Ok(()),
        None if matches!(node.value, Value::Text(_)) => return Ok(()),
        None => {}
    }
    let Value::Map(map) = &node.value else {
        return Err(format!("expected {}, found {}", ValueType::Time.expected(), node.value.found()));
    };
    for (name, member) in map.iter().filter(|(_, member)| member.value != Value::Null) {
        match name {
            "type" if text(member).is_none() => {
                return Err(format!("type: expected a word, found {}", member.value.found()));
            }
            "stdev" | "scale" | "lam" | "shape" if number(member).is_none_or(|n| n < 0.0) => {
                return Err(format!("{name}: expected a number ≥ 0, found {}", member.value.found()));
            }
            "mean" | "min" | "max" if number(member).is_none() => {
                return Err(format!("{name}: expected a number, found {}", member.value.found()));
            }
            "type" => {}
            _ if number(member).is_some_and(|n| !sane(n)) => return wrong(&format!("{name}: "), member),
            _ => {}
        }
    }
    Ok(())
}
