//! The identity of a workload for MLPerf Storage: the hash `core-config-v1` over the keys that count.
//!
//! The hash is the first 16 hexadecimal digits of SHA-256 over the flattened keys as compact JSON with sorted names.
//! The definition is the output of Python's `json.dumps`, so numbers are written as Python writes them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::workload::Workflow;

/// The list of keys that the hash covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoreKeys {
    /// `training@1`
    Training,
    /// `checkpointing@1`
    Checkpointing,
}

impl CoreKeys {
    /// Returns the list for a workflow: the checkpointing list if the workload only takes checkpoints, the training
    /// list otherwise.
    pub(crate) fn of(workflow: Workflow) -> Self {
        if workflow.checkpoint && !workflow.train && !workflow.generate_data {
            Self::Checkpointing
        } else {
            Self::Training
        }
    }

    /// Returns the name of the list.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Training => "training@1",
            Self::Checkpointing => "checkpointing@1",
        }
    }

    fn contain(self, key: &str) -> bool {
        let (section, rest) = key.split_once('.').unwrap_or((key, ""));
        match (self, section) {
            (_, "framework") => rest.is_empty(),
            (_, "model" | "workflow") => !rest.is_empty(),
            (Self::Training, "metric") => rest == "au",
            (Self::Training, "dataset") => DATASET.contains(&rest),
            (Self::Training, "reader") => READER.contains(&rest),
            (Self::Training, "train") => TRAIN.contains(&rest),
            (Self::Training, "checkpoint") => !rest.is_empty() && rest != "checkpoint_folder",
            (Self::Checkpointing, "checkpoint") => !rest.is_empty() && !FREE_OF_CHECKPOINTS.contains(&rest),
            _ => false,
        }
    }
}

const DATASET: &[&str] = &[
    "format",
    "num_samples_per_file",
    "record_length",
    "record_length_bytes",
    "record_length_stdev",
    "record_length_bytes_stdev",
    "record_length_resize",
    "record_length_bytes_resize",
];
const READER: &[&str] = &["data_loader", "batch_size", "file_shuffle", "sample_shuffle", "shuffle_size"];
const TRAIN: &[&str] = &["epochs", "computation_time", "computation_time_stdev", "total_training_steps"];
const FREE_OF_CHECKPOINTS: &[&str] = &["checkpoint_folder", "num_checkpoints_write", "num_checkpoints_read"];

/// Identity of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreConfig {
    /// The list of keys that the hash covers.
    pub keys: CoreKeys,
    /// The hash, 16 hexadecimal digits.
    pub hash: String,
}

impl std::fmt::Display for CoreConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "core-config-v1 {} ({})", self.hash, self.keys.name())
    }
}

/// Computes the identity of the keys below `workload`, as they were written.
pub(crate) fn core_config(workload: &Value, keys: CoreKeys) -> CoreConfig {
    let mut flat = BTreeMap::new();
    flatten("", workload, keys, &mut flat);
    let members: Vec<_> = flat.iter().map(|(key, value)| format!("{}:{value}", python_text(key))).collect();
    let digest = Sha256::digest(format!("{{{}}}", members.join(",")));
    let mut hash = String::new();
    for byte in digest.iter().take(8) {
        let _ = write!(hash, "{byte:02x}");
    }
    CoreConfig { keys, hash }
}

fn flatten(path: &str, value: &Value, keys: CoreKeys, flat: &mut BTreeMap<String, String>) {
    if let Value::Object(map) = value {
        for (name, inner) in map {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            flatten(&path, inner, keys, flat);
        }
    } else if keys.contain(path) {
        flat.insert(path.to_owned(), canonical(value));
    }
}

/// Formats a value as Python's JSON, after converting `"true"`, `"1"` and 1.0 to `true`, 1 and 1.
fn canonical(value: &Value) -> String {
    match value {
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            word @ ("true" | "false") => word.to_owned(),
            word => match (word.trim().parse::<i64>(), word.trim().parse::<f64>()) {
                (Ok(number), _) => number.to_string(),
                (_, Ok(number)) if number.is_finite() => python_number(number),
                _ => python_text(text),
            },
        },
        Value::Number(number) if number.is_f64() => number.as_f64().map_or_else(String::new, python_number),
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        // Mappings have been flattened before; an empty mapping has no keys.
        other => other.to_string(),
    }
}

/// Formats a number as Python's `repr` does; whole numbers have no fraction.
fn python_number(number: f64) -> String {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        return format!("{number:.0}");
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>().unwrap_or(0) {
        exponent @ -4..=15 if exponent != 0 => format!("{number}"),
        0 => digits.to_owned(),
        exponent => {
            format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.unsigned_abs())
        }
    }
}

/// Formats a text as `json.dumps` does: in ASCII, with everything else escaped.
fn python_text(text: &str) -> String {
    let mut quoted = String::new();
    for letter in Value::String(text.to_owned()).to_string().chars() {
        if letter.is_ascii() {
            quoted.push(letter);
        } else {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                let _ = write!(quoted, "\\u{unit:04x}");
            }
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_python_writes_them() {
        for (number, text) in [
            (0.000_375, "0.000375"),
            (0.000_037_5, "3.75e-05"),
            (0.9, "0.9"),
            (5.0, "5"),
            (-2.5, "-2.5"),
            (0.047_55, "0.04755"),
            (1e300, "1e+300"),
            (114_660.07, "114660.07"),
        ] {
            assert_eq!(python_number(number), text);
        }
    }

    #[test]
    fn spellings_of_the_same_value_are_one() {
        let texts = |json| canonical(&json);
        assert_eq!(texts(serde_json::json!("True")), "true");
        assert_eq!(texts(serde_json::json!("7")), texts(serde_json::json!(7.0)));
        assert_eq!(texts(serde_json::json!("0.5")), "0.5");
        assert_eq!(texts(serde_json::json!("ü\"")), "\"\\u00fc\\\"\"");
        assert_eq!(texts(serde_json::json!([1.0, "a"])), "[1,\"a\"]");
    }
}
