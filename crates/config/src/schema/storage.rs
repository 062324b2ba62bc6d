//! Section `storage`.

use super::key::{Key, MLPERF, NOT_DLIO, Preset, acts, ignored};
use super::kind::{Kind, count, count32, seconds};
use crate::vocabulary::{AddressingStyle, LoadBalance, RowGroupDecode, StorageLibrary, StorageType, UriScheme};

const ONE_CLIENT: &str = "this program has its own S3 client: dlio_rs.s3_client";
const DRY_RUN: &str = "`dlio-rs plan` prints what would be read";
const LIBRARY: &str = "Client library whose way of reading is imitated; the requests are always this program's own.";

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
        Kind::Word(STORAGE_TYPES),
        Preset::Text("local_fs"),
        "Kind of storage; `s3dlio`, a library, is `s3`, or what a scheme in `storage.storage_root` says.",
    ),
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
        "Address buckets by path rather than by host name: `addressing_style` in two words.",
    ),
    acts(
        "storage.storage_options.addressing_style",
        Kind::Word(AddressingStyle::WORDS),
        Preset::Derived("`s3_force_path_style`, else the AWS profile's, else `auto`"),
        "Where requests name the bucket: `path`; `virtual` puts it before the endpoint's host, except before an address and, with \
         https, where it has dots; `auto` is `virtual` at AWS and `path` elsewhere; with `host` the endpoint stands for the bucket.",
    ),
    acts(
        "storage.storage_options.verify",
        Kind::Text,
        Preset::Flag(true),
        "Check the certificates of https endpoints; a path is that of a PEM file of authorities, as for boto3. `--no-verify-ssl` \
         takes precedence.",
    ),
    acts(
        "storage.storage_options.verify_ssl",
        Kind::FlagText,
        Preset::Flag(true),
        "The same as a flag; the key above takes precedence.",
    ),
    acts(
        "storage.storage_options.s3_max_attempts",
        count32(1),
        Preset::Derived("as many as `dlio_rs.retry_for` has room for"),
        "Most attempts per request, the first included; those that find nobody at the endpoint are not counted.",
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
    acts(
        "storage.endpoint_template",
        Kind::Text,
        Preset::Unset,
        "Endpoints with `{a...b}` for their numbers: `http://node{1...4}:9000`. No reference implements it; this program does.",
    ),
    acts(
        "storage.endpoint_file",
        Kind::Text,
        Preset::Unset,
        "File with one endpoint per line; `#` begins a comment. No reference implements it; this program does.",
    ),
    acts(
        "storage.post_generation_settle_seconds",
        seconds(),
        Preset::Number(0.0),
        "Pause after generation on storage other than `local_fs`.",
    )
    .only(NOT_DLIO),
    ignored(
        "storage.s3_force_path_style",
        Kind::FlagText,
        Preset::Unset,
        "the fork's harness writes it one level too high; use storage.storage_options.s3_force_path_style",
    ),
    acts("storage.storage_library", Kind::Word(StorageLibrary::WORDS), Preset::Unset, LIBRARY).only(MLPERF),
    acts(
        "storage.storage_options.storage_library",
        Kind::Word(StorageLibrary::WORDS),
        Preset::Unset,
        "The same; the key above takes precedence.",
    )
    .only(MLPERF),
    acts(
        "storage.storage_options.uri_scheme",
        Kind::Word(UriScheme::WORDS),
        Preset::Text("s3"),
        "Kind of name: `direct` and `file` make the bucket a folder.",
    )
    .only(MLPERF),
    ignored("storage.storage_options.use_full_object_uri", Kind::FlagText, Preset::Flag(false), ONE_CLIENT),
    ignored("storage.storage_options.s3_profile", Kind::Text, Preset::Unset, ONE_CLIENT),
    ignored("storage.storage_options.secure", Kind::FlagText, Preset::Flag(true), "the endpoint's scheme decides"),
    acts(
        "storage.storage_options.prefetch_window",
        count32(1),
        Preset::Derived("64; 256 for whole files from anything but s3dlio on S3"),
        "Objects in flight per worker; row groups that a worker has begun and not used yet, unless s3dlio reads them; for whole \
         files from anything but s3dlio on S3, the size of a chunk.",
    )
    .only(MLPERF),
    acts(
        "storage.storage_options.prefetch_workers",
        count32(1),
        Preset::Derived("32 for s3dlio, else 64"),
        "Requests for row groups that a worker has in flight; with minio it is one.",
    )
    .only(MLPERF),
    acts(
        "storage.storage_options.prefetch",
        count32(1),
        Preset::Unset,
        "Another name of `prefetch_workers`.",
    )
    .only(MLPERF),
    acts(
        "storage.storage_options.coalesce_rgs",
        count32(1),
        Preset::Whole(8),
        "Consecutive row groups of a file per request, with s3dlio and `decode: raw`; else each is a request.",
    )
    .only(MLPERF),
    acts(
        "storage.storage_options.max_outstanding",
        count32(1),
        Preset::Derived("1024; 512 with `decode: arrow`"),
        "Cap of s3dlio's `prefetch_workers`; the fork lowers it further where memory for the bytes is short, but here nobody \
         holds them.",
    )
    .only(MLPERF),
    acts(
        "storage.storage_options.footer_cap",
        count(8),
        Preset::Whole(4_194_304),
        "Bytes fetched from the end of a Parquet file for its footer, with s3dlio; a longer footer takes a second request (the \
         fork refuses it). Else 64 KiB, and for a longer footer all of it once more, as pyarrow does.",
    )
    .only(MLPERF),
    acts(
        "storage.storage_options.footer_batch_size",
        count32(1),
        Preset::Whole(16),
        "Footers that a worker fetches at a time before its first row group, with s3dlio; else one after the other.",
    )
    .only(MLPERF),
    acts(
        "storage.storage_options.columns",
        Kind::Columns,
        Preset::Derived("all"),
        "Columns of a Parquet file that are read, by name or by number.",
    )
    .only(MLPERF),
    acts(
        "storage.storage_options.decode",
        Kind::Word(RowGroupDecode::WORDS),
        Preset::Text("raw"),
        "What becomes of the bytes of a row group: counted, or decoded.",
    )
    .only(MLPERF),
    ignored(
        "storage.storage_options.decode_output",
        Kind::Text,
        Preset::Text("none"),
        "decoded values are handed to nobody",
    ),
    acts(
        "storage.storage_options.stagger_workers",
        Kind::FlagText,
        Preset::Flag(true),
        "Worker k waits k times the computation time before its first read; not with s3dlio.",
    )
    .only(MLPERF),
    ignored("storage.storage_options.simulate_io", Kind::FlagText, Preset::Flag(false), DRY_RUN),
    ignored("storage.storage_options.sim_log_secs", count(0), Preset::Whole(60), DRY_RUN),
];
