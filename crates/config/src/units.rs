//! Numbers with units in a configuration: `100ms`, `4MiB`, `10k`. The references do not support units, so units are
//! accepted only in dialect `native` and, in every dialect, for keys of section `dlio_rs`.

use dlio_event::quantity::Unit;

use crate::document::{Map, Node, Value};
use crate::schema::{self, Key, TIME_MEMBERS, ValueType};
use crate::vocabulary::Dialect;

/// Keys in bytes whose names do not contain the word.
const BYTES: &[&str] = &[
    "dlio_rs.multipart_threshold",
    "dlio_rs.multipart_part_size",
    "dlio_rs.split_threshold",
    "dlio_rs.split_chunk",
    "dlio_rs.direct_chunk",
    "dataset.generation_buffer_size",
    "reader.transfer_size",
    "storage.storage_options.footer_cap",
];

/// Returns the unit of a key; `None` if its values are not quantities.
fn unit_of(key: &Key) -> Option<Unit> {
    let time = ["_time", "timeout", "_seconds", "time_between", "retry_for"].iter().any(|part| key.path.contains(part));
    match key.kind {
        ValueType::Time => Some(Unit::Seconds),
        ValueType::Whole { .. } | ValueType::Number { .. } if time => Some(Unit::Seconds),
        ValueType::Whole { .. } | ValueType::Number { .. }
            if key.path.contains("bytes") || BYTES.contains(&key.path) =>
        {
            Some(Unit::Bytes)
        }
        ValueType::Whole { .. } | ValueType::Wholes { .. } => Some(Unit::Count),
        _ => None,
    }
}

/// Returns the value of a text with a unit, and example spellings for the key; `None` if the key has no unit.
pub(crate) fn read(key: &Key, text: &str) -> Option<(Option<f64>, &'static str)> {
    unit_of(key).map(|unit| (unit.value(text), unit.examples()))
}

/// Returns whether the values of a key may have units.
pub(crate) fn understood(path: &str, dialect: Dialect) -> bool {
    dialect == Dialect::Native || path.starts_with("dlio_rs.")
}

/// Replaces texts with units by numbers.
pub(crate) fn resolve(root: &mut Node, dialect: Dialect) {
    if let Value::Map(map) = &mut root.value {
        walk(map, "", dialect);
    }
}

fn walk(map: &mut Map, parent: &str, dialect: Dialect) {
    for (name, node) in map.iter_mut() {
        let path = if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
        let Some(key) = schema::find(&path) else {
            if let Value::Map(inner) = &mut node.value {
                walk(inner, &path, dialect);
            }
            continue;
        };
        if let Some(unit) = unit_of(key).filter(|_| understood(key.path, dialect)) {
            convert(node, unit, matches!(key.kind, ValueType::Whole { .. }));
        }
    }
}

/// Converts a text. Times remain fractions, unless the key is a whole number of seconds.
fn convert(node: &mut Node, unit: Unit, is_whole: bool) {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match &mut node.value {
        Value::Text(text) => {
            let Some(value) = unit.value(text) else { return };
            #[expect(clippy::cast_possible_truncation, reason = "integral and within ±2^53")]
            let whole = ((unit != Unit::Seconds || is_whole) && value.fract() == 0.0 && value <= EXACT)
                .then_some(value as i128);
            node.value = whole.map_or(Value::Float(value), Value::Int);
        }
        Value::List(items) => items.iter_mut().for_each(|item| convert(item, unit, is_whole)),
        // The name and the shape of a distribution have no unit.
        Value::Map(members) => members
            .iter_mut()
            .filter(|(name, _)| TIME_MEMBERS.contains(name) && !matches!(*name, "type" | "shape" | "lam"))
            .for_each(|(_, member)| convert(member, unit, is_whole)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_whose_name_speaks_of_time_or_bytes_has_that_unit() {
        let of = |path: &str| unit_of(schema::find(path).unwrap());
        for path in ["train.computation_time", "train.computation_time_stdev", "dlio_rs.request_timeout_seconds"] {
            assert_eq!(of(path), Some(Unit::Seconds), "{path}");
        }
        for path in BYTES.iter().chain(&["dataset.record_length_bytes", "dlio_rs.checkpoint_read_bytes"]) {
            assert_eq!(of(path), Some(Unit::Bytes), "{path}");
        }
        assert_eq!(of("dataset.num_files_train"), Some(Unit::Count));
        assert_eq!(of("dataset.format"), None);
        assert_eq!(of("metric.au"), None);
    }
}
