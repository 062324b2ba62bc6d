//! Builds the typed [`Workload`] from the inspected tree.

mod parquet;
mod storage;

use crate::fields::Fields;
use crate::notice::NoticeCode;
use crate::time::TimeSpec;
use crate::vocabulary::{
    CheckpointMode, CheckpointType, DType, DataLoader, Decode, Dialect, EndpointFailure, EndpointMapping, FileAccess,
    Format, Framework, MultiprocessingContext, Profiler, ReadType, S3Client, Sampler, ShapeMismatch, Shuffle, VerifyBy,
};
use crate::workload::{
    Checkpoint, Dataset, DlioRs, Evaluation, Metric, Model, Output, Profiling, Reader, Train, Workflow, Workload,
};

pub(crate) fn workload(fields: &mut Fields<'_>) -> Workload {
    let framework = fields.word("framework", Framework::from_word, Framework::Tensorflow);
    let workflow = workflow(fields);
    Workload {
        model: model(fields),
        framework,
        workflow,
        dataset: dataset(fields),
        storage: storage::storage(fields),
        reader: reader(fields, framework, workflow),
        train: train(fields),
        evaluation: evaluation(fields),
        checkpoint: checkpoint(fields),
        output: output(fields),
        profiling: Profiling {
            profiler: fields.word("profiling.profiler", Profiler::from_word, Profiler::Iostat),
            iostat_devices: fields.texts("profiling.iostat_devices"),
        },
        metric: Metric { au: fields.number("metric.au") },
        dlio_rs: dlio_rs(fields),
    }
}

/// Parses an element type by its numpy name or by the name that checkpoints use.
fn dtype(word: &str) -> Option<DType> {
    match word {
        "fp16" | "half" => Some(DType::Float16),
        "bf16" => Some(DType::Bfloat16),
        "fp32" | "single" => Some(DType::Float32),
        "fp64" | "double" | "float" => Some(DType::Float64),
        "int" => Some(DType::Int64),
        _ => DType::from_word(word),
    }
}

fn model(f: &Fields<'_>) -> Model {
    Model {
        name: f.text("model.name"),
        kind: f.text_or_none("model.type"),
        model_size_bytes: f.whole("model.model_size_bytes"),
        optimization_groups: f.wholes("model.optimization_groups"),
        num_layers: f.whole("model.num_layers"),
        layer_parameters: f.wholes("model.layer_parameters"),
        model_datatype: f.word("model.model_datatype", dtype, DType::Float16),
        optimizer_datatype: f.word("model.optimizer_datatype", dtype, DType::Float32),
        tensor_parallelism: f.whole("model.parallelism.tensor"),
        pipeline_parallelism: f.whole("model.parallelism.pipeline"),
        data_parallelism: f.whole_from("model.parallelism.data", 1),
        zero_stage: f.whole("model.parallelism.zero_stage"),
        vocab_size: f.whole("model.transformer.vocab_size"),
        hidden_size: f.whole("model.transformer.hidden_size"),
        ffn_hidden_size: f.whole("model.transformer.ffn_hidden_size"),
        num_attention_heads: f.whole("model.transformer.num_attention_heads"),
        num_kv_heads: f.whole("model.transformer.num_kv_heads"),
    }
}

fn workflow(f: &Fields<'_>) -> Workflow {
    Workflow {
        generate_data: f.flag("workflow.generate_data"),
        train: f.flag("workflow.train"),
        evaluation: f.flag("workflow.evaluation"),
        checkpoint: f.flag("workflow.checkpoint"),
        profiling: f.flag("workflow.profiling"),
    }
}

fn dataset(f: &mut Fields<'_>) -> Dataset {
    let format = f.word("dataset.format", Format::from_word, Format::TfRecord);
    let record_element_type = element_type(f, format);
    Dataset {
        record_length_bytes: f.number("dataset.record_length_bytes"),
        record_length_bytes_stdev: f.number("dataset.record_length_bytes_stdev"),
        record_length_bytes_resize: f.number("dataset.record_length_bytes_resize"),
        num_files_train: f.whole("dataset.num_files_train"),
        num_files_eval: f.whole("dataset.num_files_eval"),
        generation_buffer_size: f.whole("dataset.generation_buffer_size"),
        num_samples_per_file: f.whole("dataset.num_samples_per_file"),
        data_folder: f.folder("dataset.data_folder"),
        num_subfolders_train: f.whole("dataset.num_subfolders_train"),
        num_subfolders_eval: f.whole("dataset.num_subfolders_eval"),
        compression: compression(f, format),
        compression_level: f.whole("dataset.compression_level"),
        file_prefix: f.text("dataset.file_prefix"),
        format,
        keep_files: f.flag("dataset.keep_files"),
        record_element_type,
        record_dims: f.wholes("dataset.record_dims"),
        hdf5_chunk_dims: f.wholes("dataset.hdf5.chunk_dims"),
        hdf5_num_dset_per_record: f.whole("dataset.hdf5.num_dset_per_record"),
        hdf5_max_shape: f.wholes("dataset.hdf5.max_shape"),
        parquet: parquet::parquet(f, format),
        skip_listing: f.flag("dataset.skip_listing"),
        listing_validation_interval: f.whole("dataset.listing_validation_interval"),
        num_files_generated: f.whole_from("dataset.num_files_generated", 1),
    }
}

/// Returns the element type of a record. Images always consist of bytes, whatever the key says, as in the reference.
fn element_type(f: &mut Fields<'_>, format: Format) -> DType {
    const KEY: &str = "dataset.record_element_type";
    let given = f.word(KEY, dtype, DType::Uint8);
    if matches!(format, Format::Jpeg | Format::Png) && given != DType::Uint8 {
        f.warn(NoticeCode::Quirk, KEY, &format!("{given} is treated as uint8, the only element type of {format}"));
        return DType::Uint8;
    }
    given
}

/// Returns the compression if the format supports it. Reports words that the reference ignores or cannot use.
fn compression(f: &mut Fields<'_>, format: Format) -> Option<String> {
    const KEY: &str = "dataset.compression";
    let word = f.text_or_none(KEY).filter(|word| word != "none")?;
    if f.dialect == Dialect::Mlperf && matches!(format, Format::Npz | Format::Parquet) {
        let text =
            format!("{format} files are not compressed all the same, as in the fork, which compares the word wrongly");
        f.warn(NoticeCode::Quirk, KEY, &text);
        return None;
    }
    if f.dialect == Dialect::Dlio && format == Format::Npz {
        let text = "npz files are stored all the same, as in the reference, which compares the word wrongly; \
                    `dlio_rs.dialect: native` deflates them for zip";
        f.warn(NoticeCode::Quirk, KEY, text);
        return None;
    }
    let usable: &[&str] = match format {
        Format::Npz => &["zip"],
        Format::Hdf5 => &["gzip", "lzf"],
        Format::Parquet => &["snappy", "gzip", "zstd"],
        Format::Csv => &["gzip", "zip", "zstd"],
        _ => &[],
    };
    if usable.contains(&word.as_str()) {
        if f.dialect == Dialect::Dlio && format == Format::Csv {
            let text = "the file name does not show the compression, so the reference writes such files and cannot read \
                        them; this program reads them by this key";
            f.note(NoticeCode::Quirk, KEY, text);
        }
        if format == Format::Parquet && f.dialect != Dialect::Native {
            let text = "Parquet pages are compressed; the MLPerf fork writes them plain all the same";
            f.note(NoticeCode::Accepted, KEY, text);
        }
        return Some(word);
    }
    if matches!(format, Format::Hdf5 | Format::Csv | Format::Parquet) {
        let message = format!("expected none or, for {format}, one of {}; found {word:?}", usable.join(", "));
        f.refuse(KEY, message);
    } else {
        f.note(NoticeCode::IgnoredKey, KEY, &format!("ignored: {format} files are not compressed by {word}"));
    }
    None
}

fn reader(f: &mut Fields<'_>, framework: Framework, workflow: Workflow) -> Reader {
    let data_loader = data_loader(f, framework, workflow);
    let sampler = sampler(f, data_loader);
    Reader {
        data_loader,
        sampler,
        multiprocessing_context: f.word(
            "reader.multiprocessing_context",
            MultiprocessingContext::from_word,
            MultiprocessingContext::Fork,
        ),
        read_threads: f.whole("reader.read_threads"),
        write_threads: f.whole_or_none("reader.write_threads"),
        computation_threads: f.whole("reader.computation_threads"),
        batch_size: f.whole("reader.batch_size"),
        batch_size_eval: f.whole("reader.batch_size_eval"),
        prefetch_size: f.whole("reader.prefetch_size"),
        file_shuffle: file_shuffle(f, sampler),
        sample_shuffle: f.word("reader.sample_shuffle", Shuffle::from_word, Shuffle::Off),
        shuffle_size: f.whole("reader.shuffle_size"),
        read_type: read_type(f, sampler),
        file_access: f.word("reader.file_access", FileAccess::from_word, FileAccess::Multi),
        transfer_size: f.whole_or_none("reader.transfer_size"),
        odirect: f.flag("reader.odirect"),
        preprocess_time: f.time("reader.preprocess_time"),
        transformed_record_dims: f.wholes("reader.transformed_record_dims"),
        transformed_record_element_type: f.word("reader.transformed_record_element_type", dtype, DType::Uint8),
    }
}

/// Quirk 13: in the reference, a workload without this key cannot train. Here it gets the default loader of its
/// framework.
fn data_loader(f: &mut Fields<'_>, framework: Framework, workflow: Workflow) -> DataLoader {
    const KEY: &str = "reader.data_loader";
    f.word_or_none(KEY, DataLoader::from_word).unwrap_or_else(|| {
        let loader = match framework {
            Framework::Tensorflow => DataLoader::Tensorflow,
            Framework::Pytorch => DataLoader::Pytorch,
        };
        if workflow.train {
            let text = format!(
                "absent, treated as {loader}, the loader of the framework; the reference cannot train without it"
            );
            f.note(NoticeCode::Accepted, KEY, &text);
        }
        loader
    })
}

/// Quirk 14: `native_dali` and `synthetic` get a sampler too.
fn sampler(f: &Fields<'_>, loader: DataLoader) -> Sampler {
    f.word_or_none("reader.data_loader_sampler", Sampler::from_word).unwrap_or(match loader {
        DataLoader::Tensorflow => Sampler::Iterative,
        DataLoader::Pytorch | DataLoader::Dali | DataLoader::NativeDali | DataLoader::Synthetic => Sampler::Index,
        DataLoader::Custom | DataLoader::None => Sampler::None,
    })
}

/// Quirk 7: in the references, files are shuffled whenever the key is present. This applies to the iterative sampler in
/// `dlio_benchmark`, and to all samplers in the fork.
fn file_shuffle(f: &mut Fields<'_>, sampler: Sampler) -> Shuffle {
    const KEY: &str = "reader.file_shuffle";
    let words = |word: &str| if word == "on" { Some(Shuffle::Seed) } else { Shuffle::from_word(word) };
    let configured = f.word(KEY, words, Shuffle::Off);
    let quirky = match f.dialect {
        Dialect::Dlio => sampler == Sampler::Iterative,
        Dialect::Mlperf => true,
        Dialect::Native => false,
    };
    let copied = quirky && f.node(KEY).is_some();
    if copied && configured == Shuffle::Off {
        let text = "files are shuffled all the same, as the reference shuffles whenever this key is present; remove the \
                    key, or use dialect native, for no shuffling";
        f.warn(NoticeCode::Quirk, KEY, text);
        return Shuffle::Seed;
    }
    configured
}

/// Quirk 9: in the reference, any explicit value keeps files open for readers of the index sampler.
fn read_type(f: &mut Fields<'_>, sampler: Sampler) -> ReadType {
    const KEY: &str = "reader.read_type";
    let configured = f.word(KEY, ReadType::from_word, ReadType::OnDemand);
    let copied = f.dialect == Dialect::Dlio && sampler == Sampler::Index && f.node(KEY).is_some();
    if copied && configured == ReadType::OnDemand {
        let text = "files stay open all the same, as in the reference, where any explicit value means memory; remove the \
                    key, or use dialect native, to open a file for every sample";
        f.warn(NoticeCode::Quirk, KEY, text);
        return ReadType::Memory;
    }
    configured
}

fn train(f: &mut Fields<'_>) -> Train {
    Train {
        epochs: f.whole("train.epochs"),
        total_training_steps: f.whole_from("train.total_training_steps", 1),
        seed_change_epoch: f.flag("train.seed_change_epoch"),
        seed: f.whole("train.seed"),
        computation_time: f.time("train.computation_time"),
    }
}

fn evaluation(f: &mut Fields<'_>) -> Evaluation {
    Evaluation {
        eval_time: f.time("evaluation.eval_time"),
        eval_after_epoch: f.whole("evaluation.eval_after_epoch"),
        epochs_between_evals: f.whole("evaluation.epochs_between_evals"),
    }
}

fn checkpoint(f: &mut Fields<'_>) -> Checkpoint {
    Checkpoint {
        checkpoint_folder: f.folder("checkpoint.checkpoint_folder"),
        checkpoint_after_epoch: f.whole("checkpoint.checkpoint_after_epoch"),
        epochs_between_checkpoints: f.whole("checkpoint.epochs_between_checkpoints"),
        steps_between_checkpoints: f.whole_from("checkpoint.steps_between_checkpoints", 0),
        kind: f.word("checkpoint.type", CheckpointType::from_word, CheckpointType::RankZero),
        mode: f.word("checkpoint.mode", CheckpointMode::from_word, CheckpointMode::Default),
        fsync: f.flag("checkpoint.fsync"),
        recovery_rank_shift: f.flag("checkpoint.recovery_rank_shift"),
        rank_sync: f.flag("checkpoint.rank_sync"),
        time_between_checkpoints: time_between_checkpoints(f),
        num_checkpoints_write: f.whole_from("checkpoint.num_checkpoints_write", 0),
        num_checkpoints_read: f.whole_from("checkpoint.num_checkpoints_read", 0),
        randomize_tensor: f.flag("checkpoint.randomize_tensor"),
        ksm: f.given("checkpoint.ksm").is_some(),
    }
}

/// Quirk 24: the reference turns −1 into a pause of one second, and does not accept a mapping here.
fn time_between_checkpoints(f: &mut Fields<'_>) -> TimeSpec {
    const KEY: &str = "checkpoint.time_between_checkpoints";
    let native = f.dialect == Dialect::Native;
    if f.given(KEY).is_none() {
        return if native { TimeSpec::None } else { TimeSpec::Constant { mean: -1.0 } };
    }
    match f.time(KEY) {
        TimeSpec::Constant { mean } if native && mean < 0.0 => TimeSpec::None,
        spec if native || f.given(KEY).is_some_and(|node| node.map().is_none()) => spec,
        _ => {
            f.warn(NoticeCode::Quirk, KEY, "no time is spent, as the reference understands a number only here");
            TimeSpec::None
        }
    }
}

fn output(f: &Fields<'_>) -> Output {
    Output {
        folder: f.text_or_none("output.folder"),
        log_file: f.text("output.log_file"),
        exclude_start_steps: f.whole("output.metric.exclude_start_steps"),
        exclude_end_steps: f.whole("output.metric.exclude_end_steps"),
    }
}

fn dlio_rs(f: &Fields<'_>) -> DlioRs {
    DlioRs {
        dialect: f.dialect,
        registry: f.text_or_none("dlio_rs.registry"),
        node_local: f.flag("dlio_rs.node_local"),
        endpoint_mapping: f.word_or_none("dlio_rs.endpoint_mapping", EndpointMapping::from_word),
        s3_client: f.word("dlio_rs.s3_client", S3Client::from_word, S3Client::Hyper),
        inflight_per_reader: f.whole("dlio_rs.inflight_per_reader"),
        generate_inflight: f.whole("dlio_rs.generate_inflight"),
        decode: f.word_or_none("dlio_rs.decode", Decode::from_word).unwrap_or_else(|| storage::decode(f)),
        verify_by: f.word("dlio_rs.verify_by", VerifyBy::from_word, VerifyBy::Payload),
        shape_mismatch: f
            .word_or_none("dlio_rs.shape_mismatch", ShapeMismatch::from_word)
            .unwrap_or(if f.dialect == Dialect::Dlio { ShapeMismatch::Warn } else { ShapeMismatch::Error }),
        payload_seed: f.whole("dlio_rs.payload_seed"),
        multipart_threshold: f.whole("dlio_rs.multipart_threshold"),
        multipart_part_size: f.whole("dlio_rs.multipart_part_size"),
        multipart_concurrency: f.whole("dlio_rs.multipart_concurrency"),
        request_timeout_seconds: f.number("dlio_rs.request_timeout_seconds"),
        connect_timeout_seconds: f.number("dlio_rs.connect_timeout_seconds"),
        retry_for: f.number("dlio_rs.retry_for"),
        on_endpoint_failure: f.word("dlio_rs.on_endpoint_failure", EndpointFailure::from_word, EndpointFailure::Fail),
        trace: f.flag("dlio_rs.trace"),
        checkpoint_read_blocks: f.whole_or_none("dlio_rs.checkpoint_read_blocks"),
        checkpoint_read_bytes: f.whole_or_none("dlio_rs.checkpoint_read_bytes"),
        generate_odirect: f.flag("dlio_rs.generate_odirect"),
        requests: storage::requests(f),
        max_auto_threads: f.whole_or_none("dlio_rs.max_auto_threads"),
        drop_caches: f.flag_or_none("dlio_rs.drop_caches").unwrap_or(f.dialect == Dialect::Mlperf),
        drop_caches_timeout_seconds: f.whole("dlio_rs.drop_caches_timeout_seconds"),
        space_check: f.flag("dlio_rs.space_check"),
    }
}
