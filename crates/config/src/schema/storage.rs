//! Section `storage`.

use super::key::{DefaultValue, Key, MLPERF, NOT_DLIO, acts, ignored};
use super::value_type::{ValueType, count, count32, seconds};
use crate::vocabulary::{AddressingStyle, LoadBalance, RowGroupDecode, StorageLibrary, StorageType, UriScheme};

const ONE_CLIENT: &str = "this program has its own S3 client; see dlio_rs.s3_client";
const DRY_RUN: &str = "`dlio-rs plan` prints what would be read";
const LIBRARY: &str = "Client library whose reads are imitated. Requests are always made by this program's own client.";

/// Name of the storage library that a fork uses as its storage type.
pub(crate) const S3DLIO: &str = "s3dlio";
/// Words for `storage_type`.
pub(crate) const STORAGE_TYPES: &[&str] = &[
    StorageType::WORDS[0],
    StorageType::WORDS[1],
    StorageType::WORDS[2],
    StorageType::WORDS[3],
    StorageType::WORDS[4],
    S3DLIO,
];

/// Words for `load_balance_strategy`; the last one is the fork's name of `least_outstanding`.
pub(crate) const STRATEGIES: &[&str] =
    &[LoadBalance::WORDS[0], LoadBalance::WORDS[1], LoadBalance::WORDS[2], "least_connections"];

pub(super) const KEYS: &[Key] = &[
    acts(
        "storage.storage_type",
        ValueType::Word(STORAGE_TYPES),
        DefaultValue::Text("local_fs"),
        "Storage type. `s3dlio`, which is a library, means `s3` unless `storage.storage_root` has another scheme.",
    ),
    acts(
        "storage.storage_root",
        ValueType::Text,
        DefaultValue::Text("./"),
        "Bucket, or the directory that relative paths are resolved against.",
    ),
    acts(
        "storage.storage_options.access_key_id",
        ValueType::Text,
        DefaultValue::Derived("`AWS_ACCESS_KEY_ID` and the other sources of credentials"),
        "Access key.",
    ),
    acts(
        "storage.storage_options.secret_access_key",
        ValueType::Secret,
        DefaultValue::Derived("`AWS_SECRET_ACCESS_KEY` and the other sources of credentials"),
        "Secret key, which is never shown.",
    ),
    acts(
        "storage.storage_options.endpoint_url",
        ValueType::Text,
        DefaultValue::Derived("`AWS_ENDPOINT_URL`"),
        "Endpoint, with `http://` or `https://`.",
    ),
    acts("storage.storage_options.region", ValueType::Text, DefaultValue::Derived("`AWS_REGION`, else us-east-1"), "Region."),
    acts(
        "storage.storage_options.s3_force_path_style",
        ValueType::FlagText,
        DefaultValue::Derived("path style unless the endpoint is AWS"),
        "Name the bucket in the path rather than in the host name; a short form of `addressing_style`.",
    ),
    acts(
        "storage.storage_options.addressing_style",
        ValueType::Word(AddressingStyle::WORDS),
        DefaultValue::Derived("`s3_force_path_style`, else that of the AWS profile, else `auto`"),
        "Place of the bucket name in requests. `path`: in the path. `virtual`: in front of the endpoint's host name, unless that is \
         an IP address or, with https, the bucket name has dots. `auto`: `virtual` for AWS, `path` otherwise. `host`: the \
         endpoint itself is the bucket.",
    ),
    acts(
        "storage.storage_options.verify",
        ValueType::Text,
        DefaultValue::Flag(true),
        "Check the certificates of https endpoints. As in boto3, a path names a PEM file of certificate authorities. \
         `--no-verify-ssl` takes precedence.",
    ),
    acts(
        "storage.storage_options.verify_ssl",
        ValueType::FlagText,
        DefaultValue::Flag(true),
        "Check the certificates of https endpoints; `verify` takes precedence.",
    ),
    acts(
        "storage.storage_options.s3_max_attempts",
        count32(1),
        DefaultValue::Derived("limited by `dlio_rs.retry_for` only"),
        "Maximum number of attempts per request, including the first. Attempts that cannot connect to the endpoint are not counted.",
    ),
    acts(
        "storage.endpoint_uris",
        ValueType::Texts,
        DefaultValue::Empty,
        "Endpoints that share the load: a list, or one comma-separated text. The references do not implement this key.",
    ),
    acts(
        "storage.use_mpi_endpoint_distribution",
        ValueType::FlagText,
        DefaultValue::Derived("true with at least as many ranks as endpoints"),
        "Every rank uses the one endpoint that `dlio_rs.endpoint_mapping` assigns to it.",
    ),
    acts(
        "storage.load_balance_strategy",
        ValueType::Word(STRATEGIES),
        DefaultValue::Text("round_robin"),
        "Distribution of the requests of one rank over its endpoints.",
    ),
    acts(
        "storage.endpoint_template",
        ValueType::Text,
        DefaultValue::Unset,
        "Endpoints in which `{a...b}` stands for a range of numbers: `http://node{1...4}:9000`. The references do not implement this key.",
    ),
    acts(
        "storage.endpoint_file",
        ValueType::Text,
        DefaultValue::Unset,
        "File with one endpoint per line; `#` begins a comment. The references do not implement this key.",
    ),
    acts(
        "storage.post_generation_settle_seconds",
        seconds(),
        DefaultValue::Number(0.0),
        "Pause in seconds after generation, on storage other than `local_fs`.",
    )
    .only(NOT_DLIO),
    ignored(
        "storage.s3_force_path_style",
        ValueType::FlagText,
        DefaultValue::Unset,
        "it is misplaced by the harness of the fork; use storage.storage_options.s3_force_path_style",
    ),
    acts("storage.storage_library", ValueType::Word(StorageLibrary::WORDS), DefaultValue::Unset, LIBRARY).only(MLPERF),
    acts(
        "storage.storage_options.storage_library",
        ValueType::Word(StorageLibrary::WORDS),
        DefaultValue::Unset,
        "Client library whose reads are imitated; `storage.storage_library` takes precedence.",
    )
    .only(MLPERF),
    acts(
        "storage.storage_options.uri_scheme",
        ValueType::Word(UriScheme::WORDS),
        DefaultValue::Text("s3"),
        "Scheme of object names; with `direct` and `file` the bucket is a folder.",
    )
    .only(MLPERF),
    ignored("storage.storage_options.use_full_object_uri", ValueType::FlagText, DefaultValue::Flag(false), ONE_CLIENT),
    ignored("storage.storage_options.s3_profile", ValueType::Text, DefaultValue::Unset, ONE_CLIENT),
    ignored("storage.storage_options.secure", ValueType::FlagText, DefaultValue::Flag(true), "the scheme of the endpoint decides"),
    acts(
        "storage.storage_options.prefetch_window",
        count32(1),
        DefaultValue::Derived("64; 256 for whole files, unless s3dlio reads them from S3"),
        "Number of objects in flight per worker, or of row groups that a worker has begun and not used yet. With s3dlio, it does \
         not apply to row groups. For whole files that s3dlio does not read from S3, it is the number of files per chunk.",
    )
    .only(MLPERF),
    acts(
        "storage.storage_options.prefetch_workers",
        count32(1),
        DefaultValue::Derived("32 for s3dlio, else 64"),
        "Number of row group requests that a worker has in flight; always 1 with minio.",
    )
    .only(MLPERF),
    acts(
        "storage.storage_options.prefetch",
        count32(1),
        DefaultValue::Unset,
        "Alias of `prefetch_workers`.",
    )
    .only(MLPERF),
    acts(
        "storage.storage_options.coalesce_rgs",
        count32(1),
        DefaultValue::Whole(8),
        "Number of consecutive row groups of a file per request, with s3dlio and `decode: raw`; otherwise 1.",
    )
    .only(MLPERF),
    acts(
        "storage.storage_options.max_outstanding",
        count32(1),
        DefaultValue::Derived("1024; 512 with `decode: arrow`"),
        "Maximum of `prefetch_workers` with s3dlio. The fork lowers it further if memory is short, which is not needed here \
         because row groups are not kept in memory.",
    )
    .only(MLPERF),
    acts(
        "storage.storage_options.footer_cap",
        count(8),
        DefaultValue::Whole(4_194_304),
        "Bytes that are read from the end of a Parquet file for its footer, with s3dlio. A longer footer takes a second request; \
         the fork refuses it. Other libraries read 64 KiB and, if the footer is longer, the whole footer again, as pyarrow does.",
    )
    .only(MLPERF),
    acts(
        "storage.storage_options.footer_batch_size",
        count32(1),
        DefaultValue::Whole(16),
        "Number of footers that a worker reads at a time before its first row group, with s3dlio; otherwise 1.",
    )
    .only(MLPERF),
    acts(
        "storage.storage_options.columns",
        ValueType::Columns,
        DefaultValue::Derived("all"),
        "Columns of a Parquet file that are read, by name or by number.",
    )
    .only(MLPERF),
    acts(
        "storage.storage_options.decode",
        ValueType::Word(RowGroupDecode::WORDS),
        DefaultValue::Text("raw"),
        "Processing of the bytes of a row group: they are counted or decoded.",
    )
    .only(MLPERF),
    ignored(
        "storage.storage_options.decode_output",
        ValueType::Text,
        DefaultValue::Text("none"),
        "decoded values are not used",
    ),
    acts(
        "storage.storage_options.stagger_workers",
        ValueType::FlagText,
        DefaultValue::Flag(true),
        "Worker k waits for k times the computation time before its first read, except with s3dlio.",
    )
    .only(MLPERF),
    ignored("storage.storage_options.simulate_io", ValueType::FlagText, DefaultValue::Flag(false), DRY_RUN),
    ignored("storage.storage_options.sim_log_secs", count(0), DefaultValue::Whole(60), DRY_RUN),
];
