//! Keys of the MLPerf fork: their meaning in its dialect, and the notices about them in other dialects.

mod support;

use dlio_config::NoticeCode;
use dlio_config::vocabulary::{Dialect, RowGroupDecode, Shuffle, StorageLibrary, UriScheme};
use dlio_config::workload::ColumnSelection;
use support::{Case, yaml};

fn mlperf(text: &str) -> Case<'_> {
    yaml(text).dialect(Dialect::Mlperf)
}

#[test]
fn the_keys_of_the_fork_have_its_defaults() {
    let workload = mlperf("framework: pytorch\ndataset: {format: npz}\n").ok().workload;
    let windows = &workload.storage.windows;
    assert_eq!((windows.coalesce_rgs, windows.footer_cap, windows.footer_batch_size), (8, 4 << 20, 16));
    assert_eq!((windows.prefetch_window, windows.prefetch_workers, windows.max_outstanding), (None, None, None));
    assert!(windows.stagger_workers && windows.columns.is_none() && windows.decode == RowGroupDecode::Raw);
    assert!(!workload.dataset.skip_listing);
    assert_eq!(workload.dataset.listing_validation_interval, 1000);
    assert_eq!((workload.dataset.num_files_generated, workload.reader.write_threads), (None, None));
    assert_eq!((workload.storage.library, workload.storage.uri_scheme), (None, None));
}

#[test]
fn the_library_beside_the_options_takes_precedence_over_the_one_among_them() {
    let text = "storage: {storage_library: minio, storage_options: {storage_library: s3dlio, uri_scheme: direct}}\n";
    let storage = mlperf(text).ok().workload.storage;
    assert_eq!((storage.library, storage.uri_scheme), (Some(StorageLibrary::Minio), Some(UriScheme::Direct)));
}

#[test]
fn an_object_store_without_a_library_is_read_as_s3dlio_does() {
    let text = "framework: pytorch\ndataset: {format: npz}\nstorage: {storage_type: s3, storage_root: b}\n";
    assert_eq!(mlperf(text).ok().workload.storage.library, Some(StorageLibrary::S3dlio));
    let told = mlperf(text).notices(NoticeCode::Accepted);
    assert!(told.iter().any(|text| text.contains("absent, treated as s3dlio")), "{told:?}");
}

#[test]
fn columns_are_names_or_numbers() {
    let columns = |list: &str| {
        let text = format!("storage: {{storage_options: {{columns: {list}}}}}\n");
        mlperf(&text).load().map(|loaded| loaded.workload.storage.windows.columns)
    };
    let names = ColumnSelection::Names(vec!["a".to_owned(), "b".to_owned()]);
    assert_eq!(columns("[a, b]").unwrap(), Some(names));
    assert_eq!(columns("[0, 7]").unwrap(), Some(ColumnSelection::Indices(vec![0, 7])));
    assert_eq!(columns("null").unwrap(), None);
    assert!(columns("[a, 7]").unwrap_err().to_string().contains("a list of column names or of column numbers"));
}

#[test]
fn in_dialect_dlio_they_are_told_and_have_no_effect() {
    let text = "dataset: {num_files_generated: 50, skip_listing: true}\nreader: {write_threads: 3}\nstorage:\n  storage_options: {prefetch_window: 3}\n";
    let loaded = yaml(text).ok();
    assert_eq!(loaded.workload.dataset.num_files_generated, None);
    assert_eq!(loaded.workload.storage.windows.prefetch_window, None);
    let told = yaml(text).notices(NoticeCode::IgnoredKey);
    assert_eq!(told.len(), 4, "{told:?}");
    assert_eq!(
        told[0],
        "my.yaml:1: dataset.num_files_generated: ignored: it is a key of the MLPerf fork; choose dialect mlperf or \
         native for its effect"
    );
    let native = yaml(text).dialect(Dialect::Native).ok().workload;
    assert_eq!((native.dataset.num_files_generated, native.reader.write_threads), (Some(50), Some(3)));
    assert!(!native.dataset.skip_listing, "nothing is ever listed but in dialect mlperf");
}

#[test]
fn what_cannot_be_is_refused_at_the_key() {
    for (text, start) in [
        (
            "dataset: {num_files_train: 9, num_files_generated: 8}\n",
            "my.yaml:1: dataset.num_files_generated: expected at least dataset.num_files_train, 9",
        ),
        (
            "storage: {storage_type: direct_fs, storage_library: minio}\n",
            "my.yaml:1: storage.storage_library: expected s3dlio with storage_type direct_fs; found minio",
        ),
        (
            "framework: pytorch\ndataset: {format: npz}\nstorage: {storage_type: s3, storage_root: b, storage_library: posix}\n",
            "my.yaml:3: storage.storage_library: expected s3dlio, minio, s3torchconnector with storage_type s3; found posix",
        ),
        ("storage: {storage_library: s3_torch}\n", "my.yaml:1: storage.storage_library: expected one of s3dlio"),
        (
            "storage: {storage_options: {uri_scheme: az}}\n",
            "my.yaml:1: storage.storage_options.uri_scheme: expected s3, file or direct; found az",
        ),
        (
            "storage: {storage_type: s3, storage_root: /data}\n",
            "my.yaml:1: storage.storage_root: expected the name of a bucket with storage_type s3; found the path",
        ),
    ] {
        let refused = mlperf(text).refused();
        assert!(refused.starts_with(start), "{text}\n{refused}");
    }
}

#[test]
fn any_value_of_file_shuffle_shuffles_and_sample_shuffle_never_does() {
    let text = "framework: pytorch\ndataset: {format: npz}\nreader: {file_shuffle: off, sample_shuffle: seed}\n";
    assert_eq!(mlperf(text).ok().workload.reader.file_shuffle, Shuffle::Seed);
    let told = mlperf(text).notices(NoticeCode::Quirk);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("file_shuffle") && told[1].contains("sample_shuffle"), "{told:?}");
}

#[test]
fn npz_is_stored_whatever_the_compression_says() {
    let text = "dataset: {format: npz, compression: zip}\n";
    assert_eq!(mlperf(text).ok().workload.dataset.compression, None);
    assert_eq!(mlperf(text).notices(NoticeCode::Quirk).len(), 1);
}
