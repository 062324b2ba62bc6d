//! Environment variables of the MLPerf fork and its harness: each one sets a key that the configuration does not set, or is reported
//! as ineffective.

use std::collections::BTreeMap;

use dlio_config::{Loaded, Override};
use serde_json::Value;

use crate::failure::Failure;
use crate::launch::Environment;

/// Meaning of a variable.
enum Meaning {
    /// A key that takes the same values.
    Key(&'static str),
    /// A key in bytes; the variable is in MiB.
    Mebibytes(&'static str),
    /// A key with the inverse meaning.
    Not(&'static str),
    /// A switch that sets a key to 0 if it is false.
    ZeroUnless(&'static str),
    /// No effect, for this reason.
    Nothing(&'static str),
}

const SEEDED: &str = "data come from this program's seeded generator";
const NEVER: &str =
    "the fork documents it and never gets to read it; use storage.storage_type and storage.storage_root";
const PARTS: &str = "parts are retried one by one: storage.storage_options.s3_max_attempts";
const VERIFY: &str = "use --verify on replay, or `dlio-rs verify`";

const VARIABLES: &[(&str, Meaning)] = &[
    ("DLIO_STORAGE_LIBRARY", Meaning::Key("storage.storage_options.storage_library")),
    ("DLIO_MAX_AUTO_THREADS", Meaning::Key("dlio_rs.max_auto_threads")),
    ("DLIO_DROP_CACHES_TIMEOUT", Meaning::Key("dlio_rs.drop_caches_timeout_seconds")),
    ("S3DLIO_MULTIPART_THRESHOLD_MB", Meaning::Mebibytes("dlio_rs.multipart_threshold")),
    ("S3DLIO_MULTIPART_PART_SIZE_MB", Meaning::Mebibytes("dlio_rs.multipart_part_size")),
    ("S3DLIO_MULTIPART_MAX_IN_FLIGHT", Meaning::Key("dlio_rs.multipart_concurrency")),
    ("S3DLIO_RANGE_THRESHOLD_MB", Meaning::Mebibytes("dlio_rs.split_threshold")),
    ("S3DLIO_ENABLE_RANGE_OPTIMIZATION", Meaning::ZeroUnless("dlio_rs.split_threshold")),
    ("S3DLIO_CHUNK_SIZE", Meaning::Key("dlio_rs.split_chunk")),
    ("S3DLIO_RANGE_CONCURRENCY", Meaning::Key("dlio_rs.split_concurrency")),
    ("S3DLIO_SKIP_HEAD", Meaning::Not("dlio_rs.head_before_get")),
    ("DLIO_DATA_GEN", Meaning::Nothing(SEEDED)),
    ("DLIO_BUCKET", Meaning::Nothing(NEVER)),
    ("DLIO_STORAGE_TYPE", Meaning::Nothing(NEVER)),
    ("DLIO_TORCH_SHARING_STRATEGY", Meaning::Nothing("no tensors pass between processes")),
    ("S3DLIO_MPU_MAX_RETRIES", Meaning::Nothing(PARTS)),
    ("S3DLIO_MPU_RETRY_DELAY_S", Meaning::Nothing(PARTS)),
    ("S3DLIO_PUT_VERIFY", Meaning::Nothing(VERIFY)),
    ("S3DLIO_MPU_PUT_VERIFY", Meaning::Nothing(VERIFY)),
    ("S3DLIO_RT_THREADS", Meaning::Nothing("every reader lane has one thread")),
];

/// Keys that have an effect only with a client profile; their variables do not change other runs.
const OF_THE_PROFILE: &[&str] =
    &["dlio_rs.split_threshold", "dlio_rs.split_chunk", "dlio_rs.split_concurrency", "dlio_rs.head_before_get"];

/// Overrides from environment variables, and remarks about them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Overrides in Hydra's syntax.
    pub overrides: Vec<String>,
    /// Remarks for the log.
    pub remarks: Vec<String>,
}

/// Returns the overrides that the environment adds to a configuration.
///
/// # Errors
/// A variable has a value that its key does not accept.
pub fn settings(env: &Environment, loaded: &Loaded) -> Result<Settings, Failure> {
    let mut settings = Settings::default();
    let strategy = ("S3_LOAD_BALANCE_STRATEGY", Meaning::Key("storage.load_balance_strategy"));
    let fork: &[_] = if loaded.workload.dlio_rs.dialect.rules().reads_fork_environment { VARIABLES } else { &[] };
    for (name, meaning) in std::iter::once(&strategy).chain(fork) {
        let Some(value) = env.get(*name).map(|value| value.trim()).filter(|value| !value.is_empty()) else { continue };
        let (key, value) = match meaning {
            Meaning::Nothing(reason) => {
                settings.remarks.push(format!("{name} has no effect: {reason}"));
                continue;
            }
            Meaning::Key(key) => (*key, value.to_owned()),
            Meaning::Mebibytes(key) => (*key, mebibytes(name, value)?),
            Meaning::Not(key) => (*key, (!flag(name, value)?).to_string()),
            Meaning::ZeroUnless(_) if flag(name, value)? => continue,
            Meaning::ZeroUnless(key) => (*key, "0".to_owned()),
        };
        if OF_THE_PROFILE.contains(&key) && !given(loaded, "dlio_rs.client_profile") {
            settings.remarks.push(format!("{name} has no effect without dlio_rs.client_profile"));
        } else if is_said(loaded, key) {
            settings.remarks.push(format!("{name} is not used, because the configuration has {key}"));
        } else {
            let text = format!("++{key}={value}");
            Override::parse(&text).map_err(|why| Failure::usage(format_args!("{name}: {why}")))?;
            settings.remarks.push(format!("{name}: {key} is {value}"));
            settings.overrides.push(text);
        }
    }
    Ok(settings)
}

/// Returns the names of the variables that set keys.
#[cfg(test)]
pub fn keys() -> impl Iterator<Item = &'static str> {
    VARIABLES.iter().filter(|(_, meaning)| !matches!(meaning, Meaning::Nothing(_))).map(|(name, _)| *name)
}

fn mebibytes(name: &str, value: &str) -> Result<String, Failure> {
    let bytes = value.parse::<u64>().ok().and_then(|count| count.checked_mul(1 << 20));
    let wrong = || Failure::usage(format_args!("{name}: expected a whole number of MiB, found {value:?}"));
    bytes.map(|bytes| bytes.to_string()).ok_or_else(wrong)
}

fn flag(name: &str, value: &str) -> Result<bool, Failure> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(Failure::usage(format_args!("{name}: expected true or false, found {value:?}"))),
    }
}

fn is_said(loaded: &Loaded, key: &str) -> bool {
    // The storage library can be set by two keys.
    let beside = key == "storage.storage_options.storage_library" && given(loaded, "storage.storage_library");
    beside || given(loaded, key)
}

fn given(loaded: &Loaded, key: &str) -> bool {
    let pointer = format!("/workload/{}", key.replace('.', "/"));
    loaded.resolved.pointer(&pointer).is_some_and(|value| *value != Value::Null)
}

/// Parses the variables of a `.env` file: `KEY=VALUE` lines, where quotes around the value are removed and `#` begins a comment line.
pub fn dotenv(text: &str) -> Environment {
    let mut variables = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = line.split_once('=') else { continue };
        let name = name.trim().trim_start_matches("export ").trim();
        let value = value.trim().trim_matches('"').trim_matches('\'');
        if !name.is_empty() {
            variables.insert(name.to_owned(), value.to_owned());
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(overrides: &[&str]) -> Loaded {
        let overrides: Vec<_> = overrides.iter().map(|text| Override::parse(text).unwrap()).collect();
        let yaml = dlio_config::bundled::yaml("mlperf-v3/unet3d_b200").unwrap();
        let source = dlio_config::Source { name: "test.yaml", yaml };
        dlio_config::load(&source, &overrides, &BTreeMap::new(), None).unwrap()
    }

    fn env(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_variable_with_a_meaning_becomes_its_key() {
        let env = env(&[
            ("DLIO_STORAGE_LIBRARY", "minio"),
            ("DLIO_MAX_AUTO_THREADS", "2"),
            ("S3DLIO_MULTIPART_THRESHOLD_MB", "16"),
            ("S3DLIO_SKIP_HEAD", "1"),
            ("S3DLIO_ENABLE_RANGE_OPTIMIZATION", "0"),
            ("S3_LOAD_BALANCE_STRATEGY", "least_connections"),
        ]);
        let found = settings(&env, &loaded(&["++dlio_rs.client_profile=s3dlio-0.9.106"])).unwrap();
        assert_eq!(
            found.overrides,
            [
                "++storage.load_balance_strategy=least_connections",
                "++storage.storage_options.storage_library=minio",
                "++dlio_rs.max_auto_threads=2",
                "++dlio_rs.multipart_threshold=16777216",
                "++dlio_rs.split_threshold=0",
                "++dlio_rs.head_before_get=false",
            ]
        );
    }

    #[test]
    fn what_the_configuration_says_and_what_needs_a_profile_is_told() {
        let env = env(&[("DLIO_MAX_AUTO_THREADS", "2"), ("S3DLIO_CHUNK_SIZE", "4096"), ("DLIO_DATA_GEN", "numpy")]);
        let found = settings(&env, &loaded(&["++dlio_rs.max_auto_threads=3"])).unwrap();
        assert_eq!(found.overrides, Vec::<String>::new());
        assert_eq!(found.remarks.len(), 3, "{:?}", found.remarks);
    }

    #[test]
    fn the_forks_variables_are_nothing_in_other_dialects() {
        let env = env(&[("DLIO_STORAGE_LIBRARY", "minio"), ("S3_LOAD_BALANCE_STRATEGY", "random")]);
        let found = settings(&env, &loaded(&["++dlio_rs.dialect=dlio"])).unwrap();
        assert_eq!(found.overrides, ["++storage.load_balance_strategy=random"]);
    }

    #[test]
    fn a_value_that_makes_no_sense_is_refused_by_its_name() {
        let wrong = env(&[("S3DLIO_MULTIPART_THRESHOLD_MB", "many")]);
        assert!(settings(&wrong, &loaded(&[])).unwrap_err().message.starts_with("S3DLIO_MULTIPART_THRESHOLD_MB: "));
    }

    #[test]
    fn a_dotenv_file_is_lines_of_names_and_values() {
        let text = "# keys\nAWS_ACCESS_KEY_ID = abc\nexport AWS_REGION=\"eu\"\nnothing\nURL='http://h:1/?a=b'\n";
        assert_eq!(
            dotenv(text),
            env(&[("AWS_ACCESS_KEY_ID", "abc"), ("AWS_REGION", "eu"), ("URL", "http://h:1/?a=b")])
        );
    }
}
