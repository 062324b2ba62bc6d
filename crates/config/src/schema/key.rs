//! The rows of the key table.

use super::value_type::ValueType;
use crate::vocabulary::Dialect;

/// A configuration key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    /// Dotted path below `workload`.
    pub(crate) path: &'static str,
    pub(crate) kind: ValueType,
    pub(crate) default: DefaultValue,
    pub(crate) effect: Effect,
    /// Dialects that have the key. In other dialects, the key is reported as having no effect and reads as its default.
    pub(crate) dialects: &'static [Dialect],
    /// Description: one or two sentences in Markdown.
    pub(crate) doc: &'static str,
}

/// Default of a key, used if the key is absent or null.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum DefaultValue {
    /// No value.
    Unset,
    /// No value; the text describes the effective default.
    Derived(&'static str),
    Flag(bool),
    Whole(i64),
    Number(f64),
    Text(&'static str),
    /// An empty list.
    Empty,
}

/// Whether a key has an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Acts,
    /// The key is checked and reported, but has no effect yet.
    Later,
    /// The key is accepted and has no effect, for this reason.
    Ignored(&'static str),
}

const ALL: &[Dialect] = &[Dialect::Dlio, Dialect::Mlperf, Dialect::Native];
/// Dialects of keys that describe a reader of the MLPerf fork.
pub(super) const MLPERF: &[Dialect] = &[Dialect::Mlperf];
/// Dialects of keys of the MLPerf fork whose meaning does not depend on its code.
pub(super) const NOT_DLIO: &[Dialect] = &[Dialect::Mlperf, Dialect::Native];

impl Key {
    /// Returns the key with a restricted list of dialects.
    pub(super) const fn only(self, dialects: &'static [Dialect]) -> Key {
        Key { dialects, ..self }
    }
}

pub(super) const fn acts(path: &'static str, kind: ValueType, default: DefaultValue, doc: &'static str) -> Key {
    Key { path, kind, default, effect: Effect::Acts, dialects: ALL, doc }
}

pub(super) const fn later(path: &'static str, kind: ValueType, default: DefaultValue, doc: &'static str) -> Key {
    Key { path, kind, default, effect: Effect::Later, dialects: ALL, doc }
}

pub(super) const fn ignored(path: &'static str, kind: ValueType, default: DefaultValue, reason: &'static str) -> Key {
    Key { path, kind, default, effect: Effect::Ignored(reason), dialects: ALL, doc: "" }
}
