//! The table of settings.

use dlio_config::location::Location;
use dlio_config::vocabulary::StorageType;
use dlio_event::S3Uri;

use super::SettingValues;

/// A source of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// An option of the command line.
    Flag(&'static str),
    /// A key of the configuration, in the file or as an override.
    Key(&'static str),
    /// A key of the configuration whose value has a scheme.
    Scheme(&'static str),
    /// A variable of the environment, or in dialect `mlperf` of the file `.env`.
    Variable(&'static str),
    /// A value of the profile in the shared AWS configuration files.
    Profile(&'static str),
    /// The endpoints that servers have announced in a registry.
    Registry,
    /// The key pair in a registry.
    RegistryKeys,
    /// Evidence that the configuration is for the MLPerf Storage fork.
    Marks,
    /// The launcher of the ranks.
    Launcher,
}

impl Source {
    /// Returns whether the source is specific to this run instead of the whole environment.
    pub(super) fn is_of_the_run(self) -> bool {
        matches!(self, Self::Flag(_) | Self::Key(_) | Self::Scheme(_) | Self::Registry | Self::RegistryKeys)
    }
}

/// The runs to which a setting applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All runs.
    Every,
    /// Runs with data or checkpoints on S3.
    S3,
    /// All runs; variables only in dialect `mlperf`.
    Mlperf,
    /// Runs with data or checkpoints on S3 whose endpoints do not come from a registry.
    Proxy,
    /// No run: the setting is not implemented.
    Never,
}

/// A setting with its sources in the order of precedence.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Name of the setting.
    pub name: &'static str,
    /// Sources in the order of precedence.
    pub sources: &'static [Source],
    /// Runs that the setting applies to.
    pub scope: Scope,
    /// Whether every unused value causes a warning; otherwise only those that are specific to the run.
    pub warns: bool,
}

impl Setting {
    /// Returns the sources in the order of precedence for this run.
    pub(super) fn order(&self, given: &SettingValues<'_>) -> Vec<Source> {
        const SEVERAL: Source = Source::Variable("S3_ENDPOINT_URIS");
        let mut order = self.sources.to_vec();
        if self.scope == Scope::Mlperf && !given.rules().reads_fork_environment {
            order.retain(|source| !matches!(source, Source::Variable(_)));
        }
        // In the fork, a list of several endpoints in the environment takes precedence over the configured URL.
        let several = given.text(SEVERAL).is_some_and(|text| dlio_config::endpoints::list(&text).len() > 1);
        let (one, list) =
            (order.iter().position(|source| *source == URL), order.iter().position(|source| *source == SEVERAL));
        if let (Some(one), Some(list), true) = (one, list, several && given.rules().endpoint_list_before_url) {
            let moved = order.remove(list);
            order.insert(one, moved);
        }
        order
    }

    /// Checks whether the setting applies to this run.
    pub(super) fn concerns(&self, given: &SettingValues<'_>) -> Result<(), Excluded> {
        let local = || Excluded { why: "neither data nor checkpoints are on S3", environment: false };
        match self.scope {
            Scope::S3 | Scope::Proxy | Scope::Never if !given.on_s3 => Err(local()),
            Scope::Proxy if given.registry.is_some() => {
                Err(Excluded { why: "the endpoints of a registry are reached directly", environment: false })
            }
            Scope::Never => Err(Excluded { why: "nothing here reads it", environment: true }),
            _ => Ok(()),
        }
    }

    /// Returns whether the values of two sources are equivalent.
    pub(super) fn agree(&self, one: &str, other: &str) -> bool {
        match self.name {
            STORAGE => kind(one) == kind(other) || one.trim_start_matches(S3Uri::SCHEME).starts_with(other),
            ENDPOINTS => one.trim_end_matches('/') == other.trim_end_matches('/'),
            // Masked values cannot be compared.
            _ => one == other && one != "***",
        }
    }
}

/// The reason why a setting does not apply to a run.
pub(super) struct Excluded {
    pub(super) why: &'static str,
    /// Whether a value from the environment causes a warning as well.
    pub(super) environment: bool,
}

/// Returns the storage type of a URI scheme or a storage type's name.
fn kind(text: &str) -> Option<StorageType> {
    match Location::parse(text) {
        Ok(Location::S3(_)) => Some(StorageType::S3),
        Ok(Location::File(_)) => Some(StorageType::LocalFs),
        Ok(Location::Direct(_)) => Some(StorageType::DirectFs),
        _ => StorageType::from_word(text),
    }
}

const STORAGE: &str = "storage";

const URL: Source = Source::Key("storage.storage_options.endpoint_url");

const fn setting(name: &'static str, scope: Scope, sources: &'static [Source]) -> Setting {
    Setting { name, sources, scope, warns: false }
}

/// Creates a setting whose unused values all cause a warning.
const fn loud(name: &'static str, scope: Scope, sources: &'static [Source]) -> Setting {
    Setting { name, sources, scope, warns: true }
}

/// Name of the setting of endpoints.
pub const ENDPOINTS: &str = "endpoints";

/// All settings that several sources can give.
pub const SETTINGS: &[Setting] = &[
    setting("dialect", Scope::Every, &[Source::Flag("--dialect"), Source::Key("dlio_rs.dialect"), Source::Marks]),
    setting("ranks", Scope::Every, &[Source::Variable("DLIO_RS_COMM"), Source::Launcher]),
    setting(
        STORAGE,
        Scope::Every,
        &[
            Source::Scheme("dataset.data_folder"),
            Source::Scheme("storage.storage_root"),
            Source::Key("storage.storage_type"),
        ],
    ),
    setting(
        "output folder",
        Scope::Every,
        &[
            Source::Flag("--output"),
            Source::Key("output.folder"),
            Source::Variable("DLIO_OUTPUT_FOLDER"),
            Source::Key("hydra.run.dir"),
        ],
    ),
    setting("registry", Scope::S3, &[Source::Flag("--registry"), Source::Key("dlio_rs.registry")]),
    loud(
        ENDPOINTS,
        Scope::S3,
        &[
            Source::Registry,
            Source::Key("storage.endpoint_uris"),
            Source::Key("storage.endpoint_template"),
            Source::Key("storage.endpoint_file"),
            URL,
            Source::Variable("S3_ENDPOINT_URIS"),
            Source::Variable("S3_ENDPOINT_TEMPLATE"),
            Source::Variable("S3_ENDPOINT_FILE"),
            Source::Variable("AWS_ENDPOINT_URL_S3"),
            Source::Variable("AWS_ENDPOINT_URL"),
            Source::Profile("services.s3.endpoint_url"),
            Source::Profile("endpoint_url"),
        ],
    ),
    loud("AWS profile", Scope::S3, &[Source::Variable("AWS_DEFAULT_PROFILE"), Source::Variable("AWS_PROFILE")]),
    setting(
        "access key",
        Scope::S3,
        &[
            Source::RegistryKeys,
            Source::Key("storage.storage_options.access_key_id"),
            Source::Variable("AWS_ACCESS_KEY_ID"),
            Source::Profile("aws_access_key_id"),
        ],
    ),
    setting(
        "secret key",
        Scope::S3,
        &[
            Source::RegistryKeys,
            Source::Key("storage.storage_options.secret_access_key"),
            Source::Variable("AWS_SECRET_ACCESS_KEY"),
        ],
    ),
    setting(
        "region",
        Scope::S3,
        &[
            Source::Key("storage.storage_options.region"),
            Source::Variable("AWS_REGION"),
            Source::Variable("AWS_DEFAULT_REGION"),
            Source::Profile("region"),
        ],
    ),
    setting(
        "place of the bucket in requests",
        Scope::S3,
        &[
            Source::Key("storage.storage_options.addressing_style"),
            Source::Key("storage.storage_options.s3_force_path_style"),
            Source::Profile("s3.addressing_style"),
        ],
    ),
    setting(
        "check of certificates",
        Scope::S3,
        &[
            Source::Flag("--no-verify-ssl"),
            Source::Key("storage.storage_options.verify"),
            Source::Key("storage.storage_options.verify_ssl"),
        ],
    ),
    setting(
        "certificate authorities",
        Scope::S3,
        &[Source::Variable("AWS_CA_BUNDLE"), Source::Profile("ca_bundle"), Source::Variable("REQUESTS_CA_BUNDLE")],
    ),
    setting(
        "client library",
        Scope::Mlperf,
        &[
            Source::Key("storage.storage_library"),
            Source::Key("storage.storage_options.storage_library"),
            Source::Variable("DLIO_STORAGE_LIBRARY"),
        ],
    ),
    setting(
        "prefetch workers",
        Scope::Mlperf,
        &[Source::Key("storage.storage_options.prefetch_workers"), Source::Key("storage.storage_options.prefetch")],
    ),
    setting(
        "spreading of requests",
        Scope::S3,
        &[Source::Key("storage.load_balance_strategy"), Source::Variable("S3_LOAD_BALANCE_STRATEGY")],
    ),
    setting(
        "files generated at a time",
        Scope::Every,
        &[Source::Key("reader.write_threads"), Source::Key("dlio_rs.generate_inflight")],
    ),
    setting(
        "decoding",
        Scope::Every,
        &[Source::Flag("--decode"), Source::Key("dlio_rs.decode"), Source::Key("storage.storage_options.decode")],
    ),
    setting(
        "proxy of http endpoints",
        Scope::Proxy,
        &[
            Source::Variable("http_proxy"),
            Source::Variable("HTTP_PROXY"),
            Source::Variable("all_proxy"),
            Source::Variable("ALL_PROXY"),
        ],
    ),
    setting(
        "proxy of https endpoints",
        Scope::Proxy,
        &[
            Source::Variable("https_proxy"),
            Source::Variable("HTTPS_PROXY"),
            Source::Variable("all_proxy"),
            Source::Variable("ALL_PROXY"),
        ],
    ),
    setting("hosts without proxy", Scope::Proxy, &[Source::Variable("no_proxy"), Source::Variable("NO_PROXY")]),
    setting(
        "most threads of a reader",
        Scope::Mlperf,
        &[Source::Key("dlio_rs.max_auto_threads"), Source::Variable("DLIO_MAX_AUTO_THREADS")],
    ),
    setting(
        "time for dropping the page cache",
        Scope::Mlperf,
        &[Source::Key("dlio_rs.drop_caches_timeout_seconds"), Source::Variable("DLIO_DROP_CACHES_TIMEOUT")],
    ),
    setting(
        "size of uploads in parts",
        Scope::Mlperf,
        &[Source::Key("dlio_rs.multipart_threshold"), Source::Variable("S3DLIO_MULTIPART_THRESHOLD_MB")],
    ),
    setting(
        "size of a part",
        Scope::Mlperf,
        &[Source::Key("dlio_rs.multipart_part_size"), Source::Variable("S3DLIO_MULTIPART_PART_SIZE_MB")],
    ),
    setting(
        "parts in flight",
        Scope::Mlperf,
        &[Source::Key("dlio_rs.multipart_concurrency"), Source::Variable("S3DLIO_MULTIPART_MAX_IN_FLIGHT")],
    ),
    setting(
        "size of reads in ranges",
        Scope::Mlperf,
        &[
            Source::Key("dlio_rs.split_threshold"),
            Source::Variable("S3DLIO_RANGE_THRESHOLD_MB"),
            Source::Variable("S3DLIO_ENABLE_RANGE_OPTIMIZATION"),
        ],
    ),
    setting(
        "size of a range",
        Scope::Mlperf,
        &[Source::Key("dlio_rs.split_chunk"), Source::Variable("S3DLIO_CHUNK_SIZE")],
    ),
    setting(
        "ranges in flight",
        Scope::Mlperf,
        &[Source::Key("dlio_rs.split_concurrency"), Source::Variable("S3DLIO_RANGE_CONCURRENCY")],
    ),
    setting(
        "lookups before reads",
        Scope::Mlperf,
        &[Source::Key("dlio_rs.head_before_get"), Source::Variable("S3DLIO_SKIP_HEAD")],
    ),
    setting(
        "settings of the AWS SDKs",
        Scope::Never,
        &[
            Source::Variable("AWS_MAX_ATTEMPTS"),
            Source::Variable("AWS_RETRY_MODE"),
            Source::Variable("AWS_USE_FIPS_ENDPOINT"),
            Source::Variable("AWS_USE_DUALSTACK_ENDPOINT"),
            Source::Variable("AWS_REQUEST_CHECKSUM_CALCULATION"),
            Source::Variable("AWS_RESPONSE_CHECKSUM_VALIDATION"),
        ],
    ),
];
