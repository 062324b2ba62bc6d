//! Combinations of keys: refusals, quirks and dialects.

mod support;

use dlio_config::NoticeCode;
use dlio_config::vocabulary::{DType, DataLoader, Dialect, ReadType, Sampler, Shuffle};
use support::yaml;

#[test]
fn combinations_that_cannot_be_valid_are_refused_at_the_key() {
    for (text, start) in [
        (
            "framework: pytorch\nreader:\n  data_loader: tensorflow\n",
            "my.yaml:3: reader.data_loader: tensorflow does not go with",
        ),
        ("reader: {data_loader: pytorch}\n", "my.yaml:1: reader.data_loader: pytorch does not go with"),
        (
            "framework: pytorch\ndataset: {format: tfrecord}\nreader: {data_loader: pytorch}\n",
            "my.yaml:2: dataset.format: tfrecord cannot be read by data_loader pytorch",
        ),
        ("reader: {data_loader: none}\n", "my.yaml:1: reader.data_loader: none cannot train"),
        ("reader: {data_loader_sampler: none}\n", "my.yaml:1: reader.data_loader_sampler: expected iterative or index"),
        ("reader: {data_loader_classname: a.B}\n", "my.yaml:1: reader.data_loader_classname: is a Python class"),
        ("reader: {odirect: true}\n", "my.yaml:1: reader.odirect: expected false for format tfrecord"),
        (
            "train: {seed: 4294967295}\nreader: {sample_shuffle: seed}\n",
            "my.yaml:1: train.seed: 4294967295 plus the epoch, up to 1, exceeds",
        ),
        ("dataset: {format: hdf5_opt}\n", "my.yaml:1: dataset.format: hdf5_opt is a word of the reference"),
        (
            "dataset:\n  record_dims: [4, 4]\n  record_length_bytes_stdev: 1\n",
            "my.yaml:3: dataset.record_length_bytes_stdev: expected 0 beside dataset.record_dims",
        ),
        (
            "dataset: {format: hdf5, record_dims: [5, 4], hdf5: {num_dset_per_record: 2}}\n",
            "my.yaml:1: dataset.hdf5.num_dset_per_record: expected a divisor of the first of dataset.record_dims, 5; found 2",
        ),
        (
            "dataset: {format: hdf5, hdf5: {num_dset_per_record: 2}}\n",
            "my.yaml:1: dataset.hdf5.num_dset_per_record: 2 also needs dataset.record_dims",
        ),
        ("dataset: {format: jpeg, record_dims: [4]}\n", "my.yaml:1: dataset.record_dims: expected two dimensions"),
        ("dataset: {format: png, record_dims: [4, 4, 3]}\n", "my.yaml:1: dataset.record_dims: expected two dimensions"),
        ("dataset: {record_dims: [4294967296, 4294967296]}\n", "my.yaml:1: dataset.record_dims: a file of this shape"),
        (
            "dataset: {format: hdf5, record_dims: [4, 4], hdf5: {chunk_dims: [1, 4]}}\n",
            "my.yaml:1: dataset.hdf5.chunk_dims: expected 3 numbers, the sample axis and 2 of the record; found 2",
        ),
        (
            "dataset: {format: hdf5, hdf5: {max_shape: [4]}}\n",
            "my.yaml:1: dataset.hdf5.max_shape: expected 2 numbers, those of the record; found 1",
        ),
        (
            "dataset: {format: hdf5, compression: xz}\n",
            "my.yaml:1: dataset.compression: expected none or, for hdf5, one of gzip",
        ),
        ("dataset: {format: csv, compression: gzp}\n", "my.yaml:1: dataset.compression: expected one of none, gzip"),
        ("storage: {storage_type: parallel_fs}\n", "my.yaml:1: storage.storage_type: parallel_fs is a word"),
        ("storage: {storage_type: s3}\n", "my.yaml: storage.storage_root: s3 needs the name of the bucket"),
        (
            "storage: {storage_type: s3, storage_root: b, storage_options: {endpoint_url: localhost}}\n",
            "my.yaml:1: storage.storage_options.endpoint_url: expected http://host:port",
        ),
    ] {
        let refused = yaml(text).refused();
        assert!(refused.starts_with(start), "{text}\n{refused}");
    }
}

#[test]
fn checkpoints_that_cannot_be_valid_are_refused_at_the_key() {
    for (text, start) in [
        ("model: {num_layers: 2, parallelism: {pipeline: 4}}\n", "my.yaml:1: model.num_layers: expected at least"),
        (
            "model:\n  parallelism:\n    pipeline: 4\n    zero_stage: 3\n",
            "my.yaml:4: model.parallelism.zero_stage: 3 does not go with pipeline parallelism",
        ),
        (
            "model: {parallelism: {data: 2}}\n",
            "my.yaml:1: model.parallelism.data: only goes with checkpoint.mode: subset",
        ),
        ("checkpoint: {mode: subset}\n", "my.yaml: model.parallelism.data: checkpoint.mode: subset needs"),
        (
            "checkpoint: {num_checkpoints_write: 1, num_checkpoints_read: 2}\n",
            "my.yaml:1: checkpoint.num_checkpoints_read: expected at most checkpoint.num_checkpoints_write, 1; found 2",
        ),
        (
            "checkpoint: {ksm: {await_time: 5}}\n",
            "my.yaml:1: checkpoint.ksm: also needs checkpoint.randomize_tensor: false",
        ),
    ] {
        let text = format!("{text}workflow: {{checkpoint: true}}\n");
        let refused = yaml(&text).refused();
        assert!(refused.starts_with(start), "{text}\n{refused}");
    }
}

#[test]
fn combinations_at_the_edge_are_accepted() {
    for text in [
        "train: {seed: 4294967295}\n",
        "train: {seed: 4294967294}\nreader: {sample_shuffle: seed}\n",
        "train: {seed: 4294967295, seed_change_epoch: false}\nreader: {sample_shuffle: seed}\n",
        "workflow: {train: false}\nreader: {data_loader: none}\n",
        "dataset: {format: hdf5, record_dims: [2, 4, 4], hdf5: {num_dset_per_record: 2, chunk_dims: [1, 4, 4], max_shape: [4, 4]}}\n",
        "checkpoint: {mode: subset}\nmodel: {parallelism: {data: 2}}\n",
        "checkpoint: {ksm: {await_time: 5}, randomize_tensor: false}\n",
        "dataset: {format: npz}\nreader: {odirect: true}\n",
        "dataset: {num_files_train: 0}\n",
        "storage: {storage_type: s3}\ndataset: {data_folder: \"s3://bucket/prefix/\"}\n",
    ] {
        assert!(yaml(text).load().is_ok(), "{text}\n{:?}", yaml(text).load().err());
    }
}

#[test]
fn an_absent_loader_is_the_frameworks_own() {
    let case = yaml("framework: pytorch\ndataset: {format: npz}\n");
    assert_eq!(
        (case.ok().workload.reader.data_loader, case.ok().workload.reader.sampler),
        (DataLoader::Pytorch, Sampler::Index)
    );
    assert_eq!(case.notices(NoticeCode::Accepted).len(), 1);
}

#[test]
fn the_sampler_follows_the_loader_unless_given() {
    for (loader, sampler) in [
        ("tensorflow", Sampler::Iterative),
        ("dali", Sampler::Index),
        ("native_dali", Sampler::Index),
        ("synthetic", Sampler::Index),
    ] {
        let text = format!("reader: {{data_loader: {loader}}}\n");
        assert_eq!(yaml(&text).ok().workload.reader.sampler, sampler, "{loader}");
        let text = format!("reader: {{data_loader: {loader}, data_loader_sampler: iterative}}\n");
        assert_eq!(yaml(&text).ok().workload.reader.sampler, Sampler::Iterative, "{loader}");
    }
}

#[test]
fn any_file_shuffle_shuffles_the_iterative_sampler_except_in_native() {
    for value in ["\"off\"", "off", "null"] {
        let text = format!("reader:\n  file_shuffle: {value}\n");
        for dialect in [Dialect::Dlio, Dialect::Mlperf] {
            let case = yaml(&text).dialect(dialect);
            assert_eq!(case.ok().workload.reader.file_shuffle, Shuffle::Seed, "{value}");
            assert!(
                case.notices(NoticeCode::Quirk)[0].starts_with("my.yaml:2: reader.file_shuffle: files are shuffled")
            );
            assert!(case.ok().strict().is_ok());
        }
        let native = yaml(&text).dialect(Dialect::Native);
        assert_eq!(native.ok().workload.reader.file_shuffle, Shuffle::Off, "{value}");
        assert!(native.notices(NoticeCode::Quirk).is_empty());
    }
    let index = "framework: pytorch\ndataset: {format: npz}\nreader: {data_loader: pytorch, file_shuffle: \"off\"}\n";
    assert_eq!(yaml(index).ok().workload.reader.file_shuffle, Shuffle::Off);
    assert_eq!(yaml("reader: {file_shuffle: random}\n").ok().workload.reader.file_shuffle, Shuffle::Random);
    assert_eq!(yaml("reader: {file_shuffle: on}\n").ok().workload.reader.file_shuffle, Shuffle::Seed);
}

#[test]
fn a_bare_off_is_off() {
    assert_eq!(yaml("reader: {sample_shuffle: off}\n").ok().workload.reader.sample_shuffle, Shuffle::Off);
    assert_eq!(yaml("").with("reader.sample_shuffle=off").ok().workload.reader.sample_shuffle, Shuffle::Off);
}

#[test]
fn an_explicit_read_type_keeps_files_open_except_in_native() {
    let text = "framework: pytorch\ndataset: {format: npz}\nreader: {data_loader: pytorch, read_type: on_demand}\n";
    assert_eq!(yaml(text).ok().workload.reader.read_type, ReadType::Memory);
    assert_eq!(yaml(text).notices(NoticeCode::Quirk).len(), 1);
    assert_eq!(yaml(text).dialect(Dialect::Native).ok().workload.reader.read_type, ReadType::OnDemand);
    let iterative = "reader: {read_type: on_demand}\n";
    assert_eq!(yaml(iterative).ok().workload.reader.read_type, ReadType::OnDemand);
}

#[test]
fn the_dialect_is_the_argument_then_the_file_then_dlio() {
    let text = "dlio_rs: {dialect: native}\n";
    assert_eq!(yaml("").ok().workload.dlio_rs.dialect, Dialect::Dlio);
    assert_eq!(yaml(text).ok().workload.dlio_rs.dialect, Dialect::Native);
    assert_eq!(yaml(text).dialect(Dialect::Mlperf).ok().workload.dlio_rs.dialect, Dialect::Mlperf);
    assert_eq!(yaml(text).with("dlio_rs.dialect=mlperf").ok().workload.dlio_rs.dialect, Dialect::Mlperf);
}

#[test]
fn compression_none_is_none() {
    for (text, expected) in [
        ("dataset: {format: npz, compression: none}\n", None),
        ("dataset: {format: npz, compression: null}\n", None),
        ("dataset: {format: npz, compression: zip}\ndlio_rs: {dialect: native}\n", Some("zip")),
        ("dataset: {format: npz, compression: zip}\n", None),
        ("dataset: {format: hdf5, compression: gzip}\n", Some("gzip")),
        ("dataset: {format: npy, compression: gzip}\n", None),
    ] {
        assert_eq!(yaml(text).ok().workload.dataset.compression.as_deref(), expected, "{text}");
    }
    assert_eq!(yaml("dataset: {format: npy, compression: gzip}\n").notices(NoticeCode::IgnoredKey).len(), 1);
}

#[test]
fn one_subfolder_is_none() {
    assert_eq!(
        yaml("dataset: {num_subfolders_train: 1}\nreader: {data_loader: tensorflow}\n")
            .notices(NoticeCode::Accepted)
            .len(),
        1
    );
}

#[test]
fn data_reader_replaces_reader() {
    let case = yaml("reader: {batch_size: 2, prefetch_size: x}\ndata_reader: {batch_size: 4}\n");
    assert_eq!(case.ok().workload.reader.batch_size, 4);
    assert_eq!(
        case.notices(NoticeCode::Shadowed),
        ["my.yaml:1: reader: ignored, because data_reader is present and replaces it"]
    );
}

#[test]
fn images_are_of_bytes() {
    let case = yaml("dataset: {format: png, record_element_type: float32}\n");
    assert_eq!(case.ok().workload.dataset.record_element_type, DType::Uint8);
    assert_eq!(case.notices(NoticeCode::Quirk).len(), 1);
}

#[test]
fn folders_lose_their_trailing_slash() {
    let text = "dataset: {data_folder: /}\ncheckpoint: {checkpoint_folder: a/b//}\n";
    assert_eq!(yaml(text).ok().workload.dataset.data_folder, "/");
    assert_eq!(yaml(text).ok().workload.checkpoint.checkpoint_folder, "a/b");
}

#[test]
fn spellings_of_release_2_0_0_mean_what_they_meant_and_are_told() {
    let loaded = yaml("model: unet3d\ndataset: {record_length: 4096, record_length_stdev: 16}\n").ok();
    assert_eq!(loaded.workload.model.name, "unet3d");
    assert_eq!(loaded.workload.dataset.record_length_bytes.to_bits(), 4096f64.to_bits());
    assert_eq!(loaded.workload.dataset.record_length_bytes_stdev.to_bits(), 16f64.to_bits());
    let told = loaded.notices.iter().filter(|notice| notice.code == NoticeCode::Accepted).count();
    assert!(told >= 3, "{:?}", loaded.notices);
    loaded.strict().unwrap();

    let both = yaml("dataset: {record_length: 4096, record_length_bytes: 100}\n").ok();
    assert_eq!(both.workload.dataset.record_length_bytes.to_bits(), 100f64.to_bits());
}
