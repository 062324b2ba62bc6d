//! Section `storage`.

use super::kind::{at_least, count, count32};
use super::{Key, Kind, Preset, acts, ignored, later};
use crate::vocabulary::{LoadBalance, StorageType};

const ONE_CLIENT: &str = "this program has its own S3 client: dlio_rs.s3_client";
const PARQUET_READER: &str = "tunes a reader of the MLPerf fork that has no counterpart here";

/// Words for `load_balance_strategy`; the last is the fork's name of `least_outstanding`.
pub(crate) const STRATEGIES: &[&str] =
    &[LoadBalance::WORDS[0], LoadBalance::WORDS[1], LoadBalance::WORDS[2], "least_connections"];

pub(super) const KEYS: &[Key] = &[
    acts("storage.storage_type", Kind::Word(StorageType::WORDS), Preset::Text("local_fs"), "Kind of storage."),
    acts(
        "storage.storage_root",
        Kind::Text,
        Preset::Text("./"),
        "Directory that relative paths are joined to, or bucket.",
    ),
    acts(
        "storage.storage_options.access_key_id",
        Kind::Text,
        Preset::Derived("`AWS_ACCESS_KEY_ID` and the other usual places"),
        "Access key.",
    ),
    acts(
        "storage.storage_options.secret_access_key",
        Kind::Secret,
        Preset::Derived("`AWS_SECRET_ACCESS_KEY` and the other usual places"),
        "Secret key; never shown.",
    ),
    acts(
        "storage.storage_options.endpoint_url",
        Kind::Text,
        Preset::Derived("`AWS_ENDPOINT_URL`"),
        "Endpoint, with `http://` or `https://`.",
    ),
    acts("storage.storage_options.region", Kind::Text, Preset::Derived("`AWS_REGION`, else us-east-1"), "Region."),
    acts(
        "storage.storage_options.s3_force_path_style",
        Kind::FlagText,
        Preset::Derived("path style for an endpoint of one's own"),
        "Address buckets by path rather than by host name.",
    ),
    acts(
        "storage.storage_options.s3_max_attempts",
        count32(1),
        Preset::Whole(5),
        "Attempts per request, the first included.",
    ),
    acts(
        "storage.endpoint_uris",
        Kind::Texts,
        Preset::Empty,
        "Endpoints to spread the load over: a list, or one text with commas. No reference implements it; this program does.",
    ),
    acts(
        "storage.use_mpi_endpoint_distribution",
        Kind::FlagText,
        Preset::Derived("true with at least as many ranks as endpoints"),
        "Every rank uses the one endpoint that `dlio_rs.endpoint_mapping` gives it.",
    ),
    acts(
        "storage.load_balance_strategy",
        Kind::Word(STRATEGIES),
        Preset::Text("round_robin"),
        "How one rank spreads its requests over its endpoints.",
    ),
    later("storage.endpoint_template", Kind::Text, Preset::Unset, "MLPerf fork: endpoints as `{a...b}` expansion."),
    later("storage.endpoint_file", Kind::Text, Preset::Unset, "MLPerf fork: file with one endpoint per line."),
    later(
        "storage.post_generation_settle_seconds",
        at_least(0.0),
        Preset::Number(0.0),
        "MLPerf fork: pause after generation on storage other than a local file system.",
    ),
    ignored(
        "storage.s3_force_path_style",
        Kind::FlagText,
        Preset::Unset,
        "the fork's harness writes it one level too high; use storage.storage_options.s3_force_path_style",
    ),
    ignored("storage.storage_library", Kind::Text, Preset::Unset, ONE_CLIENT),
    ignored("storage.storage_options.storage_library", Kind::Text, Preset::Unset, ONE_CLIENT),
    ignored("storage.storage_options.uri_scheme", Kind::Text, Preset::Text("s3"), ONE_CLIENT),
    ignored("storage.storage_options.use_full_object_uri", Kind::FlagText, Preset::Flag(false), ONE_CLIENT),
    ignored("storage.storage_options.s3_profile", Kind::Text, Preset::Unset, ONE_CLIENT),
    ignored("storage.storage_options.secure", Kind::FlagText, Preset::Flag(true), "the endpoint's scheme decides"),
    ignored("storage.storage_options.prefetch_window", count(0), Preset::Whole(64), PARQUET_READER),
    ignored("storage.storage_options.prefetch_workers", count(0), Preset::Whole(64), PARQUET_READER),
    ignored("storage.storage_options.prefetch", count(0), Preset::Whole(32), PARQUET_READER),
    ignored("storage.storage_options.coalesce_rgs", count(1), Preset::Whole(8), PARQUET_READER),
    ignored("storage.storage_options.max_outstanding", count(1), Preset::Whole(1024), PARQUET_READER),
    ignored("storage.storage_options.footer_cap", count(1), Preset::Whole(4_194_304), PARQUET_READER),
    ignored("storage.storage_options.footer_batch_size", count(1), Preset::Whole(16), PARQUET_READER),
    ignored("storage.storage_options.columns", Kind::Free, Preset::Unset, PARQUET_READER),
    ignored("storage.storage_options.decode", Kind::Text, Preset::Text("raw"), PARQUET_READER),
    ignored("storage.storage_options.decode_output", Kind::Text, Preset::Text("none"), PARQUET_READER),
    ignored("storage.storage_options.stagger_workers", Kind::FlagText, Preset::Flag(true), PARQUET_READER),
    ignored("storage.storage_options.simulate_io", Kind::FlagText, Preset::Flag(false), PARQUET_READER),
    ignored("storage.storage_options.sim_log_secs", count(0), Preset::Whole(60), PARQUET_READER),
];
