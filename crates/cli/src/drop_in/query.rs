//! `dlio_benchmark_query`: prints the value of `workflow.query=KEY`, as Python prints it.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::compose::{Composed, composed, hydra_run};
use super::hydra_args::HydraArgs;
use dlio_run::failure::Failure;
use dlio_run::resolve::config_source::ConfigSource;

/// Keys that can be queried, with their defaults. Plain numbers and words are printed unchanged.
const DEFAULTS: &[(&str, &str)] = &[
    ("framework", "tensorflow"),
    ("storage.storage_type", "local_fs"),
    ("storage.storage_root", "./"),
    ("dataset.record_length_bytes", "65536"),
    ("dataset.record_length_bytes_stdev", "0"),
    ("dataset.record_length_bytes_resize", "0"),
    ("dataset.num_files_train", "8"),
    ("dataset.num_files_eval", "0"),
    ("dataset.generation_buffer_size", "2147483648"),
    ("dataset.num_samples_per_file", "1"),
    ("dataset.data_folder", "./data/"),
    ("dataset.num_subfolders_train", "0"),
    ("dataset.num_subfolders_eval", "0"),
    ("dataset.enable_chunking", "False"),
    ("dataset.chunk_size", "0"),
    ("dataset.compression", "none"),
    ("dataset.compression_level", "4"),
    ("dataset.file_prefix", "img"),
    ("dataset.format", "tfrecord"),
    ("dataset.keep_files", "True"),
    ("reader.dont_use_mmap", "False"),
    ("reader.reader_classname", "None"),
    ("reader.multiprocessing_context", "fork"),
    ("reader.data_loader", "tensorflow"),
    ("reader.data_loader_classname", "None"),
    ("reader.data_loader_sampler", "None"),
    ("reader.read_threads", "1"),
    ("reader.computation_threads", "1"),
    ("reader.batch_size", "1"),
    ("reader.batch_size_eval", "1"),
    ("reader.prefetch_size", "2"),
    ("reader.file_shuffle", "off"),
    ("reader.file_access", "multi"),
    ("reader.shuffle_size", "1024"),
    ("reader.sample_shuffle", "off"),
    ("reader.read_type", "on_demand"),
    ("reader.transfer_size", "None"),
    ("reader.preprocess_time", "0"),
    ("reader.preprocess_time_stdev", "None"),
    ("reader.pin_memory", "True"),
    ("train.epochs", "1"),
    ("train.total_training_steps", "-1"),
    ("train.seed_change_epoch", "True"),
    ("train.computation_time", "0"),
    ("train.computation_time_stdev", "None"),
    ("train.seed", "123"),
    ("evaluation.eval_time", "0"),
    ("evaluation.eval_time_stdev", "None"),
    ("evaluation.eval_after_epoch", "1"),
    ("evaluation.epochs_between_evals", "1"),
    ("checkpoint.checkpoint_folder", "./checkpoints/"),
    ("checkpoint.checkpoint_after_epoch", "1"),
    ("checkpoint.epochs_between_checkpoints", "1"),
    ("checkpoint.steps_between_checkpoints", "-1"),
    ("checkpoint.type", "rank_zero"),
    ("checkpoint.mode", "default"),
    ("checkpoint.checkpoint_mechanism_classname", "None"),
    ("checkpoint.time_between_checkpoints", "-1"),
    ("checkpoint.num_checkpoints_write", "-1"),
    ("checkpoint.num_checkpoints_read", "-1"),
    ("checkpoint.rank_sync", "False"),
    ("model.name", "default"),
    ("model.type", "None"),
    ("model.model_size_bytes", "10240"),
    ("model.optimization_groups", "[]"),
    ("model.num_layers", "-1"),
    ("model.layer_parameters", "[]"),
    ("model.model_datatype", "fp16"),
    ("model.optimizer_datatype", "fp32"),
    ("model.parallelism.tensor", "1"),
    ("model.parallelism.pipeline", "1"),
    ("model.parallelism.data", "-1"),
    ("model.parallelism.zero_stage", "0"),
    ("model.transformer.vocab_size", "32000"),
    ("model.transformer.hidden_size", "2048"),
    ("model.transformer.ffn_hidden_size", "8192"),
    ("model.transformer.num_attention_heads", "32"),
    ("model.transformer.num_kv_heads", "8"),
    ("output.log_file", "dlio.log"),
    ("output.metric.exclude_start_steps", "1"),
    ("output.metric.exclude_end_steps", "0"),
    ("workflow.train", "True"),
    ("workflow.generate_data", "False"),
    ("workflow.evaluation", "False"),
    ("workflow.checkpoint", "False"),
    ("workflow.profiling", "False"),
    ("profiling.profiler", "iostat"),
    ("profiling.iostat_devices", "[]"),
    ("metric.au", "0.9"),
];

/// Keys whose values the reference stores in attributes that it never prints.
const ALWAYS: &[(&str, &str)] = &[("checkpoint.fsync", "False"), ("checkpoint.recovery_rank_shift", "False")];

/// Runs the program.
///
/// # Errors
/// The configuration cannot be composed or is invalid.
pub(super) fn run(line: &HydraArgs) -> Result<(), Failure> {
    if let Some(text) = super::show::instead_of_a_run(line)? {
        return crate::log::print(text.as_bytes());
    }
    let env = crate::environment::environment();
    let Composed { search, composition } = composed(line)?;
    let hydra = hydra_run(&search, &composition, &env)?;
    hydra.write()?;
    let output = hydra.folder.display().to_string();
    let wanted = ConfigSource {
        name: composition.source().path.clone(),
        yaml: composition.source().text.clone(),
        overrides: composition.workload_overrides().map(str::to_owned).collect(),
        dialect: None,
        flags: std::collections::BTreeMap::new(),
        marks: None,
        strict: false,
        hydra: None,
    };
    let loaded = dlio_run::resolve::resolved_run::load(&wanted, &env)?;
    let workload = &loaded.resolved["workload"];
    let asked = workload["workflow"]["query"].as_str();
    let value = asked.and_then(|key| answer(workload, key, &output));
    crate::log::print(format!("{}\n", value.unwrap_or_else(|| "None".to_owned())).as_bytes())
}

/// Returns the value of a key; `None`: there is no such key.
fn answer(workload: &Json, asked: &str, output: &str) -> Option<String> {
    let key = match asked.strip_prefix("data_reader.") {
        Some(rest) => format!("reader.{rest}"),
        None => asked.replace("checkpoint.checkpoint_rank_sync", "checkpoint.rank_sync"),
    };
    if let Some((_, value)) = ALWAYS.iter().find(|(known, _)| *known == key) {
        return Some((*value).to_owned());
    }
    if key == "output.folder" {
        return Some(at(workload, &key).map_or_else(|| output.to_owned(), printed));
    }
    let (_, default) = DEFAULTS.iter().find(|(known, _)| *known == key)?;
    let found = at(workload, &key);
    let value = match key.as_str() {
        "reader.preprocess_time" | "train.computation_time" | "evaluation.eval_time" => mean(found),
        "dataset.data_folder" | "checkpoint.checkpoint_folder" => {
            found.and_then(Json::as_str).map(|text| text.trim_end_matches('/').to_owned())
        }
        "profiling.iostat_devices" => found.map(|value| match value {
            Json::String(_) => format!("[{}]", quoted(value)),
            other => printed(other),
        }),
        "reader.preprocess_time_stdev" | "train.computation_time_stdev" | "evaluation.eval_time_stdev" => {
            found.map(printed).or_else(|| stdev(workload, &key))
        }
        _ => found.map(printed),
    };
    Some(value.unwrap_or_else(|| (*default).to_owned()))
}

/// Returns the value at a dotted path; `data_reader` is a synonym of `reader`.
fn at<'a>(workload: &'a Json, key: &str) -> Option<&'a Json> {
    let reader = if workload.get("data_reader").is_some() { "data_reader" } else { "reader" };
    key.split('.').try_fold(workload, |node, name| node.get(if name == "reader" { reader } else { name }))
}

/// Returns the mean of a time, which is a number or a member of a mapping.
fn mean(time: Option<&Json>) -> Option<String> {
    match time? {
        number @ Json::Number(_) => Some(printed(number)),
        Json::Object(members) => members.get("mean").map(printed),
        _ => None,
    }
}

/// Returns the standard deviation from the mapping of a time.
fn stdev(workload: &Json, key: &str) -> Option<String> {
    at(workload, key.strip_suffix("_stdev")?)?.get("stdev").map(printed)
}

/// Formats a value like Python's `str`.
fn printed(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => quoted(other),
    }
}

/// Formats a value like Python's `repr`.
fn quoted(value: &Json) -> String {
    match value {
        Json::Null => "None".to_owned(),
        Json::Bool(flag) => if *flag { "True" } else { "False" }.to_owned(),
        Json::Number(number) => match (number.is_f64(), number.as_f64()) {
            (true, Some(float)) => dlio_config::hydra::python_float(float),
            _ => number.to_string(),
        },
        Json::String(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        Json::Array(items) => format!("[{}]", items.iter().map(quoted).collect::<Vec<_>>().join(", ")),
        Json::Object(members) => {
            let mut text = String::from("{");
            for (position, (name, member)) in members.iter().enumerate() {
                let comma = if position > 0 { ", " } else { "" };
                let _ = write!(text, "{comma}'{name}': {}", quoted(member));
            }
            text.push('}');
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ask(key: &str) -> Option<String> {
        let workload = json!({
            "model": {"name": "unet3d", "optimization_groups": [1, 2], "parallelism": {"tensor": 2}},
            "framework": "pytorch",
            "dataset": {"data_folder": "data/unet3d/", "record_length_bytes": 114_660.07},
            "data_reader": {"batch_size": 7, "file_shuffle": "seed"},
            "reader": {"batch_size": 1},
            "train": {"computation_time": {"mean": 0.323, "stdev": 0.1}, "epochs": 5},
            "checkpoint": {"fsync": true, "rank_sync": true},
            "workflow": {"train": true},
            "profiling": {"iostat_devices": "sda"},
        });
        answer(&workload, key, "/runs/x")
    }

    #[test]
    fn values_are_printed_as_python_prints_them() {
        for (key, expected) in [
            ("framework", "pytorch"),
            ("dataset.data_folder", "data/unet3d"),
            ("dataset.record_length_bytes", "114660.07"),
            ("dataset.num_files_train", "8"),
            ("reader.batch_size", "7"),
            ("data_reader.batch_size", "7"),
            ("reader.sample_shuffle", "off"),
            ("train.computation_time", "0.323"),
            ("train.computation_time_stdev", "0.1"),
            ("train.epochs", "5"),
            ("checkpoint.fsync", "False"),
            ("checkpoint.checkpoint_rank_sync", "True"),
            ("model.optimization_groups", "[1, 2]"),
            ("model.parallelism.tensor", "2"),
            ("model.parallelism.data", "-1"),
            ("output.folder", "/runs/x"),
            ("workflow.train", "True"),
            ("profiling.iostat_devices", "['sda']"),
            ("metric.au", "0.9"),
        ] {
            assert_eq!(ask(key).as_deref(), Some(expected), "{key}");
        }
        assert_eq!(ask("dataset.nothing"), None);
        assert_eq!(ask("storage.storage_options.region"), None, "as in the reference");
    }
}
