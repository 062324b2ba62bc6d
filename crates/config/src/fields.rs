//! Typed access to the tree by key path. [`crate::inspect`] has already checked types and ranges. A value that it
//! refused reads as the default of its key here, so one pass finds all problems of a file.

use std::cell::OnceCell;

use crate::document::{Node, Value};
use crate::error::{Place, Problem};
use crate::inactive_keys::{self, Features};
use crate::notice::{Notice, NoticeCode};
use crate::schema::{self, DefaultValue, Key, ValueType, value_type};
use crate::time::TimeSpec;
use crate::units;
use crate::vocabulary::Dialect;

/// The tree below `workload`, with the problems and notices found so far.
pub(crate) struct Fields<'a> {
    root: &'a Node,
    /// The whole file: the place of problems with absent keys.
    file: Place,
    /// Name of the reader section that is in force: `reader` or `data_reader`.
    reader: &'static str,
    pub(crate) dialect: Dialect,
    pub(crate) problems: Vec<Problem>,
    pub(crate) notices: Vec<Notice>,
    features: OnceCell<Features>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(root: &'a Node, file: Place, dialect: Dialect) -> Self {
        let reader = if root.at(&["data_reader"]).is_some() { "data_reader" } else { "reader" };
        let (problems, notices) = (Vec::new(), Vec::new());
        Self { root, file, reader, dialect, problems, notices, features: OnceCell::new() }
    }

    pub(crate) fn root(&self) -> &'a Node {
        self.root
    }

    /// Returns the features that the workload switches on.
    pub(crate) fn features(&self) -> Features {
        *self.features.get_or_init(|| Features::of(self))
    }

    /// Formats a key and its value for the error of another key: `framework: tensorflow`, or `tensorflow, the default
    /// of framework` if the user did not write the key.
    pub(crate) fn key_with_value(&self, path: &str, value: &dyn std::fmt::Display) -> String {
        let key = self.as_written(path);
        if self.given(path).is_some() { format!("{key}: {value}") } else { format!("{value}, the default of {key}") }
    }

    /// Returns the key as the user wrote it.
    pub(crate) fn as_written(&self, path: &str) -> String {
        match path.strip_prefix("reader.") {
            Some(rest) => format!("{}.{rest}", self.reader),
            None => path.to_owned(),
        }
    }

    /// Returns the node of a key, even if its value is null.
    pub(crate) fn node(&self, path: &str) -> Option<&'a Node> {
        let written = self.as_written(path);
        self.root.at(&written.split('.').collect::<Vec<_>>())
    }

    /// Returns the node of a key whose value is not null.
    pub(crate) fn given(&self, path: &str) -> Option<&'a Node> {
        self.node(path).filter(|node| node.value != Value::Null)
    }

    pub(crate) fn place(&self, path: &str) -> Place {
        self.node(path).map_or(Place::Default, |node| node.place.clone())
    }

    /// Reports a problem with the value of a key. If the key belongs to a feature that is off, the problem becomes a
    /// notice.
    pub(crate) fn refuse(&mut self, path: &str, message: impl Into<String>) {
        let place = match self.place(path) {
            Place::Default => self.file.clone(),
            place => place,
        };
        let mut message = message.into();
        if self.given(path).is_none()
            && let Some(key) = schema::find(path)
        {
            let default = match key.default {
                DefaultValue::Unset => String::new(),
                default => ["; its default: ", &default.plain()].concat(),
            };
            message.extend([" (the key is absent", &default, ")"]);
        }
        self.refuse_at(path, Problem::new(&place, self.as_written(path), message));
    }

    /// Like [`refuse`](Self::refuse), for a problem with a part of the value.
    pub(crate) fn refuse_at(&mut self, path: &str, problem: Problem) {
        match inactive_keys::off(self, path).or_else(|| inactive_keys::any_word(self, path)) {
            None => self.problems.push(problem),
            Some(why) => {
                let text = format!("{problem}; not used, as {why}");
                self.notices.push(Notice::warning(NoticeCode::Suspicious, text));
            }
        }
    }

    /// Adds an informational notice about a key, with its place in front.
    pub(crate) fn note(&mut self, code: NoticeCode, path: &str, text: &str) {
        let text = self.located(path, text);
        self.notices.push(Notice::info(code, text));
    }

    /// Adds a warning about a key, with its place in front.
    pub(crate) fn warn(&mut self, code: NoticeCode, path: &str, text: &str) {
        let text = self.located(path, text);
        self.notices.push(Notice::warning(code, text));
    }

    fn located(&self, path: &str, text: &str) -> String {
        let key = self.as_written(path);
        match self.place(path) {
            Place::Default => format!("{key}: {text}"),
            place => format!("{place}: {key}: {text}"),
        }
    }

    fn key(path: &str) -> Option<&'static Key> {
        let key = schema::find(path);
        debug_assert!(key.is_some(), "{path} is not in the schema");
        key
    }

    /// Returns the node of a key if the dialect has the key and the schema accepts the value.
    pub(crate) fn accepted(&self, path: &str) -> Option<&'a Node> {
        let key = Self::key(path).filter(|key| key.dialects.contains(&self.dialect))?;
        self.given(path).filter(|node| key.kind.check(node).is_ok())
    }

    pub(crate) fn flag(&self, path: &str) -> bool {
        let preset = || matches!(Self::key(path).map(|key| key.default), Some(DefaultValue::Flag(true)));
        self.flag_or_none(path).unwrap_or_else(preset)
    }

    pub(crate) fn flag_or_none(&self, path: &str) -> Option<bool> {
        let node = self.accepted(path)?;
        value_type::flag(node).or_else(|| value_type::flag_text(node))
    }

    /// Returns a whole number. The range in the schema must fit the type.
    pub(crate) fn whole<T: TryFrom<i128> + Default>(&self, path: &str) -> T {
        let preset = match Self::key(path).map(|key| key.default) {
            Some(DefaultValue::Whole(number)) => i128::from(number),
            _ => 0,
        };
        let number = self.accepted(path).and_then(value_type::whole).unwrap_or(preset);
        debug_assert!(T::try_from(number).is_ok(), "{path}: the range of the schema is wider than the type");
        T::try_from(number).unwrap_or_default()
    }

    /// Returns a whole number that has no default in the schema.
    pub(crate) fn whole_or_none<T: TryFrom<i128>>(&self, path: &str) -> Option<T> {
        self.accepted(path).and_then(value_type::whole).and_then(|number| T::try_from(number).ok())
    }

    /// Returns a whole number; values below a minimum mean "none".
    pub(crate) fn whole_from<T: TryFrom<i128>>(&self, path: &str, min: i128) -> Option<T> {
        Some(self.whole::<i128>(path)).filter(|&number| number >= min).and_then(|number| T::try_from(number).ok())
    }

    pub(crate) fn number(&self, path: &str) -> f64 {
        let preset = match Self::key(path).map(|key| key.default) {
            Some(DefaultValue::Number(number)) => number,
            _ => 0.0,
        };
        self.accepted(path).and_then(value_type::number).unwrap_or(preset)
    }

    pub(crate) fn text(&self, path: &str) -> String {
        let preset = match Self::key(path).map(|key| key.default) {
            Some(DefaultValue::Text(text)) => text,
            _ => "",
        };
        self.text_or_none(path).unwrap_or_else(|| preset.to_owned())
    }

    pub(crate) fn text_or_none(&self, path: &str) -> Option<String> {
        self.accepted(path).and_then(value_type::text)
    }

    /// Returns a folder without trailing slashes.
    pub(crate) fn folder(&self, path: &str) -> String {
        let text = self.text(path);
        let bare = text.trim_end_matches('/');
        if bare.is_empty() && !text.is_empty() { "/".to_owned() } else { bare.to_owned() }
    }

    /// Returns the value of a word, or the default word if the key is absent.
    pub(crate) fn word<T>(&self, path: &str, from_word: impl Fn(&str) -> Option<T>, fallback: T) -> T {
        let preset = match Self::key(path).map(|key| key.default) {
            Some(DefaultValue::Text(word)) => from_word(word),
            _ => None,
        };
        self.word_or_none(path, from_word).or(preset).unwrap_or(fallback)
    }

    pub(crate) fn word_or_none<T>(&self, path: &str, from_word: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.accepted(path).and_then(value_type::switch).and_then(|word| from_word(&word))
    }

    pub(crate) fn wholes(&self, path: &str) -> Vec<u64> {
        let all = self.accepted(path).and_then(value_type::wholes).unwrap_or_default();
        all.into_iter().filter_map(|number| u64::try_from(number).ok()).collect()
    }

    pub(crate) fn texts(&self, path: &str) -> Vec<String> {
        self.accepted(path).and_then(value_type::texts).unwrap_or_default()
    }

    /// Returns a time specification together with its `…_stdev` key, as the reference reads them.
    pub(crate) fn time(&mut self, path: &str) -> TimeSpec {
        let companion = format!("{path}_stdev");
        // Some times have no `…_stdev` key.
        let stdev = schema::find(&companion).and_then(|_| self.accepted(&companion)).and_then(value_type::number);
        let Some(node) = self.accepted(path) else {
            if stdev.is_some() && self.problems.is_empty() {
                self.warn(NoticeCode::Suspicious, &companion, &format!("has no effect without {path}"));
            }
            return TimeSpec::None;
        };
        if let Some(mean) = value_type::number(node) {
            return stdev.map_or(TimeSpec::Constant { mean }, |stdev| TimeSpec::Normal { mean, stdev });
        }
        if let Value::Text(text) = &node.value {
            self.timeless(path, text);
            return TimeSpec::None;
        }
        self.distribution(path, node, stdev)
    }

    /// Handles a time that is text. It is an error in dialect `native`, where all known units have already been
    /// converted.
    fn timeless(&mut self, path: &str, text: &str) {
        let read = Self::key(path).and_then(|key| units::read(key, text));
        let (value, examples) = read.unwrap_or((None, "0.1"));
        if self.dialect == Dialect::Native {
            let message = format!(
                "expected {}, found the text {text:?}; with a unit for example {examples}",
                ValueType::Time.expected()
            );
            self.refuse(path, message);
            return;
        }
        let remedy = match value {
            Some(value) => format!("write {value}, or choose dialect native, which understands units"),
            None => "write seconds as a number".to_owned(),
        };
        let message = format!("is the text {text:?}, which the reference ignores: no time is spent; {remedy}");
        self.warn(NoticeCode::Suspicious, path, &message);
    }

    fn distribution(&mut self, path: &str, node: &Node, stdev: Option<f64>) -> TimeSpec {
        let member = |name: &str| node.at(&[name]).and_then(value_type::number);
        let stdev = stdev.or_else(|| member("stdev"));
        let Some(word) = node.at(&["type"]).and_then(value_type::text) else {
            return match (member("mean"), stdev) {
                (Some(mean), Some(stdev)) => TimeSpec::Normal { mean, stdev },
                (Some(mean), None) => TimeSpec::Constant { mean },
                (None, _) => {
                    if node.map().is_some_and(|map| map.iter().next().is_some()) {
                        self.warn(NoticeCode::Suspicious, path, "has neither type nor mean: no time is spent");
                    }
                    TimeSpec::None
                }
            };
        };
        let mut missing = Vec::new();
        let mut need = |name: &'static str, value: Option<f64>| {
            if value.is_none() {
                missing.push(name);
            }
            value.unwrap_or(0.0)
        };
        let spec = match word.as_str() {
            "normal" => TimeSpec::Normal { mean: need("mean", member("mean")), stdev: need("stdev", stdev) },
            "uniform" => TimeSpec::Uniform { min: need("min", member("min")), max: need("max", member("max")) },
            "gamma" => TimeSpec::Gamma { shape: need("shape", member("shape")), scale: need("scale", member("scale")) },
            "exponential" => TimeSpec::Exponential { scale: need("scale", member("scale")) },
            "poisson" => TimeSpec::Poisson { lam: need("lam", member("lam")) },
            _ => {
                let known = ["normal", "uniform", "gamma", "exponential", "poisson"];
                let hint = crate::similar_words::word(&word, &known)
                    .map_or(String::new(), |near| format!("; did you mean {near}?"));
                let text = format!("type {word:?} is none of {}: no time is spent{hint}", known.join(", "));
                self.warn(NoticeCode::Suspicious, path, &text);
                return TimeSpec::None;
            }
        };
        if !missing.is_empty() {
            self.refuse(path, format!("type {word} also needs {}", missing.join(" and ")));
        }
        spec
    }
}

/// Formats the default of a key for messages.
impl std::fmt::Display for DefaultValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DefaultValue::Unset => f.write_str("–"),
            DefaultValue::Derived(text) => f.write_str(text),
            DefaultValue::Flag(flag) => write!(f, "`{flag}`"),
            DefaultValue::Whole(number) => write!(f, "`{number}`"),
            DefaultValue::Number(number) => write!(f, "`{number}`"),
            DefaultValue::Text(text) => write!(f, "`{text}`"),
            DefaultValue::Empty => f.write_str("`[]`"),
        }
    }
}

impl DefaultValue {
    /// Formats the default without Markdown.
    fn plain(self) -> String {
        self.to_string().replace('`', "")
    }
}

impl ValueType {
    /// Returns the type as the configuration reference shows it.
    pub(crate) fn title(self) -> String {
        match self {
            ValueType::Word(words) | ValueType::Switch(words) => {
                words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
            }
            ValueType::Secret => "text".to_owned(),
            ValueType::Time => "seconds or distribution".to_owned(),
            _ => self.expected(),
        }
    }
}
