//! Tests of every source of every setting in the table.

use std::collections::BTreeMap;

use dlio_config::Loaded;

use super::*;
use crate::launch::Environment;
use crate::resolve::aws_profile::Profile;
use crate::resolve::config_source::ConfigSource;

/// The values that the sources of a setting give.
#[derive(Default)]
struct Said {
    overrides: Vec<String>,
    env: Environment,
    profile: Profile,
    flags: BTreeMap<String, String>,
    registry: Option<Vec<String>>,
    registry_keys: bool,
    marks: Option<String>,
    local: bool,
}

impl Said {
    /// Lets a source give a value that no other source gives.
    fn by(mut self, source: Source, number: usize) -> Self {
        let url = Some(format!("http://host{number}:1"));
        match source {
            Source::Flag(name) => drop(self.flags.insert(name.to_owned(), word(name, number))),
            Source::Key(key) | Source::Scheme(key) => self.overrides.push(format!("++{key}={}", value(key, number))),
            Source::Variable(name) => drop(self.env.insert(name.to_owned(), word(name, number))),
            Source::Profile("services.s3.endpoint_url") => self.profile.service_endpoint = url,
            Source::Profile("endpoint_url") => self.profile.endpoint = url,
            Source::Profile("region") => self.profile.region = Some(word("region", number)),
            Source::Profile("ca_bundle") => self.profile.ca_bundle = Some(word("bundle", number)),
            Source::Profile("s3.addressing_style") => self.profile.addressing_style = Some("virtual".to_owned()),
            Source::Profile(_) => self.profile.keys_by = Some("aws_access_key_id"),
            Source::Registry => self.registry = Some(vec![format!("http://host{number}:1")]),
            Source::RegistryKeys => self.registry_keys = true,
            Source::Marks => self.marks = Some("the name x".to_owned()),
            Source::Launcher => {
                self.env.extend([("PMI_SIZE", "4"), ("PMI_RANK", "1")].map(|(k, v)| (k.to_owned(), v.to_owned())));
            }
        }
        self
    }

    fn report(&self) -> Report {
        let loaded = self.loaded();
        let overrides: Vec<&str> = self.overrides.iter().map(String::as_str).collect();
        let wanted = ConfigSource { marks: self.marks.clone(), ..ConfigSource::of_test(&overrides) };
        Report::new(&SettingValues {
            wanted: &wanted,
            loaded: &loaded,
            env: &self.env,
            profile: &self.profile,
            flags: &self.flags,
            registry: self.registry.as_deref(),
            registry_keys: self.registry_keys,
            on_s3: !self.local,
        })
    }

    fn loaded(&self) -> Loaded {
        let overrides: Vec<_> = self.overrides.iter().map(|text| dlio_config::Override::parse(text).unwrap()).collect();
        let source = dlio_config::Source { name: "test.yaml", yaml: "model: {name: t}\nframework: pytorch\n" };
        dlio_config::load(&source, &overrides, &BTreeMap::new(), None).unwrap()
    }

    fn with(mut self, text: &str) -> Self {
        self.overrides.push(text.to_owned());
        self
    }
}

fn word(name: &str, number: usize) -> String {
    match name {
        "DLIO_RS_COMM" => "solo".to_owned(),
        _ => format!("word{number}"),
    }
}

/// Returns a valid value of a key that differs for every number.
fn value(key: &str, number: usize) -> String {
    let bytes = (6 << 20) + number;
    let of = |words: [&str; 2]| words[number % 2].to_owned();
    match key {
        "dlio_rs.dialect" => "native".to_owned(),
        "dataset.data_folder" => "file:///data".to_owned(),
        "storage.storage_root" => "s3://root".to_owned(),
        "storage.storage_type" => "direct_fs".to_owned(),
        "storage.storage_library" | "storage.storage_options.storage_library" => of(["s3dlio", "minio"]),
        "storage.load_balance_strategy" => "random".to_owned(),
        "dlio_rs.decode" => "full".to_owned(),
        "storage.storage_options.decode" => "arrow".to_owned(),
        "dlio_rs.head_before_get" | "storage.storage_options.s3_force_path_style" => "true".to_owned(),
        "storage.storage_options.verify_ssl" => "false".to_owned(),
        "storage.storage_options.addressing_style" => "host".to_owned(),
        "storage.endpoint_file" => format!("file{number}"),
        "storage.endpoint_template" => format!("'http://host{{{number}...{number}}}:1'"),
        key if key.starts_with("storage.endpoint") || key.ends_with("endpoint_url") => format!("http://host{number}:1"),
        key if key.contains("multipart") || key.contains("split") => bytes.to_string(),
        key if key.contains("threads")
            || key.contains("seconds")
            || key.contains("prefetch")
            || key.contains("inflight") =>
        {
            (number + 2).to_string()
        }
        _ => format!("text{number}"),
    }
}

/// Returns the other values that make a setting apply to a run.
fn setting_of_a_run(setting: &Setting) -> Said {
    let needs_mlperf =
        setting.scope == table::Scope::Mlperf || matches!(setting.name, "decoding" | "files generated at a time");
    if needs_mlperf { Said::default().with("++dlio_rs.dialect=mlperf") } else { Said::default() }
}

#[test]
fn of_every_row_the_first_source_is_used_and_each_other_one_is_told() {
    for setting in SETTINGS.iter().filter(|setting| setting.scope != table::Scope::Never) {
        // Hydra's folder and the fork's variable apply to runs as `dlio_benchmark`.
        let sources: Vec<Source> = setting
            .sources
            .iter()
            .copied()
            .filter(|source| !matches!(source, Source::Variable("DLIO_OUTPUT_FOLDER") | Source::Key("hydra.run.dir")))
            .collect();
        for from in 0..sources.len() {
            let said =
                (from..sources.len()).fold(setting_of_a_run(setting), |said, number| said.by(sources[number], number));
            let report = said.report();
            let row =
                report.rows.iter().find(|row| row.setting == setting.name).unwrap_or_else(|| panic!("{setting:?}"));
            let first = name(sources[from]);
            assert!(row.from.ends_with(first), "{}: {first} comes first, not {}", setting.name, row.from);
            let others: Vec<&str> = sources[from + 1..].iter().map(|source| name(*source)).collect();
            assert_eq!(row.unused.len(), others.len(), "{}: {:?}", setting.name, row.unused);
            assert!(row.unused.iter().zip(&others).all(|(unused, other)| unused.source.ends_with(other)), "{row:?}");
            assert!(row.unused.iter().all(|unused| unused.why.ends_with("comes first")), "{row:?}");
        }
    }
}

fn name(source: Source) -> &'static str {
    match source {
        Source::Flag(name) | Source::Key(name) | Source::Scheme(name) | Source::Variable(name) => name,
        Source::Profile(_) => "of the AWS profile default",
        Source::Registry | Source::RegistryKeys => "registry",
        Source::Marks => "marks of the fork",
        Source::Launcher => "launcher",
    }
}

#[test]
fn what_is_for_s3_is_told_on_local_data_only_if_it_was_said_for_this_run() {
    let said = Said { local: true, ..Said::default() };
    let said = said.by(Source::Flag("--registry"), 1).by(Source::Variable("AWS_ENDPOINT_URL"), 2);
    let said = said.by(Source::Variable("HTTPS_PROXY"), 3).by(Source::Variable("AWS_REGION"), 4);
    let notices = said.report().notices();
    assert_eq!(notices, ["given and not used: --registry=word1: neither data nor checkpoints are on S3"]);
}

#[test]
fn keys_of_every_dialect_are_used_in_every_dialect_and_variables_of_the_fork_in_its_own() {
    for (key, variable) in [
        ("dlio_rs.multipart_threshold", "S3DLIO_MULTIPART_THRESHOLD_MB"),
        ("dlio_rs.multipart_part_size", "S3DLIO_MULTIPART_PART_SIZE_MB"),
        ("dlio_rs.split_chunk", "S3DLIO_CHUNK_SIZE"),
        ("dlio_rs.head_before_get", "S3DLIO_SKIP_HEAD"),
        ("dlio_rs.drop_caches_timeout_seconds", "DLIO_DROP_CACHES_TIMEOUT"),
    ] {
        let said = || Said::default().by(Source::Variable(variable), 2);
        for dialect in ["dlio", "native"] {
            let report = said().by(Source::Key(key), 1).with(&format!("++dlio_rs.dialect={dialect}")).report();
            assert_eq!(report.notices(), Vec::<String>::new(), "{key}");
            assert!(report.rows.iter().any(|row| row.from.ends_with(key) && row.unused.is_empty()), "{key}");
        }
        assert!(!said().report().rows.iter().any(|row| row.from.contains(variable)), "{variable}");
    }
}

#[test]
fn a_proxy_is_of_its_scheme_and_of_no_registry() {
    let said = || Said::default().by(Source::Variable("HTTPS_PROXY"), 1).by(Source::Variable("all_proxy"), 2);
    let report = said().report();
    assert_eq!(report.value("proxy of https endpoints"), Some("word1"));
    assert_eq!(report.value("proxy of http endpoints"), Some("word2"));
    let registry = said().by(Source::Registry, 3).report();
    assert_eq!(registry.value("proxy of https endpoints"), None);
    assert_eq!(registry.notices(), Vec::<String>::new());
}

#[test]
fn a_storage_type_that_agrees_with_the_scheme_is_used_and_one_that_does_not_is_told() {
    let with = |kind: &str, folder: &str| {
        let said = Said::default().with(&format!("++dataset.data_folder={folder}"));
        said.with(&format!("++storage.storage_type={kind}")).with("++storage.storage_root=bkt").report().notices()
    };
    assert_eq!(with("s3", "s3://bkt/p"), Vec::<String>::new());
    let told = with("s3", "file:///data");
    assert!(told.iter().any(|line| line.contains("storage.storage_type=s3")), "{told:?}");
}

#[test]
fn secrets_are_not_shown() {
    let mut said = Said::default().by(Source::Key("storage.storage_options.secret_access_key"), 1);
    said.env.insert("AWS_SECRET_ACCESS_KEY".to_owned(), "hunter2".to_owned());
    said.env.insert("HTTPS_PROXY".to_owned(), "http://me:hunter3@proxy:1".to_owned());
    let text = said.report().render().join("\n");
    assert!(!text.contains("hunter") && !text.contains("text1") && text.contains("***"), "{text}");
}

#[test]
fn every_variable_of_the_fork_that_stands_for_a_key_has_its_row() {
    for variable in crate::resolve::environment::keys() {
        let found = SETTINGS.iter().any(|setting| setting.sources.contains(&Source::Variable(variable)));
        assert!(found, "{variable} is in no row");
    }
}
