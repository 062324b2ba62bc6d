//! The table of all configuration keys, with type, default, meaning and effect.
//!
//! Invariant: keys are declared only in this table. Checks, defaults, suggestions for misspelled keys and
//! `docs/configuration.md` are derived from it.

mod dataset;
mod dlio_rs_keys;
mod key;
mod model;
mod reader;
mod run;
mod storage;
pub(crate) mod value_type;

pub(crate) use key::{DefaultValue, Effect, Key};
pub(crate) use storage::S3DLIO;
pub(crate) use value_type::{TIME_MEMBERS, ValueType};

use crate::vocabulary::Dialect;

/// Tables in the order of the reference's sections.
const TABLES: &[&[Key]] = &[
    model::KEYS,
    run::FRAMEWORK_AND_WORKFLOW,
    dataset::KEYS,
    storage::KEYS,
    reader::KEYS,
    run::TRAIN_AND_EVALUATION,
    model::CHECKPOINT,
    run::OUTPUT_AND_METRIC,
    dlio_rs_keys::KEYS,
];

/// Returns all keys.
pub(crate) fn keys() -> impl Iterator<Item = &'static Key> {
    TABLES.iter().flat_map(|table| table.iter())
}

/// Returns the key at a path. `data_reader` is accepted in place of `reader`.
pub(crate) fn find(path: &str) -> Option<&'static Key> {
    match path.strip_prefix("data_reader.") {
        Some(rest) => keys().find(|key| key.path.strip_prefix("reader.") == Some(rest)),
        None => keys().find(|key| key.path == path),
    }
}

/// Returns the key at a path, or the key that contains the path.
pub(crate) fn enclosing(path: &str) -> Option<&'static Key> {
    path.match_indices('.').map(|(at, _)| &path[..at]).chain([path]).find_map(find)
}

/// Returns whether a dialect has a key at this path.
#[must_use]
pub fn has_key(path: &str, dialect: Dialect) -> bool {
    find(path).is_some_and(|key| key.dialects.contains(&dialect))
}

/// Returns whether a path is a section, that is, a proper prefix of some key.
#[must_use]
pub fn is_section(path: &str) -> bool {
    let path = if path == "data_reader" { "reader" } else { path };
    keys().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// Returns whether a path is a key, a section, or a member of a time specification.
pub(crate) fn knows(path: &str) -> bool {
    find(path).is_some() || is_section(path) || is_time_member(path) || is_inside_free(path)
}

fn is_time_member(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(parent, member)| {
        TIME_MEMBERS.contains(&member) && find(parent).is_some_and(|key| key.kind == ValueType::Time)
    })
}

fn is_inside_free(path: &str) -> bool {
    let parents = path.match_indices('.').map(|(at, _)| &path[..at]);
    parents.into_iter().any(|parent| find(parent).is_some_and(|key| key.kind == ValueType::Free))
}

/// Returns the last parts of keys whose values must not be shown.
pub(crate) fn secret_names() -> impl Iterator<Item = &'static str> {
    keys().filter(|key| key.kind == ValueType::Secret).filter_map(|key| key.path.rsplit('.').next())
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
                DefaultValue::Unset | DefaultValue::Derived(_) => continue,
                DefaultValue::Flag(flag) => Value::Bool(flag),
                DefaultValue::Whole(number) => Value::Int(number.into()),
                DefaultValue::Number(number) => Value::Float(number),
                DefaultValue::Text(text) => Value::Text(text.to_owned()),
                DefaultValue::Empty => Value::List(Vec::new()),
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
