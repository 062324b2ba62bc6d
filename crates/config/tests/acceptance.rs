//! Values that files of the references may have for keys without an effect, and values that are refused because their
//! key has an effect.
#![expect(clippy::panic, reason = "a test fails by panicking")]

mod support;

use dlio_config::vocabulary::{Dialect, ReadType, ShapeMismatch, Shuffle, StorageLibrary, StorageType};
use dlio_config::{NoticeCode, Severity};
use support::yaml;

/// Asserts that a file is valid and that a notice contains these words.
fn told(text: &str, severity: Severity, words: &str) {
    let loaded = yaml(text).ok();
    let found = loaded.notices.iter().find(|notice| notice.text.contains(words));
    let found = found.unwrap_or_else(|| panic!("{text}\n{:?}", loaded.notices));
    assert_eq!(found.severity, severity, "{text}\n{}", found.text);
}

#[test]
fn values_of_keys_that_nothing_reads_are_not_checked() {
    for (text, words) in [
        ("checkpoint: {type: independent}\nworkflow: {checkpoint: true}\n", "checkpoint.type: ignored"),
        ("reader: {multiprocessing_context: threads}\n", "reader.multiprocessing_context: ignored"),
        ("reader: {file_access: mine, computation_threads: many}\n", "reader.file_access: ignored"),
        ("dataset: {record_element_bytes: -1, chunk_size: big}\n", "dataset.chunk_size: ignored"),
        ("storage: {storage_options: {prefetch_window: 0}}\n", "ignored: it is a key of the MLPerf fork"),
    ] {
        told(text, Severity::Info, words);
    }
}

#[test]
fn values_of_features_that_are_off_are_told_and_not_used() {
    for (text, words) in [
        ("evaluation: {epochs_between_evals: 0}\n", "evaluation.epochs_between_evals: expected a whole number"),
        ("evaluation: {eval_time: {type: gamma, scale: 1}}\n", "evaluation.eval_time: type gamma also needs shape"),
        ("profiling: {profiler: pytorch_profiler}\n", "workflow.profiling is off"),
        ("model: {num_layers: 2, parallelism: {pipeline: 16, zero_stage: 9}}\n", "workflow.checkpoint is off"),
        ("checkpoint: {mode: subset, checkpoint_mechanism_classname: a.B}\n", "is a Python class"),
        ("dataset: {hdf5: {chunk_dims: 7}}\n", "dataset.format is tfrecord"),
        ("dataset: {parquet: {columns: 7}}\n", "dataset.format is tfrecord"),
        ("dataset: {compression: lz4}\n", "dataset.format is tfrecord"),
        ("workflow: {train: false, checkpoint: true}\nreader: {data_loader: terabyte}\n", "workflow.train is off"),
        ("storage: {storage_options: {s3_max_attempts: 0}}\n", "nothing is kept as objects"),
        ("dataset: {format: npz}\nreader: {shuffle_size: 0, transfer_size: 1}\n", "dataset.format is npz"),
        ("dataset: {format: npz}\nreader: {shuffle_size: abc}\n", "dataset.format is npz"),
        ("dataset: {format: hdf5}\nreader: {transfer_size: abc}\n", "dataset.format is hdf5"),
        ("reader: {read_type: foo}\n", "the reference takes any value"),
        ("reader: {file_shuffle: foo}\n", "the reference takes any value"),
    ] {
        told(text, Severity::Warning, words);
    }
    for text in [
        "evaluation: {epochs_between_evals: 0}\nworkflow: {evaluation: true}\n",
        "profiling: {profiler: pytorch_profiler}\nworkflow: {profiling: true}\n",
        "model: {num_layers: 2, parallelism: {pipeline: 16}}\nworkflow: {checkpoint: true}\n",
        "dataset: {format: hdf5, hdf5: {chunk_dims: 7}}\n",
        "dataset: {data_folder: 's3://b/p'}\nstorage: {storage_options: {s3_max_attempts: 0}}\n",
        "reader: {shuffle_size: 0}\n",
        "reader: {transfer_size: abc}\n",
        "reader: {read_type: foo}\ndlio_rs: {dialect: native}\n",
        "reader: {file_shuffle: foo}\ndlio_rs: {dialect: native}\n",
    ] {
        assert!(yaml(text).load().is_err(), "{text}");
    }
}

#[test]
fn words_that_the_reference_takes_as_they_are_mean_what_any_word_means() {
    let index =
        yaml("framework: pytorch\ndataset: {format: npz}\nreader: {data_loader: pytorch, read_type: foo}\n").ok();
    assert_eq!(index.workload.reader.read_type, ReadType::Memory);
    let iterative = yaml("framework: tensorflow\nreader: {data_loader: tensorflow, file_shuffle: foo}\n").ok();
    assert_eq!(iterative.workload.reader.file_shuffle, Shuffle::Seed);
}

#[test]
fn a_flag_is_what_python_takes_for_true() {
    let loaded = yaml("workflow: {train: 1, evaluation: 0}\n").with("workflow.profiling=iostat").ok();
    let workflow = loaded.workload.workflow;
    assert_eq!((workflow.train, workflow.evaluation, workflow.profiling), (true, false, true));
    told("checkpoint: {recovery_rank_shift: 8}\nworkflow: {checkpoint: true}\n", Severity::Info, "8 counts as true");
    told("workflow: {train: 'False'}\n", Severity::Warning, "counts as true, as every text does");
    assert!(yaml("workflow: {train: 1}\n").dialect(Dialect::Native).load().is_err());
}

#[test]
fn an_interpolation_that_nobody_reads_stops_nothing() {
    told("logging: {dir: '${hydra.runtime.cwd}'}\n", Severity::Info, "not used, as nothing reads the key");
    told("log_level: '${oc.env:NOWHERE}'\n", Severity::Info, "NOWHERE is not set");
    told("checkpoint: {checkpoint_folder: '${nowhere.at.all}'}\n", Severity::Info, "there is no key nowhere.at.all");
    assert!(yaml("dataset: {data_folder: '${nowhere}'}\n").load().is_err());
    // A key that is read refers to a key that is not.
    let text = "paths: {root: '${oc.env:NOWHERE}'}\ndataset: {data_folder: '${paths.root}/x'}\n";
    assert_eq!(yaml(text).refused().lines().count(), 1);
    assert!(yaml("dataset: {record_dims: [1, '${nowhere}']}\n").load().is_err());
}

#[test]
fn the_library_s3dlio_is_a_kind_of_storage_in_some_files() {
    for (root, expected) in
        [("bucket", StorageType::S3), ("s3://bucket", StorageType::S3), ("'file:///mnt'", StorageType::LocalFs)]
    {
        let text = format!("framework: pytorch\nstorage: {{storage_type: s3dlio, storage_root: {root}}}\n");
        let text = format!("{text}dataset: {{format: npz}}\n");
        assert_eq!(yaml(&text).ok().workload.storage.storage_type, expected, "{root}");
        assert!(yaml(&text).notices(NoticeCode::Accepted).iter().any(|text| text.contains("s3dlio is a library")));
    }
    let text = "framework: pytorch\nstorage: {storage_type: s3dlio, storage_root: b}\n";
    assert_eq!(yaml(text).dialect(Dialect::Mlperf).ok().workload.storage.library, Some(StorageLibrary::S3dlio));
}

#[test]
fn stage_minus_one_is_a_stage() {
    let text = "model: {parallelism: {zero_stage: -1}}\nworkflow: {checkpoint: true}\n";
    assert_eq!(yaml(text).ok().workload.model.zero_stage, -1);
}

#[test]
fn suggestions_lead_to_keys_that_act() {
    for (text, expected) in [
        ("dataset: {record_lenght: 4}\n", Some("dataset.record_length_bytes")),
        ("data_reader: {batchsize: 4}\n", Some("did you mean data_reader.batch_size?")),
        ("checkpoint: {typ: x}\n", None),
        ("evaluation: {evaltime: 4}\n", None),
        ("evaluation: {evaltime: 4}\nworkflow: {evaluation: true}\n", Some("evaluation.eval_time")),
    ] {
        let unknown = yaml(text).notices(NoticeCode::UnknownKey);
        match expected {
            Some(key) => assert!(unknown[0].contains("did you mean") && unknown[0].contains(key), "{unknown:?}"),
            None => assert!(!unknown[0].contains("did you mean"), "{unknown:?}"),
        }
    }
}

#[test]
fn a_key_that_nobody_wrote_is_said_to_be_absent() {
    let refused = yaml("reader: {data_loader: pytorch}\n").refused();
    assert!(refused.contains("tensorflow, the default of framework"), "{refused}");
    let refused = yaml("framework: tensorflow\nreader: {data_loader: pytorch}\n").refused();
    assert!(refused.contains("framework: tensorflow"), "{refused}");
    let refused = yaml("storage: {storage_type: s3}\n").refused();
    assert!(refused.ends_with("(the key is absent; its default: ./)"), "{refused}");
    let refused = yaml("dataset: {num_samples_per_file: 1000000000000000000}\n").refused();
    assert!(refused.contains("dataset.record_length_bytes") && refused.contains("the key is absent"), "{refused}");
}

#[test]
fn numbers_that_no_run_can_have_are_refused_with_their_limit() {
    for (text, key, limit) in [
        ("train: {computation_time: 1e300}\n", "train.computation_time", "at most 1e9 seconds"),
        ("train: {computation_time: {mean: 1, stdev: 1e300}}\n", "train.computation_time", "at most 1e9 seconds"),
        ("train: {computation_time: 1, computation_time_stdev: 1e300}\n", "train.computation_time_stdev", "1000000000"),
        ("dataset: {record_length_bytes: 1e300}\n", "dataset.record_length_bytes", "1125899906842624"),
        ("dataset: {record_length_bytes_stdev: 1e300}\n", "dataset.record_length_bytes_stdev", "1125899906842624"),
        ("reader: {preprocess_time: 1e300}\n", "reader.preprocess_time", "at most 1e9 seconds"),
        (
            "model: {model_size_bytes: 1900000000000000000}\nworkflow: {checkpoint: true}\n",
            "model.model_size_bytes",
            "to 1152921504606846975",
        ),
    ] {
        let refused = yaml(text).refused();
        assert!(refused.contains(key) && refused.contains(limit) && refused.contains("found 1"), "{refused}");
    }
}

#[test]
fn files_of_another_shape_are_read_in_the_references_dialect_only() {
    let of = |dialect| yaml("").dialect(dialect).ok().workload.dlio_rs.shape_mismatch;
    assert_eq!(of(Dialect::Dlio), ShapeMismatch::Warn);
    assert_eq!((of(Dialect::Mlperf), of(Dialect::Native)), (ShapeMismatch::Error, ShapeMismatch::Error));
    let key = yaml("dlio_rs: {shape_mismatch: error}\n").ok();
    assert_eq!(key.workload.dlio_rs.shape_mismatch, ShapeMismatch::Error);
}
