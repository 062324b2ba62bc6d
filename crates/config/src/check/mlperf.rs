//! Checks combinations of keys of the MLPerf fork.

use crate::fields::Fields;
use crate::notice::NoticeCode;
use crate::vocabulary::{DataLoader, Dialect, Framework, Sampler, Shuffle, StorageLibrary, StorageType, UriScheme};
use crate::workload::Workload;

pub(super) fn check(w: &Workload, f: &mut Fields<'_>) {
    if let Some(generated) = w.dataset.num_files_generated.filter(|&generated| generated < w.dataset.num_files_train) {
        let message = format!(
            "expected at least dataset.num_files_train, {}, as its files are among the generated ones; found {generated}",
            w.dataset.num_files_train
        );
        f.refuse("dataset.num_files_generated", message);
    }
    if w.dlio_rs.dialect == Dialect::Mlperf {
        library(w, f);
        scheme(w, f);
        shuffles(w, f);
    }
}

/// Checks that the client library supports the storage type.
fn library(w: &Workload, f: &mut Fields<'_>) {
    let key = if f.given("storage.storage_library").is_some() {
        "storage.storage_library"
    } else {
        "storage.storage_options.storage_library"
    };
    let allowed: &[StorageLibrary] = match w.storage.storage_type {
        StorageType::S3 if w.framework == Framework::Pytorch => {
            &[StorageLibrary::S3dlio, StorageLibrary::Minio, StorageLibrary::S3TorchConnector]
        }
        StorageType::DirectFs => &[StorageLibrary::S3dlio],
        _ => return,
    };
    let is_given = f.given(key).is_some();
    match w.storage.library {
        Some(library) if !allowed.contains(&library) => {
            let words: Vec<_> = allowed.iter().map(|library| library.word()).collect();
            let message =
                format!("expected {} with storage_type {}; found {library}", words.join(", "), w.storage.storage_type);
            f.refuse(key, message);
        }
        Some(library) if !is_given => {
            f.note(NoticeCode::Accepted, key, &format!("absent, treated as {library}; the fork requires a value"));
        }
        _ => {}
    }
}

fn scheme(w: &Workload, f: &mut Fields<'_>) {
    const KEY: &str = "storage.storage_options.uri_scheme";
    if let Some(scheme @ (UriScheme::Az | UriScheme::Gs)) = w.storage.uri_scheme {
        f.refuse(KEY, format!("expected s3, file or direct; found {scheme}, which no client of this program speaks"));
    }
    let root = w.storage.storage_root.as_str();
    let folder = matches!(w.storage.uri_scheme, Some(UriScheme::File | UriScheme::Direct));
    if w.storage.storage_type == StorageType::S3 && !folder && (root.starts_with('/') || root.starts_with("file://")) {
        f.refuse(
            "storage.storage_root",
            format!("expected the name of a bucket with storage_type s3; found the path {root:?}"),
        );
    }
}

/// Warns that the shuffle has no effect on reads: the fork looks up every sample by its own number.
fn shuffles(w: &Workload, f: &mut Fields<'_>) {
    let index = w.reader.sampler == Sampler::Index && w.reader.data_loader != DataLoader::Tensorflow;
    if index && w.workflow.train && w.reader.sample_shuffle != Shuffle::Off {
        let text =
            "has no effect on the order of reads, as in the fork, where samples are looked up by their own number";
        f.note(NoticeCode::Quirk, "reader.sample_shuffle", text);
    }
}
