//! Section `storage`, including the keys that shape the reads of the MLPerf fork.

use dlio_event::Secret;

use crate::fields::Fields;
use crate::location::Location;
use crate::notice::NoticeCode;
use crate::schema::{S3DLIO, value_type};
use crate::vocabulary::{
    AddressingStyle, ClientProfile, Decode, Dialect, LoadBalance, RowGroupDecode, StorageLibrary, StorageType,
    UriScheme,
};
use crate::workload::{Requests, Storage, Windows};

/// Returns the storage type. For `s3dlio`, a fork's word for its storage library, the schemes of the locations decide,
/// and S3 is the default.
fn storage_type(f: &mut Fields<'_>) -> StorageType {
    const KEY: &str = "storage.storage_type";
    let by_library = f.word_or_none(KEY, |word| (word == S3DLIO).then_some(())).is_some();
    if !by_library {
        return f.word(KEY, StorageType::from_word, StorageType::LocalFs);
    }
    let root = f.text("storage.storage_root");
    let (found, what) = match Location::parse(&root) {
        Ok(Location::File(_)) => (StorageType::LocalFs, "local_fs, as storage.storage_root is a path"),
        Ok(Location::Direct(_)) => (StorageType::DirectFs, "direct_fs, as storage.storage_root says"),
        _ => (StorageType::S3, "s3"),
    };
    f.note(NoticeCode::Accepted, KEY, &format!("s3dlio is a library, not a storage type: treated as {what}"));
    found
}

pub(super) fn storage(f: &mut Fields<'_>) -> Storage {
    let strategy = |word: &str| match word {
        "least_connections" => Some(LoadBalance::LeastOutstanding),
        _ => LoadBalance::from_word(word),
    };
    let (verify, ca_bundle) = verify(f);
    let storage_type = storage_type(f);
    let non_empty = |path| non_empty(f, path);
    Storage {
        storage_type,
        storage_root: f.text("storage.storage_root"),
        endpoint_url: non_empty("storage.storage_options.endpoint_url"),
        endpoint_uris: f.texts("storage.endpoint_uris"),
        endpoint_template: non_empty("storage.endpoint_template"),
        endpoint_file: non_empty("storage.endpoint_file"),
        region: non_empty("storage.storage_options.region"),
        access_key_id: f.text_or_none("storage.storage_options.access_key_id"),
        secret_access_key: f.text_or_none("storage.storage_options.secret_access_key").map(Secret::new),
        s3_force_path_style: f.flag_or_none("storage.storage_options.s3_force_path_style"),
        addressing_style: f.word_or_none("storage.storage_options.addressing_style", AddressingStyle::from_word),
        verify,
        ca_bundle,
        s3_max_attempts: f.whole_or_none("storage.storage_options.s3_max_attempts"),
        use_mpi_endpoint_distribution: f.flag_or_none("storage.use_mpi_endpoint_distribution"),
        load_balance_strategy: f.word("storage.load_balance_strategy", strategy, LoadBalance::RoundRobin),
        library: library(f, storage_type),
        uri_scheme: f.word_or_none("storage.storage_options.uri_scheme", UriScheme::from_word),
        windows: windows(f),
        post_generation_settle_seconds: f.number("storage.post_generation_settle_seconds"),
    }
}

/// Returns the text of a key; `None` if it is empty, because another source may then provide the value.
fn non_empty(f: &Fields<'_>, path: &str) -> Option<String> {
    f.text_or_none(path).filter(|text| !text.trim().is_empty())
}

/// Returns whether certificates are checked, and the file of certificate authorities. As in boto3, `verify` is a flag
/// or a path.
fn verify(f: &Fields<'_>) -> (bool, Option<String>) {
    let ssl = f.flag_or_none("storage.storage_options.verify_ssl").unwrap_or(true);
    match non_empty(f, "storage.storage_options.verify") {
        None => (ssl, None),
        Some(text) => match text.to_ascii_lowercase().as_str() {
            "false" | "no" | "off" | "0" => (false, None),
            "true" | "yes" | "on" | "1" => (true, None),
            _ => (true, Some(text)),
        },
    }
}

/// Returns the client library. The fork requires one unless the storage is a plain file system; its usual library is
/// the default here.
fn library(f: &Fields<'_>, storage_type: StorageType) -> Option<StorageLibrary> {
    let word = |path| f.word_or_none(path, StorageLibrary::from_word);
    let usual = matches!(storage_type, StorageType::S3 | StorageType::DirectFs | StorageType::Aistore);
    let usual = (usual && f.dialect == Dialect::Mlperf).then_some(StorageLibrary::S3dlio);
    let named = f.word_or_none("storage.storage_type", |word| (word == S3DLIO).then_some(StorageLibrary::S3dlio));
    let named = named.filter(|_| f.dialect == Dialect::Mlperf);
    let written = word("storage.storage_library").or_else(|| word("storage.storage_options.storage_library"));
    written.or(named).or(usual)
}

fn windows(f: &Fields<'_>) -> Windows {
    let workers = f.whole_or_none("storage.storage_options.prefetch_workers");
    Windows {
        prefetch_window: f.whole_or_none("storage.storage_options.prefetch_window"),
        prefetch_workers: workers.or_else(|| f.whole_or_none("storage.storage_options.prefetch")),
        coalesce_rgs: f.whole("storage.storage_options.coalesce_rgs"),
        max_outstanding: f.whole_or_none("storage.storage_options.max_outstanding"),
        footer_cap: f.whole("storage.storage_options.footer_cap"),
        footer_batch_size: f.whole("storage.storage_options.footer_batch_size"),
        columns: f.accepted("storage.storage_options.columns").and_then(value_type::columns),
        decode: f.word("storage.storage_options.decode", RowGroupDecode::from_word, RowGroupDecode::Raw),
        stagger_workers: f.flag("storage.storage_options.stagger_workers"),
    }
}

/// Returns how samples are decoded. `storage_options.decode: arrow` is the fork's way to ask for decoded values.
pub(super) fn decode(f: &Fields<'_>) -> Decode {
    match f.word("storage.storage_options.decode", RowGroupDecode::from_word, RowGroupDecode::Raw) {
        RowGroupDecode::Raw => Decode::None,
        RowGroupDecode::Arrow => Decode::Full,
    }
}

/// Returns how requests are made. s3dlio asks for object sizes only if records are large, and reads files with
/// `O_DIRECT` page by page.
pub(super) fn requests(f: &Fields<'_>) -> Requests {
    const LARGE: f64 = 16_777_216.0;
    const RANGES: u64 = 32 << 20;
    const PAGE: u64 = 4096;
    let profile = f.word_or_none("dlio_rs.client_profile", ClientProfile::from_word);
    let imitated = profile == Some(ClientProfile::S3dlio);
    let head = imitated && f.number("dataset.record_length_bytes") >= LARGE;
    let threshold = f.whole_or_none("dlio_rs.split_threshold").or(imitated.then_some(RANGES));
    Requests {
        head_before_get: f.flag_or_none("dlio_rs.head_before_get").unwrap_or(head),
        split_threshold: threshold.filter(|&bytes| bytes > 0),
        split_chunk: f.whole_or_none("dlio_rs.split_chunk"),
        split_concurrency: f.whole_or_none("dlio_rs.split_concurrency"),
        direct_chunk: f.whole_or_none("dlio_rs.direct_chunk").or(imitated.then_some(PAGE)),
    }
}
