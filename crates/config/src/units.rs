//! Numbers with units: `100ms`, `4MiB`, `10k`. The references do not know them, so they are understood where the
//! reference has no say: in dialect `native`, and for the keys of section `dlio_rs` in every dialect.

use crate::document::{Map, Node, Value};
use crate::schema::{self, Key, Kind, TIME_MEMBERS};
use crate::vocabulary::Dialect;

/// What a number of a key counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Bytes,
    Count,
}

/// Keys in bytes whose names do not say so.
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

const SECONDS: &[(&str, f64)] =
    &[("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("min", 60.0), ("h", 3600.0)];
const COUNTS: &[(&str, f64)] = &[("k", 1e3), ("K", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12)];
const SIZES: &[(&str, f64)] = &[
    ("B", 1.0),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
];

impl Unit {
    /// What the numbers of a key count; `None`: it has none.
    fn of(key: &Key) -> Option<Self> {
        let time = ["_time", "timeout", "_seconds", "time_between"].iter().any(|part| key.path.contains(part));
        match key.kind {
            Kind::Time => Some(Self::Seconds),
            Kind::Whole { .. } | Kind::Number { .. } if time => Some(Self::Seconds),
            Kind::Whole { .. } | Kind::Number { .. } if key.path.contains("bytes") || BYTES.contains(&key.path) => {
                Some(Self::Bytes)
            }
            Kind::Whole { .. } | Kind::Wholes { .. } => Some(Self::Count),
            _ => None,
        }
    }

    fn factors(self) -> &'static [(&'static str, f64)] {
        match self {
            Self::Seconds => SECONDS,
            Self::Bytes => SIZES,
            Self::Count => COUNTS,
        }
    }

    /// Spellings, for messages.
    fn examples(self) -> &'static str {
        match self {
            Self::Seconds => "100ms, 1.5s, 2min",
            Self::Bytes => "4096, 64KiB, 8MiB, 1GB",
            Self::Count => "500, 10k, 2M",
        }
    }

    /// The value of a number with a unit; `None`: the text is none.
    pub(crate) fn value(self, text: &str) -> Option<f64> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
        let (number, unit) = (text[..end].replace('_', ""), text[end..].trim_start());
        let number: f64 = number.parse().ok()?;
        let factor = self.factors().iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)?;
        Some(number * factor).filter(|value| value.is_finite())
    }
}

/// What a text would be with units, and how units of its key are spelt; `None`: the key has no units.
pub(crate) fn read(key: &Key, text: &str) -> Option<(Option<f64>, &'static str)> {
    Unit::of(key).map(|unit| (unit.value(text), unit.examples()))
}

/// Whether a key's values may have units.
pub(crate) fn understood(path: &str, dialect: Dialect) -> bool {
    dialect == Dialect::Native || path.starts_with("dlio_rs.")
}

/// Puts numbers in the place of texts with units.
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
        if let Some(unit) = Unit::of(key).filter(|_| understood(key.path, dialect)) {
            convert(node, unit);
        }
    }
}

fn convert(node: &mut Node, unit: Unit) {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match &mut node.value {
        Value::Text(text) => {
            let Some(value) = unit.value(text) else { return };
            #[expect(clippy::cast_possible_truncation, reason = "integral and within ±2^53")]
            let whole = (unit != Unit::Seconds && value.fract() == 0.0 && value <= EXACT).then_some(value as i128);
            node.value = whole.map_or(Value::Float(value), Value::Int);
        }
        Value::List(items) => items.iter_mut().for_each(|item| convert(item, unit)),
        // The members of a distribution but its name, and its shape, which is a mere number.
        Value::Map(members) => members
            .iter_mut()
            .filter(|(name, _)| TIME_MEMBERS.contains(name) && !matches!(*name, "type" | "shape" | "lam"))
            .for_each(|(_, member)| convert(member, unit)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_have_the_usual_spellings() {
        let cases: &[(Unit, &str, Option<f64>)] = &[
            (Unit::Seconds, "100ms", Some(0.1)),
            (Unit::Seconds, "1.5 s", Some(1.5)),
            (Unit::Seconds, "2min", Some(120.0)),
            (Unit::Seconds, "250us", Some(0.000_25)),
            (Unit::Seconds, "1h", Some(3600.0)),
            (Unit::Seconds, "100", None),
            (Unit::Seconds, "100MS", None),
            (Unit::Seconds, "ms", None),
            (Unit::Seconds, "-1s", None),
            (Unit::Bytes, "4MiB", Some(4_194_304.0)),
            (Unit::Bytes, "1.5KiB", Some(1536.0)),
            (Unit::Bytes, "1GB", Some(1e9)),
            (Unit::Bytes, "4M", None),
            (Unit::Bytes, "4k", None),
            (Unit::Count, "10k", Some(10_000.0)),
            (Unit::Count, "2M", Some(2e6)),
            (Unit::Count, "10KiB", None),
            (Unit::Count, "many", None),
        ];
        for (unit, text, expected) in cases {
            let found = unit.value(text);
            let same = match (found, expected) {
                (Some(found), Some(expected)) => (found - expected).abs() <= 1e-12 * expected,
                (found, expected) => found.is_none() && expected.is_none(),
            };
            assert!(same, "{unit:?} {text}: {found:?}");
        }
    }

    #[test]
    fn every_key_whose_name_speaks_of_time_or_bytes_has_that_unit() {
        let of = |path: &str| Unit::of(schema::find(path).unwrap());
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
