//! Every key that a configuration may have: its type, its default, what it does, and whether anything acts on it.
//!
//! This table is the only place where a key is declared: checking, defaults, suggestions for misspelt keys and
//! `docs/configuration.md` all read it.

mod dataset;
pub(crate) mod kind;
mod model;
mod ours;
mod reader;
mod run;
mod storage;

pub(crate) use kind::{Kind, TIME_MEMBERS};
pub(crate) use storage::S3DLIO;

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
const MLPERF: &[Dialect] = &[Dialect::Mlperf];
/// Dialects that have the keys of the MLPerf fork whose meaning does not depend on its code.
const NOT_DLIO: &[Dialect] = &[Dialect::Mlperf, Dialect::Native];

impl Key {
    /// The same key, only in these dialects.
    const fn only(self, dialects: &'static [Dialect]) -> Key {
        Key { dialects, ..self }
    }
}

const fn acts(path: &'static str, kind: Kind, default: Preset, doc: &'static str) -> Key {
    Key { path, kind, default, effect: Effect::Acts, dialects: ALL, doc }
}

const fn later(path: &'static str, kind: Kind, default: Preset, doc: &'static str) -> Key {
    Key { path, kind, default, effect: Effect::Later, dialects: ALL, doc }
}

const fn ignored(path: &'static str, kind: Kind, default: Preset, reason: &'static str) -> Key {
    Key { path, kind, default, effect: Effect::Ignored(reason), dialects: ALL, doc: "" }
}

/// The tables, in the order of the reference's sections.
const TABLES: &[&[Key]] = &[
    model::KEYS,
    run::FRAMEWORK_AND_WORKFLOW,
    dataset::KEYS,
    storage::KEYS,
    reader::KEYS,
    run::TRAIN_AND_EVALUATION,
    model::CHECKPOINT,
    run::OUTPUT_AND_METRIC,
    ours::KEYS,
];

/// All keys.
pub(crate) fn keys() -> impl Iterator<Item = &'static Key> {
    TABLES.iter().flat_map(|table| table.iter())
}

/// The key of a path, with `data_reader` taken for `reader`.
pub(crate) fn find(path: &str) -> Option<&'static Key> {
    match path.strip_prefix("data_reader.") {
        Some(rest) => keys().find(|key| key.path.strip_prefix("reader.") == Some(rest)),
        None => keys().find(|key| key.path == path),
    }
}

/// The key that a path is, or is inside of.
pub(crate) fn enclosing(path: &str) -> Option<&'static Key> {
    path.match_indices('.').map(|(at, _)| &path[..at]).chain([path]).find_map(find)
}

/// Whether a dialect has a key of this path.
#[must_use]
pub fn has_key(path: &str, dialect: Dialect) -> bool {
    find(path).is_some_and(|key| key.dialects.contains(&dialect))
}

/// Whether a path is a section: a proper prefix of some key.
#[must_use]
pub fn is_section(path: &str) -> bool {
    let path = if path == "data_reader" { "reader" } else { path };
    keys().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// Whether a path is a key, a section, or a member of a time specification.
pub(crate) fn knows(path: &str) -> bool {
    find(path).is_some() || is_section(path) || is_time_member(path) || is_inside_free(path)
}

fn is_time_member(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(parent, member)| {
        TIME_MEMBERS.contains(&member) && find(parent).is_some_and(|key| key.kind == Kind::Time)
    })
}

fn is_inside_free(path: &str) -> bool {
    let parents = path.match_indices('.').map(|(at, _)| &path[..at]);
    parents.into_iter().any(|parent| find(parent).is_some_and(|key| key.kind == Kind::Free))
}

/// Last parts of the keys whose values must not be shown.
pub(crate) fn secret_names() -> impl Iterator<Item = &'static str> {
    keys().filter(|key| key.kind == Kind::Secret).filter_map(|key| key.path.rsplit('.').next())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::document::{Node, Value};
    use crate::error::Place;

    #[test]
    fn every_key_is_declared_once() {
        let paths: Vec<_> = keys().map(|key| key.path).collect();
        assert_eq!(paths.iter().collect::<BTreeSet<_>>().len(), paths.len());
        assert!(paths.iter().all(|path| !is_section(path)), "a key is also a section");
    }

    #[test]
    fn every_default_is_a_value_that_its_key_accepts() {
        for key in keys() {
            let value = match key.default {
                Preset::Unset | Preset::Derived(_) => continue,
                Preset::Flag(flag) => Value::Bool(flag),
                Preset::Whole(number) => Value::Int(number.into()),
                Preset::Number(number) => Value::Float(number),
                Preset::Text(text) => Value::Text(text.to_owned()),
                Preset::Empty => Value::List(Vec::new()),
            };
            assert_eq!(key.kind.check(&Node::new(value, Place::Default)), Ok(()), "{}", key.path);
        }
    }

    #[test]
    fn every_key_that_is_not_ignored_is_documented() {
        for key in keys() {
            assert_ne!(key.doc.is_empty(), !matches!(key.effect, Effect::Ignored(_)), "{}", key.path);
        }
    }
}
