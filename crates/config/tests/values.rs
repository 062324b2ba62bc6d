//! Types, ranges, defaults and messages of values.

mod support;

use dlio_config::time::TimeSpec;
use dlio_config::vocabulary::{DType, DataLoader, Format, Framework, ReadType, Sampler, Shuffle, StorageType};
use dlio_config::{NoticeCode, Severity};
use support::yaml;

#[test]
fn an_empty_file_has_the_defaults_of_the_reference() {
    let w = yaml("").ok().workload;
    assert_eq!(w.framework, Framework::Tensorflow);
    assert_eq!((w.workflow.generate_data, w.workflow.train, w.workflow.evaluation), (false, true, false));
    assert_eq!((w.dataset.num_files_train, w.dataset.num_files_eval, w.dataset.num_samples_per_file), (8, 0, 1));
    assert_eq!((w.dataset.format, w.dataset.record_element_type), (Format::TfRecord, DType::Uint8));
    assert_eq!((w.dataset.data_folder.as_str(), w.dataset.file_prefix.as_str()), ("./data", "img"));
    assert!((w.dataset.record_length_bytes - 65536.0).abs() < f64::EPSILON && w.dataset.keep_files);
    assert_eq!((w.storage.storage_type, w.storage.storage_root.as_str()), (StorageType::LocalFs, "./"));
    assert_eq!((w.reader.data_loader, w.reader.sampler), (DataLoader::Tensorflow, Sampler::Iterative));
    assert_eq!((w.reader.read_threads, w.reader.batch_size, w.reader.prefetch_size), (1, 1, 2));
    assert_eq!((w.reader.file_shuffle, w.reader.sample_shuffle), (Shuffle::Off, Shuffle::Off));
    assert_eq!((w.reader.read_type, w.reader.transfer_size), (ReadType::OnDemand, None));
    assert_eq!((w.train.epochs, w.train.seed, w.train.total_training_steps), (1, 123, None));
    assert_eq!(w.train.computation_time, TimeSpec::None);
    assert_eq!((w.output.folder, w.output.exclude_start_steps, w.output.exclude_end_steps), (None, 1, 0));
    assert!((w.metric.au - 0.9).abs() < f64::EPSILON);
    assert_eq!(w.model.model_size_bytes, 10240);
    assert_eq!((w.checkpoint.steps_between_checkpoints, w.checkpoint.ksm), (None, false));
    assert_eq!(w.checkpoint.time_between_checkpoints, TimeSpec::Constant { mean: -1.0 });
}

#[test]
fn a_value_of_the_wrong_type_names_key_line_expectation_and_finding() {
    for (text, message) in [
        (
            "dataset:\n  num_files_train: many\n",
            "my.yaml:2: dataset.num_files_train: expected a whole number ≥ 0, found \"many\"",
        ),
        (
            "dataset:\n  num_files_train: \"4\"\n",
            "my.yaml:2: dataset.num_files_train: expected a whole number ≥ 0, found \"4\"; remove the quotes",
        ),
        (
            "dataset: {num_files_train: -1}\n",
            "my.yaml:1: dataset.num_files_train: expected a whole number ≥ 0, found -1",
        ),
        (
            "dataset: {num_files_train: 1.5}\n",
            "my.yaml:1: dataset.num_files_train: expected a whole number ≥ 0, found 1.5",
        ),
        (
            "\n\ntrain:\n  epochs: true\n",
            "my.yaml:4: train.epochs: expected a whole number from 1 to 4294967295, found the boolean true",
        ),
        ("workflow: {train: [1]}\n", "my.yaml:1: workflow.train: expected true or false, found a list of 1"),
        (
            "workflow: {train: 1}\ndlio_rs: {dialect: native}\n",
            "my.yaml:1: workflow.train: expected true or false, found 1",
        ),
        (
            "workflow: {train: \"yes\"}\ndlio_rs: {dialect: native}\n",
            "my.yaml:1: workflow.train: expected true or false, found \"yes\"",
        ),
        (
            "framework: pytroch\n",
            "my.yaml:1: framework: expected one of tensorflow, pytorch, found \"pytroch\" (did you mean pytorch?)",
        ),
        (
            "reader: {sample_shuffle: on}\n",
            "my.yaml:1: reader.sample_shuffle: expected one of off, seed, random, found the boolean true",
        ),
        ("data_reader: {batch_size: 0}\n", "my.yaml:1: data_reader.batch_size: expected a whole number ≥ 1, found 0"),
        (
            "dataset: {record_dims: 4}\n",
            "my.yaml:1: dataset.record_dims: expected a list of whole numbers ≥ 1, found 4",
        ),
        (
            "dataset: {record_dims: [4, x]}\n",
            "my.yaml:1: dataset.record_dims: expected a list of whole numbers ≥ 1, found a list of 2",
        ),
        ("train: 3\n", "my.yaml:1: train: expected a mapping of keys, found 3"),
    ] {
        assert_eq!(yaml(text).refused(), message, "{text}");
    }
}

#[test]
fn a_value_out_of_range_names_the_range() {
    for (text, message) in [
        ("metric: {au: 90}\n", "my.yaml:1: metric.au: expected a number from 0 to 1, found 90"),
        (
            "train: {seed: 4294967296}\n",
            "my.yaml:1: train.seed: expected a whole number from 0 to 4294967295, found 4294967296",
        ),
        (
            "model: {parallelism: {zero_stage: 4}}\nworkflow: {checkpoint: true}\n",
            "my.yaml:1: model.parallelism.zero_stage: expected a whole number from -1 to 3, found 4",
        ),
        (
            "train: {computation_time: [1]}\n",
            "my.yaml:1: train.computation_time: expected seconds as a number, or a mapping such as {mean: 0.1, stdev: 0.01}, found a list of 1",
        ),
        (
            "train: {computation_time: {mean: 1, stdev: -1}}\n",
            "my.yaml:1: train.computation_time: stdev: expected a number ≥ 0, found -1",
        ),
        (
            "train: {computation_time: {type: gamma, scale: 1}}\n",
            "my.yaml:1: train.computation_time: type gamma also needs shape",
        ),
        (
            "dlio_rs: {multipart_part_size: 1048576}\n",
            "my.yaml:1: dlio_rs.multipart_part_size: expected a whole number from 5242880 to 5368709120, found 1048576",
        ),
        ("- a\n", "my.yaml:1: expected a mapping of sections, found a list of 1"),
        ("workload: 3\n", "my.yaml:1: workload: expected a mapping of sections, found 3"),
    ] {
        assert_eq!(yaml(text).refused(), message, "{text}");
    }
}

#[test]
fn an_override_of_the_wrong_type_names_itself() {
    assert_eq!(
        yaml("").with("++workload.train.epochs=x").refused(),
        "override ++workload.train.epochs=x: train.epochs: expected a whole number from 1 to 4294967295, found \"x\""
    );
}

#[test]
fn all_problems_of_a_file_are_told_at_once() {
    let text = "train:\n  epochs: 0\nreader:\n  batch_size: none\nframework: jax\n";
    let error = yaml(text).load().expect_err("refused");
    let lines: Vec<_> = error.problems().iter().map(|problem| (problem.key.as_str(), problem.line())).collect();
    assert_eq!(lines, [("train.epochs", Some(2)), ("reader.batch_size", Some(4)), ("framework", Some(5))]);
}

#[test]
fn numbers_may_be_written_as_the_reference_takes_them() {
    let text = "\
dataset: {num_files_train: 1_000, num_files_eval: 8.0, record_length_bytes: 1e3, num_samples_per_file: 0x10}
train: {computation_time: 1e-3}
";
    let w = yaml(text).ok().workload;
    assert_eq!((w.dataset.num_files_train, w.dataset.num_files_eval, w.dataset.num_samples_per_file), (1000, 8, 16));
    assert_eq!(w.train.computation_time, TimeSpec::Constant { mean: 0.001 });
}

#[test]
fn null_and_empty_sections_leave_the_defaults() {
    let text =
        "train:\n  epochs: null\n  computation_time:\nreader:\noutput: {folder: ~}\nstorage: {storage_options: null}\n";
    let w = yaml(text).ok().workload;
    assert_eq!((w.train.epochs, w.reader.batch_size, w.output.folder), (1, 1, None));
}

#[test]
fn time_specifications_read_as_in_the_reference() {
    for (text, expected) in [
        ("computation_time: 0.5", TimeSpec::Constant { mean: 0.5 }),
        ("computation_time: {}", TimeSpec::None),
        ("computation_time: {mean: 1}", TimeSpec::Constant { mean: 1.0 }),
        ("computation_time: {mean: 1, stdev: 0.5}", TimeSpec::Normal { mean: 1.0, stdev: 0.5 }),
        ("{computation_time: 1, computation_time_stdev: 0.5}", TimeSpec::Normal { mean: 1.0, stdev: 0.5 }),
        (
            "{computation_time: {mean: 1, stdev: 2}, computation_time_stdev: 0.5}",
            TimeSpec::Normal { mean: 1.0, stdev: 0.5 },
        ),
        ("computation_time: {type: normal, mean: 1, stdev: 0}", TimeSpec::Normal { mean: 1.0, stdev: 0.0 }),
        ("computation_time: {type: uniform, min: 1, max: 2}", TimeSpec::Uniform { min: 1.0, max: 2.0 }),
        ("computation_time: {type: gamma, shape: 2, scale: 3}", TimeSpec::Gamma { shape: 2.0, scale: 3.0 }),
        ("computation_time: {type: exponential, scale: 3}", TimeSpec::Exponential { scale: 3.0 }),
        ("computation_time: {type: poisson, lam: 3}", TimeSpec::Poisson { lam: 3.0 }),
    ] {
        let text = if text.starts_with('{') { format!("train: {text}\n") } else { format!("train: {{{text}}}\n") };
        let case = yaml(&text);
        assert_eq!(case.ok().workload.train.computation_time, expected, "{text}");
        assert!(case.ok().strict().is_ok(), "{text}");
    }
}

#[test]
fn a_time_that_the_reference_ignores_is_reported() {
    for text in [
        "train: {computation_time: fast}\n",
        "train: {computation_time: {type: normall, mean: 1, stdev: 1}}\n",
        "train: {computation_time: {stdev: 1}}\n",
        "train: {computation_time_stdev: 1}\n",
    ] {
        let case = yaml(text);
        assert_eq!(case.ok().workload.train.computation_time, TimeSpec::None, "{text}");
        assert_eq!(case.notices(NoticeCode::Suspicious).len(), 1, "{text}");
        assert!(case.ok().strict().is_err(), "{text}");
    }
}

#[test]
fn unknown_keys_are_reported_with_line_and_neighbour_and_fail_strict() {
    let case = yaml(
        "reader:\n  batch_size: 2\n  batchsize: 4\nfoo: {bar: 1}\ntrain: {computation_time: {meen: 1, mean: 2}}\n",
    );
    assert_eq!(
        case.notices(NoticeCode::UnknownKey),
        [
            "my.yaml:3: reader.batchsize: unknown key, ignored; did you mean reader.batch_size?",
            "my.yaml:4: foo: unknown key, ignored",
            "my.yaml:5: train.computation_time.meen: unknown key, ignored; did you mean mean?",
        ]
    );
    let strict = case.ok().strict().expect_err("strict");
    assert_eq!(strict.problems().len(), 3);
}

#[test]
fn keys_that_the_reference_ignores_are_told_with_the_reason() {
    let case = yaml("model:\n  model_size: 499153191\ndataset: {enable_chunking: true, chunk_size: 5}\n");
    let ignored = case.notices(NoticeCode::IgnoredKey);
    assert_eq!(ignored.len(), 3);
    assert_eq!(ignored[0], "my.yaml:2: model.model_size: ignored: the reference reads model.model_size_bytes only");
    assert!(case.ok().notices.iter().all(|notice| notice.severity == Severity::Info));
}

#[test]
fn what_is_not_acted_on_yet_is_told_once() {
    let text = "framework: pytorch\nstorage: {storage_type: aistore, storage_root: bucket}\n";
    assert_eq!(yaml(text).notices(NoticeCode::NotYetActedOn), ["not yet acted on: storage.storage_type: aistore"]);
    assert_eq!(yaml("").notices(NoticeCode::NotYetActedOn), Vec::<String>::new());
}

#[test]
fn a_compression_is_heeded_refused_or_told_to_have_no_effect() {
    let text = |format: &str, word: &str, dialect: &str| {
        format!(
            "framework: pytorch\nreader: {{data_loader: pytorch}}\n\
             dataset: {{format: {format}, compression: {word}}}\ndlio_rs: {{dialect: {dialect}}}\n"
        )
    };
    for (word, dialect) in [("bz2", "native"), ("lzf", "dlio"), ("xz", "mlperf")] {
        let refused = yaml(&text("csv", word, dialect)).refused();
        let told = refused.contains("dataset.compression") && refused.contains("gzip, zip, zstd");
        assert!(told, "{word} {dialect}: {refused}");
    }
    for (format, word, dialect, code, expected) in [
        ("npz", "zip", "dlio", NoticeCode::Quirk, "stored all the same"),
        ("npz", "gzip", "dlio", NoticeCode::Quirk, "stored all the same"),
        ("npz", "zip", "mlperf", NoticeCode::Quirk, "not compressed"),
        ("npz", "gzip", "native", NoticeCode::IgnoredKey, "not compressed by gzip"),
        ("csv", "gzip", "dlio", NoticeCode::Quirk, "cannot read them"),
        ("png", "gzip", "dlio", NoticeCode::IgnoredKey, "not compressed by gzip"),
    ] {
        let text = text(format, word, dialect);
        let (notices, case) = (yaml(&text).notices(code), yaml(&text).ok());
        let told = notices.iter().any(|text| text.contains("dataset.compression") && text.contains(expected));
        assert!(told, "{format} {word} {dialect}: {notices:?}");
        assert_eq!(case.workload.dataset.compression.is_some(), format == "csv", "{format} {word} {dialect}");
    }
    for (format, word) in [("npz", "zip"), ("csv", "zstd")] {
        let text = text(format, word, "native");
        let loaded = yaml(&text).ok();
        assert_eq!(loaded.workload.dataset.compression.as_deref(), Some(word));
        assert!(!loaded.notices.iter().any(|notice| notice.text.contains("dataset.compression")), "{format} {word}");
    }
}

#[test]
fn endpoints_are_a_list_or_one_text_with_commas() {
    let expected = ["http://a:1", "http://b:2"];
    for uris in ["[http://a:1, http://b:2]", "\"http://a:1, http://b:2\"", "http://a:1,http://b:2"] {
        let text = format!("storage:\n  storage_type: s3\n  storage_root: b\n  endpoint_uris: {uris}\n");
        assert_eq!(yaml(&text).ok().workload.storage.endpoint_uris, expected, "{uris}");
    }
    let case =
        yaml("storage: {storage_type: s3, storage_root: b}\n").with("storage.endpoint_uris=http://a:1,http://b:2");
    assert_eq!(case.ok().workload.storage.endpoint_uris, expected);
    assert!(
        yaml("storage: {storage_type: s3, storage_root: b, endpoint_uris: [a:1]}\n")
            .refused()
            .contains("expected http://")
    );
    assert!(yaml("storage: {endpoint_uris: [http://a:1]}\n").ok().strict().is_err());
}

#[test]
fn path_style_is_a_boolean_or_its_text() {
    for (word, expected) in [("true", Some(true)), ("\"true\"", Some(true)), ("'False'", Some(false)), ("null", None)] {
        let text = format!("storage: {{storage_options: {{s3_force_path_style: {word}}}}}\n");
        assert_eq!(yaml(&text).ok().workload.storage.s3_force_path_style, expected, "{word}");
    }
    let text = "storage: {storage_type: s3, storage_root: b, storage_options: {s3_force_path_style: maybe}}\n";
    assert!(yaml(text).load().is_err());
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_are_no_problem() {
    let case = yaml("\u{feff}train:\r\n  epochs: 3\r\n  seed: x\r\n");
    assert!(case.refused().starts_with("my.yaml:3: train.seed:"), "{}", case.refused());
    assert_eq!(yaml("train:\r\n  epochs: 3\r\n").ok().workload.train.epochs, 3);
}

#[test]
fn keys_of_the_fork_are_known() {
    let text = "\
storage: {storage_library: s3dlio, post_generation_settle_seconds: 1}
dataset: {skip_listing: true, num_files_generated: 64, parquet: {row_group_size: 8, columns: [{name: a, dtype: float32}]}}
reader: {write_threads: 8}
dlio_rs: {dialect: mlperf}
";
    let case = yaml(text);
    assert!(case.ok().strict().is_ok(), "{:?}", case.ok().notices);
    assert_eq!(case.notices(NoticeCode::NotYetActedOn).len(), 0);
}

#[test]
fn columns_of_parquet_files_have_types_sizes_and_a_name_each() {
    let with = |columns: &str| format!("dataset: {{format: parquet, parquet: {{columns: {columns}}}}}\n");
    let text =
        with("[{name: a, dtype: int8}, b, {name: c, dtype: float16, size: 4, read: false}, {dtype: binary, size: 9}]");
    let case = yaml(&text);
    let parquet = case.ok().workload.dataset.parquet;
    let columns: Vec<_> = parquet.columns.iter().map(|c| (c.name.as_str(), c.dtype.word(), c.size, c.read)).collect();
    let expected =
        [("a", "int8", 1, true), ("b", "float32", 1, true), ("c", "float16", 4, false), ("data", "binary", 9, true)];
    assert_eq!(columns, expected);
    assert_eq!((parquet.row_group_size, parquet.record_bytes()), (1024, Some(1 + 4 + 8 + 36)));
    // Sizes of the fork's `record_size`, and 4 bytes for types that it does not list.
    let each = [
        ("uint64", 8),
        ("int64", 8),
        ("float64", 8),
        ("uint32", 4),
        ("int32", 4),
        ("float32", 4),
        ("uint16", 2),
        ("int16", 2),
        ("float16", 2),
        ("uint8", 1),
        ("int8", 1),
        ("bool", 1),
        ("string", 4),
        ("binary", 4),
        ("list", 4),
    ];
    for (dtype, bytes) in each {
        let text = with(&format!("[{{name: a, dtype: {dtype}, size: 3}}]"));
        let case = yaml(&text);
        assert_eq!(case.ok().workload.dataset.parquet.record_bytes(), Some(3 * bytes), "{dtype}");
    }
    for (columns, complaint) in [
        ("[{name: a, dtype: flota32}]", "found \"flota32\""),
        ("[{name: a, sise: 3}]", "did you mean size?"),
        ("[{name: a, size: 0}]", "from 1 to"),
        ("[{name: a}, {name: a}]", "comes twice"),
        ("[{name: [], size: 1}]", "expected text"),
        ("[{name: a, read: 3}]", "expected true or false"),
        ("[3]", "found 3"),
        ("{name: a}", "expected a list of columns"),
    ] {
        let text = with(columns);
        let refused = yaml(&text).refused();
        assert!(refused.contains("dataset.parquet.columns") && refused.contains(complaint), "{columns}: {refused}");
    }
    let refused = yaml("dataset: {format: parquet, parquet: {partition_by: a}}\n").refused();
    assert!(refused.contains("hive-style folders are not written"), "{refused}");
    assert!(yaml("dataset: {format: parquet, compression: lzf}\n").refused().contains("one of snappy, gzip, zstd"));
}

#[test]
fn numbers_have_units_in_our_dialect_and_in_our_section() {
    let native = "dlio_rs: {dialect: native, multipart_part_size: 8MiB}\n\
                  dataset: {num_files_train: 10k, record_length_bytes: 4KiB}\n\
                  train: {computation_time: {mean: 100ms, stdev: 10ms}}\n\
                  evaluation: {eval_time: 1.5s}\n";
    let w = yaml(native).ok().workload;
    assert_eq!((w.dlio_rs.multipart_part_size, w.dataset.num_files_train), (8 << 20, 10_000));
    assert!((w.dataset.record_length_bytes - 4096.0).abs() < f64::EPSILON);
    assert_eq!(w.train.computation_time, TimeSpec::Normal { mean: 0.1, stdev: 0.01 });
    assert_eq!(w.evaluation.eval_time, TimeSpec::Constant { mean: 1.5 });
}

#[test]
fn the_reference_s_dialects_ignore_a_time_with_a_unit_and_say_so_for_every_time() {
    for key in [
        "train.computation_time",
        "evaluation.eval_time",
        "reader.preprocess_time",
        "checkpoint.time_between_checkpoints",
    ] {
        let (section, name) = key.split_once('.').unwrap();
        let loaded = yaml(&format!("{section}: {{{name}: 100ms}}\n")).ok();
        let told = loaded.notices.iter().find(|notice| notice.text.contains(key)).unwrap();
        assert_eq!(told.severity, Severity::Warning);
        assert!(told.text.contains("no time is spent; write 0.1, or choose dialect native"), "{}", told.text);
    }
}
