//! What the table says of one key.

use super::kind::Kind;
use crate::vocabulary::Dialect;

/// One key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    /// Dotted path below `workload`.
    pub(crate) path: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: Preset,
    pub(crate) effect: Effect,
    /// Dialects that have the key; elsewhere it is told as without effect and reads as its default.
    pub(crate) dialects: &'static [Dialect],
    /// One sentence or two, in Markdown.
    pub(crate) doc: &'static str,
}

/// The value of a key that is absent or null.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Preset {
    /// Nothing.
    Unset,
    /// Nothing, and in words what that amounts to.
    Derived(&'static str),
    Flag(bool),
    Whole(i64),
    Number(f64),
    Text(&'static str),
    /// `[]`
    Empty,
}

/// Whether anything acts on a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Acts,
    /// Checked only; a later version acts on it. Reported when it is present.
    Later,
    /// Accepted without effect; the reason.
    Ignored(&'static str),
}

const ALL: &[Dialect] = &[Dialect::Dlio, Dialect::Mlperf, Dialect::Native];
/// Dialects that have the keys of the MLPerf fork which describe one of its readers.
pub(super) const MLPERF: &[Dialect] = &[Dialect::Mlperf];
/// Dialects that have the keys of the MLPerf fork whose meaning does not depend on its code.
pub(super) const NOT_DLIO: &[Dialect] = &[Dialect::Mlperf, Dialect::Native];

impl Key {
    /// The same key, only in these dialects.
    pub(super) const fn only(self, dialects: &'static [Dialect]) -> Key {
        Key { dialects, ..self }
    }
}

pub(super) const fn acts(path: &'static str, kind: Kind, default: Preset, doc: &'static str) -> Key {
    Key { path, kind, default, effect: Effect::Acts, dialects: ALL, doc }
}

pub(super) const fn later(path: &'static str, kind: Kind, default: Preset, doc: &'static str) -> Key {
    Key { path, kind, default, effect: Effect::Later, dialects: ALL, doc }
}

pub(super) const fn ignored(path: &'static str, kind: Kind, default: Preset, reason: &'static str) -> Key {
    Key { path, kind, default, effect: Effect::Ignored(reason), dialects: ALL, doc: "" }
}
