//! Every key that the reference calls acting acts: two of its values give another plan, other files, other requests or
//! another figure. A notice does not count. If only a whole run shows the difference, a table names the tests that set the key.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use dlio_config::{Override, Source};
use dlio_event::mix::fnv1a_128;
use dlio_format::{FileShape, Layout};
use dlio_plan::{Selection, Split, World};

use super::*;
use crate::resolve::connections::Connections;

/// A small workload with everything on: a dataset of 16 + 8 files, two epochs, checkpoints.
const BASE: &str = "\
framework: pytorch
workflow: {generate_data: true, train: true, evaluation: true, checkpoint: true}
model: {model_size_bytes: 4096, num_layers: 4, layer_parameters: [8, 8], optimization_groups: [16]}
dataset: {format: npz, num_files_train: 16, num_files_eval: 8, num_samples_per_file: 4, record_length_bytes: 4096, data_folder: data}
reader: {data_loader: pytorch, batch_size: 2, batch_size_eval: 2, read_threads: 2}
train: {epochs: 2, computation_time: 0.01}
evaluation: {eval_time: 0.01}
";

const TRANSFORMER: &str = "model.type=transformer model.layer_parameters=[] model.optimization_groups=[] \
     model.transformer.vocab_size=64 model.transformer.hidden_size=64 model.transformer.ffn_hidden_size=64";
const NATIVE: &str = "dlio_rs.dialect=native";
const PARQUET: &str = "dlio_rs.dialect=mlperf dataset.format=parquet dataset.num_samples_per_file=64 \
     dataset.parquet.row_group_size=4 dataset.parquet.columns=[{name:a,dtype:float32,size:4},{name:b,dtype:float32,size:4}]";
const S3: &str = "dataset.data_folder=s3://bucket/data";
const ALONE: &str = "workflow.train=false workflow.evaluation=false checkpoint.num_checkpoints_write=2 \
     checkpoint.num_checkpoints_read=1";

/// Key, what else is set, and two values that make a difference; `-`: the key is absent.
const DIFFERENT: &[(&str, &str, [&str; 2])] = &[
    ("model.type", "model.layer_parameters=[]", ["-", "transformer"]),
    ("model.model_size_bytes", "", ["4096", "8192"]),
    ("model.optimization_groups", "", ["[16]", "[32]"]),
    ("model.num_layers", "", ["4", "2"]),
    ("model.layer_parameters", "", ["[8]", "[16]"]),
    ("model.parallelism.tensor", TRANSFORMER, ["1", "2"]),
    ("model.parallelism.pipeline", TRANSFORMER, ["1", "2"]),
    ("model.parallelism.zero_stage", TRANSFORMER, ["0", "3"]),
    ("model.transformer.vocab_size", TRANSFORMER, ["64", "128"]),
    ("model.transformer.hidden_size", TRANSFORMER, ["64", "128"]),
    ("model.transformer.ffn_hidden_size", TRANSFORMER, ["64", "128"]),
    ("model.transformer.num_attention_heads", TRANSFORMER, ["32", "16"]),
    ("model.transformer.num_kv_heads", TRANSFORMER, ["8", "4"]),
    ("framework", "", ["pytorch", "tensorflow"]),
    ("workflow.train", "", ["true", "false"]),
    ("dataset.record_length_bytes", "", ["4096", "16384"]),
    ("dataset.record_length_bytes_stdev", "", ["0", "1000"]),
    ("dataset.num_files_train", "", ["16", "8"]),
    ("dataset.num_files_eval", "", ["8", "4"]),
    ("dataset.num_samples_per_file", "", ["4", "2"]),
    ("dataset.data_folder", "", ["data", "other"]),
    ("dataset.num_subfolders_train", "", ["0", "2"]),
    ("dataset.num_subfolders_eval", "", ["0", "2"]),
    ("dataset.compression_level", "dataset.format=hdf5 dataset.compression=gzip", ["1", "9"]),
    ("dataset.file_prefix", "", ["img", "x"]),
    ("dataset.format", "", ["npz", "npy"]),
    ("dataset.record_element_type", "", ["uint8", "float32"]),
    ("dataset.record_dims", "dataset.format=hdf5", ["[8,8]", "[16,16]"]),
    ("dataset.hdf5.chunk_dims", "dataset.format=hdf5 dataset.record_dims=[16,16]", ["-", "[4,4]"]),
    ("dataset.hdf5.num_dset_per_record", "dataset.format=hdf5 dataset.record_dims=[16,16]", ["1", "2"]),
    ("dataset.hdf5.max_shape", "dataset.format=hdf5 dataset.record_dims=[16,16]", ["-", "[64,64]"]),
    ("dataset.num_files_generated", NATIVE, ["16", "32"]),
    ("dataset.parquet.columns", PARQUET, ["[{name:a,dtype:float32,size:4}]", "[{name:a,dtype:float64,size:4}]"]),
    ("dataset.parquet.row_group_size", PARQUET, ["4", "8"]),
    ("storage.storage_type", "storage.storage_root=bucket", ["local_fs", "s3"]),
    ("storage.storage_root", "", ["./", "/mnt/x"]),
    ("storage.storage_options.s3_force_path_style", S3, ["true", "false"]),
    ("storage.storage_options.addressing_style", S3, ["path", "virtual"]),
    ("storage.storage_options.verify", S3, ["true", "false"]),
    ("storage.storage_options.verify_ssl", S3, ["true", "false"]),
    ("storage.storage_options.s3_max_attempts", S3, ["3", "5"]),
    ("storage.use_mpi_endpoint_distribution", S3, ["true", "false"]),
    ("storage.load_balance_strategy", S3, ["round_robin", "random"]),
    ("storage.storage_library", "dlio_rs.dialect=mlperf dataset.data_folder=s3://bucket/data", ["s3dlio", "minio"]),
    (
        "storage.storage_options.storage_library",
        "dlio_rs.dialect=mlperf dataset.data_folder=s3://bucket/data",
        ["s3dlio", "minio"],
    ),
    (
        "storage.storage_options.uri_scheme",
        "dlio_rs.dialect=mlperf storage.storage_type=s3 storage.storage_root=x",
        ["s3", "file"],
    ),
    ("storage.storage_options.prefetch_workers", PARQUET_S3, ["4", "8"]),
    ("storage.storage_options.prefetch", PARQUET_S3, ["4", "8"]),
    ("storage.storage_options.max_outstanding", PARQUET_S3, ["4", "8"]),
    ("storage.storage_options.footer_batch_size", PARQUET_S3, ["4", "8"]),
    ("storage.storage_options.decode", PARQUET_S3_WIDE, ["raw", "arrow"]),
    (
        "storage.storage_options.stagger_workers",
        "dlio_rs.dialect=mlperf dataset.data_folder=s3://bucket/data storage.storage_library=minio",
        ["true", "false"],
    ),
    ("reader.data_loader", "", ["pytorch", "synthetic"]),
    ("reader.data_loader_classname", "", ["-", "a.B"]),
    ("reader.reader_classname", "", ["-", "a.B"]),
    ("reader.read_threads", "", ["2", "1"]),
    ("reader.batch_size", "", ["2", "4"]),
    ("reader.batch_size_eval", "", ["2", "4"]),
    ("reader.prefetch_size", "", ["2", "8"]),
    ("reader.file_shuffle", NATIVE, ["off", "seed"]),
    ("reader.sample_shuffle", NATIVE, ["off", "seed"]),
    (
        "reader.shuffle_size",
        "framework=tensorflow reader.data_loader=tensorflow dataset.format=tfrecord reader.sample_shuffle=seed",
        ["2", "16"],
    ),
    ("reader.read_type", "", ["-", "memory"]),
    ("reader.odirect", "", ["false", "true"]),
    ("reader.preprocess_time", "", ["0.1", "0.2"]),
    ("reader.preprocess_time_stdev", "reader.preprocess_time=0.1", ["0.01", "0.02"]),
    ("reader.write_threads", NATIVE, ["2", "3"]),
    ("train.epochs", "", ["2", "3"]),
    ("train.total_training_steps", "", ["-1", "2"]),
    ("train.seed_change_epoch", "dlio_rs.dialect=native reader.sample_shuffle=seed", ["true", "false"]),
    ("train.seed", "dlio_rs.dialect=native reader.sample_shuffle=seed", ["123", "124"]),
    ("train.computation_time", "", ["0.01", "0.02"]),
    ("train.computation_time_stdev", "", ["0.01", "0.02"]),
    ("evaluation.eval_time", "", ["0.01", "0.02"]),
    ("evaluation.eval_time_stdev", "", ["0.01", "0.02"]),
    ("checkpoint.checkpoint_folder", "", ["a", "b"]),
    ("checkpoint.checkpoint_after_epoch", "", ["1", "2"]),
    ("checkpoint.epochs_between_checkpoints", "", ["1", "2"]),
    ("checkpoint.steps_between_checkpoints", "", ["-1", "2"]),
    ("checkpoint.mode", "model.parallelism.data=4", ["default", "subset"]),
    ("checkpoint.checkpoint_mechanism_classname", "", ["-", "a.B"]),
    ("checkpoint.fsync", NATIVE, ["false", "true"]),
    ("checkpoint.recovery_rank_shift", NATIVE, ["false", "true"]),
    ("checkpoint.rank_sync", ALONE, ["false", "true"]),
    ("checkpoint.time_between_checkpoints", ALONE, ["1", "2"]),
    ("checkpoint.num_checkpoints_write", ALONE, ["2", "3"]),
    ("checkpoint.num_checkpoints_read", ALONE, ["1", "2"]),
    ("output.metric.exclude_start_steps", "", ["1", "2"]),
    ("output.metric.exclude_end_steps", "", ["0", "2"]),
    ("metric.au", "", ["0.9", "0.5"]),
    ("dlio_rs.dialect", "", ["dlio", "mlperf"]),
    ("dlio_rs.payload_seed", "", ["10", "11"]),
    ("dlio_rs.multipart_threshold", S3, ["10", "20"]),
    ("dlio_rs.multipart_part_size", S3, ["5242880", "6291456"]),
    ("dlio_rs.multipart_concurrency", S3, ["2", "3"]),
    ("dlio_rs.checkpoint_read_blocks", "", ["1", "2"]),
    ("dlio_rs.checkpoint_read_bytes", "", ["1024", "2048"]),
    ("dlio_rs.request_timeout_seconds", S3, ["30", "20"]),
    ("dlio_rs.connect_timeout_seconds", S3, ["5", "4"]),
    ("dlio_rs.retry_for", S3, ["60", "50"]),
    ("dlio_rs.on_endpoint_failure", S3, ["fail", "failover"]),
    ("dlio_rs.generate_odirect", "", ["false", "true"]),
    ("dlio_rs.client_profile", S3, ["-", "s3dlio-0.9.106"]),
    ("dlio_rs.head_before_get", S3, ["false", "true"]),
    ("dlio_rs.split_threshold", S3, ["1000", "2000"]),
    ("dlio_rs.split_chunk", "dataset.data_folder=s3://bucket/data dlio_rs.split_threshold=1000", ["1000", "2000"]),
    ("dlio_rs.split_concurrency", "dataset.data_folder=s3://bucket/data dlio_rs.split_threshold=1000", ["2", "3"]),
    ("dlio_rs.direct_chunk", "reader.odirect=true", ["4096", "8192"]),
];

const PARQUET_S3: &str = "dlio_rs.dialect=mlperf dataset.format=parquet dataset.num_samples_per_file=64 \
     dataset.data_folder=s3://bucket/data dataset.parquet.row_group_size=4 \
     dataset.parquet.columns=[{name:a,dtype:float32,size:4}]";
const PARQUET_S3_WIDE: &str = "dlio_rs.dialect=mlperf dataset.format=parquet dataset.num_samples_per_file=64 \
     dataset.data_folder=s3://bucket/data dataset.parquet.row_group_size=4 \
     storage.storage_options.prefetch_workers=2000 dataset.parquet.columns=[{name:a,dtype:float32,size:4}]";

/// Key, and a file of tests whose assertions depend on its value.
const TESTED: &[(&str, &str)] = &[
    ("workflow.generate_data", "tests/end_to_end/content.rs"),
    ("workflow.checkpoint", "tests/end_to_end/checkpoints.rs"),
    ("workflow.profiling", "tests/end_to_end/drop_in.rs"),
    ("workflow.query", "tests/end_to_end/drop_in.rs"),
    ("dataset.keep_files", "tests/end_to_end/content.rs"),
    ("dataset.skip_listing", "tests/end_to_end/mlperf.rs"),
    ("storage.storage_options.access_key_id", "tests/end_to_end/runs.rs"),
    ("storage.storage_options.secret_access_key", "tests/end_to_end/runs.rs"),
    ("storage.storage_options.endpoint_url", "tests/end_to_end/notices.rs"),
    ("storage.storage_options.region", "tests/end_to_end/runs.rs"),
    ("storage.endpoint_uris", "tests/end_to_end/runs.rs"),
    ("storage.endpoint_template", "crates/run/src/resolve/endpoints.rs"),
    ("storage.endpoint_file", "crates/run/src/resolve/endpoints.rs"),
    ("storage.storage_options.footer_cap", "crates/format/tests/parquet.rs"),
    ("storage.storage_options.columns", "crates/format/tests/parquet.rs"),
    ("reader.transfer_size", "crates/format/tests/files.rs"),
    ("output.folder", "tests/end_to_end/notices.rs"),
    ("output.log_file", "tests/end_to_end/datasets.rs"),
    ("profiling.profiler", "tests/end_to_end/drop_in.rs"),
    ("profiling.iostat_devices", "tests/end_to_end/drop_in.rs"),
    ("dlio_rs.registry", "tests/end_to_end/notices.rs"),
    ("dlio_rs.node_local", "tests/end_to_end/serving.rs"),
    ("dlio_rs.s3_client", "tests/end_to_end/connections.rs"),
    ("dlio_rs.inflight_per_reader", "tests/end_to_end/notices.rs"),
    ("dlio_rs.generate_inflight", "tests/end_to_end/terminal.rs"),
    ("dlio_rs.decode", "tests/end_to_end/content.rs"),
    ("dlio_rs.verify_by", "tests/end_to_end/content.rs"),
    ("dlio_rs.shape_mismatch", "tests/end_to_end/shapes.rs"),
    ("dlio_rs.max_auto_threads", "crates/run/src/resolve/threads.rs"),
    ("dlio_rs.space_check", "tests/end_to_end/sizes.rs"),
    ("model.model_datatype", "tests/end_to_end/checkpoints.rs"),
    ("model.optimizer_datatype", "tests/end_to_end/checkpoints.rs"),
    ("model.parallelism.data", "crates/config/tests/meaning.rs"),
    ("workflow.evaluation", "crates/plan/tests/cover.rs"),
    ("dataset.compression", "crates/format/tests/content.rs"),
    ("storage.storage_options.prefetch_window", "crates/plan/tests/mlperf.rs"),
    ("storage.storage_options.coalesce_rgs", "crates/plan/tests/mlperf.rs"),
    ("reader.data_loader_sampler", "crates/config/tests/meaning.rs"),
    ("evaluation.eval_after_epoch", "crates/plan/tests/orders.rs"),
    ("evaluation.epochs_between_evals", "crates/plan/tests/orders.rs"),
    ("dlio_rs.endpoint_mapping", "crates/run/src/backend/assign.rs"),
];

/// Keys whose effect needs a whole run, root or time to be seen: the code that reads them, outside of the configuration.
const READ: &[(&str, &str)] = &[
    ("model.name", "workload.model.name"),
    ("dataset.listing_validation_interval", "workload.dataset.listing_validation_interval"),
    ("storage.post_generation_settle_seconds", "keys.post_generation_settle_seconds"),
    ("checkpoint.randomize_tensor", "workload.checkpoint.randomize_tensor"),
    ("dlio_rs.trace", "workload.dlio_rs.trace"),
    ("dlio_rs.drop_caches", "keys.drop_caches"),
    ("dlio_rs.drop_caches_timeout_seconds", "keys.drop_caches_timeout_seconds"),
];

fn load(key: &str, set: &str, value: &str) -> Result<Workload, String> {
    let set = set.split_whitespace().map(str::to_owned);
    let value = (value != "-").then(|| format!("{key}={value}"));
    let texts = set.filter(|text| !text.starts_with(&format!("{key}="))).chain(value);
    let overrides: Vec<_> = texts.map(|text| Override::parse(&format!("++{text}")).unwrap()).collect();
    let source = Source { name: "test.yaml", yaml: BASE };
    let loaded = dlio_config::load(&source, &overrides, &BTreeMap::new(), None);
    loaded.map(|loaded| loaded.workload).map_err(|error| error.to_string())
}

/// Everything that the run would do, as text: plan, files, requests and figures, or why it is refused.
fn outcome(workload: &Workload) -> String {
    let mut text = String::new();
    let show = |place: Result<Target, Failure>| place.map_or_else(|error| format!("{error}"), |target| target.name());
    let _ = writeln!(text, "{} {}", show(Target::of(workload)), show(Target::of_checkpoints(workload)));
    let _ = writeln!(text, "{}", requests(workload));
    let world = World { size: 2 };
    let checkpoints = dlio_plan::checkpoints(workload, world);
    match &checkpoints {
        Ok(plan) => {
            plan.jsonl(None).for_each(|line| text.extend([line.as_str(), "\n"]));
            let during = plan.during_training().map(|during| during.taken(2, 8).collect::<Vec<_>>());
            let alone = plan.alone().map(|alone| {
                let pauses: Vec<_> = alone.pauses(0).take(4).collect();
                (alone.writes, alone.reads, alone.rank_sync, pauses)
            });
            let _ = writeln!(text, "{during:?} {alone:?} {} {}", plan.fsync(), plan.loads_files_of(0, 1));
            let _ = writeln!(text, "{:?}", (plan.size_bytes(), plan.content("folder", "file")));
        }
        Err(error) => text.push_str(&error.to_string()),
    }
    match dlio_plan::training(workload, world) {
        Ok(plan) => {
            text.push_str(&training(&plan));
            let figures = crate::outputs::parameters::parameters(workload, Some(&plan), checkpoints.as_ref().ok());
            let _ = writeln!(text, "{figures:?}");
            text.push_str(&files(workload, &plan));
        }
        Err(error) => text.push_str(&error.to_string()),
    }
    text
}

fn training(plan: &dlio_plan::TrainingPlan) -> String {
    let mut text = String::new();
    let selection = Selection { rank: None, epoch: None, split: None };
    dlio_plan::jsonl(plan, selection).for_each(|line| text.extend([line.as_str(), "\n"]));
    let _ = writeln!(
        text,
        "{:?}",
        (
            plan.epochs(),
            plan.lanes(),
            plan.window(),
            plan.handles(),
            plan.pipeline(),
            plan.whole_files(),
            plan.stagger(1)
        )
    );
    for split in [Split::Train, Split::Eval] {
        let _ = writeln!(text, "{:?}", plan.compute_times(0, split, 1).take(4).collect::<Vec<_>>());
        let _ = writeln!(text, "{:?}", plan.preprocess_times(0, split, 1, 0).take(4).collect::<Vec<_>>());
    }
    text
}

/// Names of all files, and the content of the first one of each split.
fn files(workload: &Workload, plan: &dlio_plan::TrainingPlan) -> String {
    let files = plan.files();
    let mut text: String = (0..files.total()).map(|number| files.name(number) + "\n").collect();
    let layout = match Layout::new(&workload.dataset, workload.dlio_rs.payload_seed) {
        Ok(layout) => layout.with_reading(workload).with_dialect(workload.dlio_rs.dialect),
        Err(error) => return format!("{text}{error}"),
    };
    for number in [0, files.len(Split::Train)].into_iter().filter(|&number| number < files.total()) {
        let file = files.file(number);
        let shape = FileShape { file: number, dims: &file.dims, samples: file.samples };
        match layout.encoder(&shape) {
            Ok(mut encoder) => {
                let mut bytes = vec![0; usize::try_from(encoder.len()).unwrap()];
                encoder.fill(&mut bytes);
                let _ = writeln!(text, "{:?} {} {:x}", file.dims, bytes.len(), fnv1a_128(&bytes));
            }
            Err(error) => text.push_str(&error.to_string()),
        }
    }
    text
}

/// How requests would be made by rank 1 of 4 with eight endpoints.
fn requests(workload: &Workload) -> String {
    let endpoints: Vec<String> = (0..8).map(|number| format!("http://host{number}:9000")).collect();
    let assigned = share(workload, &endpoints, 1, 4).endpoints;
    let mut config = S3Config::new(endpoints, "bucket");
    let _ = Connections::default().apply(workload, &mut config);
    set_from_keys(workload, &mut config);
    let place = Place { rank: 1, size: 4, node: 0, nodes: 1, local_rank: 1, local_size: 4, host: "host".to_owned() };
    format!(
        "{assigned:?} {:?} {:?} {:?} {:?} {:?}",
        config,
        local_options(workload),
        split_rules(workload),
        checkpoint_loading(workload, &place, false),
        workload.reader.write_threads,
    )
}

fn acting() -> Vec<String> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let reference = std::fs::read_to_string(top.join("docs/configuration.md")).unwrap();
    let acts = |line: &&str| line.rsplit("| ").next().is_some_and(|effect| effect.starts_with("acts"));
    reference.lines().filter(acts).map(|line| line.split('`').nth(1).unwrap().to_owned()).collect()
}

#[test]
fn two_values_of_every_key_that_acts_make_a_difference() {
    let mut without = Vec::new();
    for (key, set, values) in DIFFERENT {
        let [one, other] = values.map(|value| load(key, set, value).map_or_else(|error| error, |w| outcome(&w)));
        if one == other {
            without.push(*key);
        }
    }
    assert!(without.is_empty(), "no difference with {without:?}");
}

#[test]
fn every_key_that_acts_is_in_one_of_the_tables() {
    let keys = DIFFERENT.iter().map(|(key, ..)| *key).chain(TESTED.iter().chain(READ).map(|(key, _)| *key));
    let shown: BTreeSet<&str> = keys.collect();
    let acting = acting();
    assert!(acting.len() > 100, "docs/configuration.md names only {} keys that act", acting.len());
    let missing: Vec<_> = acting.iter().filter(|key| !shown.contains(key.as_str())).collect();
    assert!(missing.is_empty(), "nothing shows that these act: {missing:?}");
    let unknown: Vec<_> = shown.iter().filter(|key| !acting.iter().any(|known| known == *key)).collect();
    assert!(unknown.is_empty(), "the reference does not say that these act: {unknown:?}");
}

#[test]
fn keys_that_need_a_whole_run_are_set_by_tests_or_read_by_code() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (key, file) in TESTED {
        let text = std::fs::read_to_string(top.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let name = key.rsplit('.').next().unwrap();
        assert!(text.contains(name), "no test in {file} sets {key}");
    }
    let mut code = String::new();
    let mut open = vec![top.join("crates/run/src")];
    while let Some(folder) = open.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                open.push(path);
            } else if !path.to_string_lossy().ends_with("tests.rs") {
                code.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    for (key, read) in READ {
        assert!(code.contains(read), "nothing reads {key}");
    }
}
