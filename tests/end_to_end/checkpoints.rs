//! Checkpoints of the real binary, compared with recorded runs of the reference, on disk and on S3; each is complete or absent.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{
    Server, assert_ended, json, mpirun, mpirun_command, python, ranks_of, signal, solo, tree, wait_at_most,
};

/// A small transformer on four ranks with `ZeRO` stage 3.
const LLAMA: &str = "model: {name: m, type: transformer, num_layers: 4, model_datatype: fp16, optimizer_datatype: fp32, \
     parallelism: {tensor: 1, pipeline: 1, zero_stage: 3}, \
     transformer: {vocab_size: 320, hidden_size: 64, ffn_hidden_size: 128, num_attention_heads: 8, num_kv_heads: 4}}\n\
     framework: pytorch\nworkflow: {generate_data: false, train: false, checkpoint: true}\n";

fn write(folder: &Path, text: &str) -> String {
    let path = folder.join("my.yaml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Returns names and sizes in bytes of the files below a folder.
fn files(folder: &Path) -> BTreeMap<String, u64> {
    if !folder.exists() {
        return BTreeMap::new();
    }
    tree(folder).into_iter().map(|(name, content)| (name, content.len() as u64)).collect()
}

/// Returns the lines about checkpoints in a log without level and time, so that times and rates are not compared.
fn checkpoint_lines(log: &str) -> Vec<String> {
    let marks =
        ["Model size", "Optimizer state", "Total checkpoint", "Total number of", "Performing subset", "Saved model"];
    let more = ["Saved optimizer", "Loaded", "checkpoint "];
    let about = |line: &&str| {
        marks.iter().chain(&more).any(|mark| line.contains(mark))
            && line.starts_with("[OUTPUT]")
            && !line.contains("Running")
    };
    log.lines().filter(about).map(|line| measured_out(line.splitn(3, ' ').nth(2).unwrap_or(line))).collect()
}

/// Returns a line without its measured numbers.
fn measured_out(line: &str) -> String {
    let measured = ["Finished", "Saved", "Loaded"].iter().any(|word| line.starts_with(word));
    let words = line.trim_end().split(' ').map(|word| if measured && word.contains('.') { "#" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn recorded_runs_of_the_reference_leave_the_same_files_metrics_and_lines() {
    let golden = json(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/checkpoint_runs.json"));
    for (name, run) in golden.as_object().unwrap() {
        let folder = tempfile::tempdir().unwrap();
        let inside = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let mut workload = run["workload"].clone();
        workload["dataset"]["data_folder"] = inside("data").into();
        workload["checkpoint"]["checkpoint_folder"] = inside("ckpt").into();
        workload["output"]["folder"] = inside("out").into();
        let path = write(folder.path(), &workload.to_string());
        let ranks = u32::try_from(run["np"].as_u64().unwrap()).unwrap();
        mpirun(ranks, &["run", &path]).ok();

        let expected: BTreeMap<String, u64> = serde_json::from_value(run["files"].clone()).unwrap();
        assert_eq!(files(&folder.path().join("ckpt")), expected, "{name}");
        let metric = &json(&folder.path().join("out/summary.json"))["metric"];
        let keys: Vec<&str> = metric.as_object().unwrap().keys().map(String::as_str).collect();
        let mut expected: Vec<&str> =
            run["metric"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
        expected.sort_unstable();
        assert_eq!(keys, expected, "{name}");
        assert_eq!(metric["checkpoint_size_GB"], run["checkpoint_size_GB"], "{name}");
        let log = std::fs::read_to_string(folder.path().join("out/dlio.log")).unwrap();
        let expected: Vec<String> =
            run["log"].as_array().unwrap().iter().map(|line| measured_out(line.as_str().unwrap())).collect();
        assert_eq!(checkpoint_lines(&log), expected, "{name}");
        solo(&["analyze", &inside("out"), "--no-files"]).ok();
    }
}

#[test]
fn the_statistics_of_every_rank_have_the_references_entries() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let text = format!(
        "{LLAMA}checkpoint: {{checkpoint_folder: {}, num_checkpoints_write: 2, num_checkpoints_read: 1, time_between_checkpoints: 0.01}}\n",
        folder.path().join("ckpt").display()
    );
    mpirun(4, &["replay", &write(folder.path(), &text), "--output", out.to_str().unwrap()]).ok();
    for rank in 0..4 {
        let stats = json(&out.join(format!("{rank}_per_epoch_stats.json")));
        let epoch = stats["1"].as_object().unwrap();
        let keys: Vec<&str> = epoch.keys().map(String::as_str).collect();
        assert_eq!(keys, ["end", "load_ckpt1", "save_ckpt1", "save_ckpt2", "start"]);
        for key in ["save_ckpt1", "load_ckpt1"] {
            let entry = &epoch[key];
            assert!(
                entry["duration"].as_f64().unwrap() > 0.0 && entry["throughput"].as_f64().unwrap() > 0.0,
                "{entry}"
            );
            assert!(entry["start"].as_str().unwrap() < entry["end"].as_str().unwrap(), "{entry}");
        }
    }
    let log = std::fs::read_to_string(out.join("dlio.log")).unwrap();
    let phases: Vec<&str> =
        log.lines().filter_map(|line| line.split_once(" Checkpointing ")).map(|(_, said)| said).collect();
    assert_eq!(phases, ["write started", "write finished", "read started", "write started"]);
    let summary = json(&out.join("summary.json"));
    assert_eq!(summary["epochs"], 0);
    solo(&["analyze", out.to_str().unwrap()]).ok();
    let report = json(&out.join("report.json"));
    let rows = report["checkpoints"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    for row in rows {
        assert_eq!(row["ranks"], 4);
        assert!(row["seconds_all"].as_f64().unwrap() >= row["seconds_rank0"].as_f64().unwrap());
    }
    let mean = |key: &str| summary["metric"][key].as_f64().unwrap();
    let seconds = |row: usize| rows[row]["seconds_rank0"].as_f64().unwrap();
    let saved = f64::midpoint(seconds(0), seconds(1));
    assert!((saved - mean("save_checkpoint_duration_mean_seconds")).abs() < 2e-6, "from the trace {saved}");
}

#[test]
fn checkpoints_on_s3_are_saved_loaded_and_counted() {
    let server = Server::start(2, &[]);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let text = format!(
        "{LLAMA}checkpoint: {{checkpoint_folder: 's3://ckpt/run', num_checkpoints_write: 2, num_checkpoints_read: 2, time_between_checkpoints: 0.01}}\n"
    );
    let path = write(folder.path(), &text);
    let target = ["--registry", server.registry(), "--output", out.to_str().unwrap()];
    let sdk: &[&[&str]] = if cfg!(feature = "sdk") { &[&["dlio_rs.s3_client=sdk"]] } else { &[] };
    for more in [&["dlio_rs.dialect=dlio"][..], &["dlio_rs.dialect=mlperf"]].iter().chain(sdk) {
        let more: Vec<String> = more.iter().map(|word| format!("++workload.{word}")).collect();
        let words: Vec<&str> = more.iter().map(String::as_str).collect();
        mpirun(4, &[&["replay", &path], &words[..], &target[..]].concat()).ok();
        let facts = python("trace.py", &[out.join("trace").to_str().unwrap()]);
        assert_eq!(facts["endpoints"].as_object().unwrap().len(), 2, "{facts}");
        let summary = json(&out.join("summary.json"));
        assert!(summary["metric"]["load_checkpoint_io_mean_GB_per_second"].as_f64().unwrap() > 0.0);
        // A later run can load the existing checkpoints, but not more.
        let later = ["++workload.checkpoint.num_checkpoints_write=0"];
        mpirun(4, &[&["replay", &path], &words[..], &later, &target[..]].concat()).ok();
        let more = ["++workload.checkpoint.num_checkpoints_write=0", "++workload.checkpoint.num_checkpoints_read=5"];
        let said = mpirun(4, &[&["replay", &path], &words[..], &more, &target[..]].concat())
            .failed(4, &["Number of checkpoints to be read: 5 is more than the number of checkpoints available: 2"]);
        assert_eq!(said.err.matches("Number of checkpoints to be read").count(), 1, "{}", said.err);
    }
}

#[test]
fn training_with_checkpoints_on_s3_in_every_schedule() {
    let server = Server::start(1, &[]);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let text = "model: {name: m, model_size_bytes: 100000}\nframework: pytorch\n\
         workflow: {generate_data: true, train: true, checkpoint: true}\n\
         dataset: {data_folder: data, format: npz, num_files_train: 32, num_samples_per_file: 1, record_length_bytes: 4096}\n\
         storage: {storage_type: s3, storage_root: bucket}\n\
         reader: {data_loader: pytorch, batch_size: 2, read_threads: 1}\ntrain: {epochs: 2, computation_time: 0.001}\n\
         checkpoint: {checkpoint_folder: ckpt}\n";
    let path = write(folder.path(), text);
    let target = ["--registry", server.registry(), "--output", out.to_str().unwrap()];
    for (schedule, saves) in
        [("checkpoint_after_epoch=2", 1), ("steps_between_checkpoints=2", 4), ("steps_between_checkpoints=0", 0)]
    {
        let schedule = format!("++workload.checkpoint.{schedule}");
        mpirun(4, &[&["run", &path, &schedule], &target[..]].concat()).ok();
        let stats = json(&out.join("0_per_epoch_stats.json"));
        let entries = stats.as_object().unwrap().values().flat_map(|epoch| epoch.as_object().unwrap().keys());
        assert_eq!(entries.filter(|key| key.starts_with("save_ckpt")).count(), saves, "{schedule}: {stats}");
    }
}

/// Returns the ranks that `mpirun` has started.
/// Starts four ranks that save large checkpoints, and kills one in the middle of the first.
fn kill_one_while_all_save(words: &[&str], begun: impl Fn() -> bool) {
    let mut child = mpirun_command(4, words).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    while !begun() {
        assert!(Instant::now() < deadline, "no rank began to save");
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it saved");
        std::thread::sleep(Duration::from_millis(5));
    }
    let ranks = ranks_of(&child);
    assert_eq!(ranks.len(), 4, "ranks of mpirun");
    signal(ranks[2], "KILL");
    let code = wait_at_most(&mut child, Duration::from_secs(30));
    assert!(code.is_some_and(|code| code != 0), "mpirun ended with {code:?}");
    assert_ended(&ranks);
}

#[test]
fn a_rank_that_is_killed_while_it_saves_leaves_no_checkpoint_and_no_rank_that_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("ckpt");
    let text = format!(
        "model: {{name: m, type: transformer, num_layers: 8, parallelism: {{zero_stage: 3}}, \
         transformer: {{vocab_size: 32000, hidden_size: 768, ffn_hidden_size: 3072, num_attention_heads: 8, num_kv_heads: 8}}}}\n\
         framework: pytorch\nworkflow: {{train: false, checkpoint: true}}\n\
         checkpoint: {{checkpoint_folder: {}, num_checkpoints_write: 3, time_between_checkpoints: 0}}\n",
        saved.display()
    );
    let path = write(folder.path(), &text);
    let out = folder.path().join("out").to_str().unwrap().to_owned();
    let first = saved.join("global_epoch1_step1");
    kill_one_while_all_save(&["-q", "replay", &path, "--output", &out], || first.is_dir());
    let visible = |files: BTreeMap<String, u64>| -> Vec<String> {
        files.into_keys().filter(|name| !name.rsplit('/').next().unwrap().starts_with('.')).collect()
    };
    // The process may be killed after the first checkpoints: existing ones are complete, and the interrupted one is absent.
    let mut checkpoints: BTreeMap<String, usize> = BTreeMap::new();
    for name in visible(files(&saved)) {
        *checkpoints.entry(name.split('/').next().unwrap().to_owned()).or_default() += 1;
    }
    assert!(checkpoints.values().all(|files| *files == 8), "{checkpoints:?}");
    let more = checkpoints.len() + 1;
    let read = format!("++workload.checkpoint.num_checkpoints_read={more}");
    let said = mpirun(4, &["replay", &path, "++workload.checkpoint.num_checkpoints_write=0", &read, "--output", &out]);
    let available = format!("is more than the number of checkpoints available: {}", checkpoints.len());
    said.failed(4, &[&available]);
}

#[test]
fn a_rank_that_is_killed_while_it_uploads_leaves_no_object() {
    let server = Server::start(1, &[]);
    let folder = tempfile::tempdir().unwrap();
    let text = "model: {name: m, type: transformer, num_layers: 8, parallelism: {zero_stage: 3}, \
         transformer: {vocab_size: 32000, hidden_size: 768, ffn_hidden_size: 3072, num_attention_heads: 8, num_kv_heads: 8}}\n\
         framework: pytorch\nworkflow: {train: false, checkpoint: true}\n\
         checkpoint: {checkpoint_folder: 's3://ckpt/run', num_checkpoints_write: 1, time_between_checkpoints: 0}\n";
    let path = write(folder.path(), text);
    let out = folder.path().join("out");
    let log = out.join("dlio.log");
    let words = ["-q", "replay", &path, "--registry", server.registry(), "--output", out.to_str().unwrap()];
    let begun = || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("Starting saving"));
    kill_one_while_all_save(&words, begun);
    let read = ["++workload.checkpoint.num_checkpoints_write=0", "++workload.checkpoint.num_checkpoints_read=1"];
    mpirun(4, &[&words[1..], &read[..]].concat())
        .failed(4, &["Number of checkpoints to be read: 1 is more than the number of checkpoints available: 0"]);
}

#[test]
fn damaged_and_missing_checkpoint_files_are_one_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("ckpt");
    let section = "num_checkpoints_write: 1, num_checkpoints_read: 1, time_between_checkpoints: 0.01";
    let text = format!("{LLAMA}checkpoint: {{checkpoint_folder: {}, {section}}}\n", saved.display());
    let path = write(folder.path(), &text);
    let out = folder.path().join("out").to_str().unwrap().to_owned();
    for dialect in ["dlio", "mlperf"] {
        let words = ["replay", &path, "--dialect", dialect, "--output", &out];
        mpirun(4, &words).ok();
        let again = [&words[..], &["++workload.checkpoint.num_checkpoints_write=0"]].concat();
        let file = saved.join("global_epoch1_step1/zero_pp_rank_2_mp_rank_0_optim_states.pt");
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(&file, &whole[..whole.len() - 100]).unwrap();
        let said = mpirun(4, &again).failed(4, &[file.to_str().unwrap(), "rank 2", "write the checkpoint again"]);
        assert_eq!(said.err.matches("dlio-rs: error").count(), 1, "{}", said.err);
        std::fs::remove_file(&file).unwrap();
        mpirun(4, &again).failed(4, &[file.to_str().unwrap(), "does not exist", "write it first"]);
    }
}

#[test]
fn a_flipped_byte_of_a_checkpoint_is_noticed_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("ckpt");
    let section = "num_checkpoints_write: 1, num_checkpoints_read: 1, time_between_checkpoints: 0.01";
    let text = format!("{LLAMA}checkpoint: {{checkpoint_folder: {}, {section}}}\n", saved.display());
    let out = folder.path().join("out").to_str().unwrap().to_owned();
    for (framework, dialect, name) in [
        ("pytorch", "dlio", "zero_pp_rank_1_mp_rank_0_optim_states.pt"),
        ("pytorch", "mlperf", "zero_pp_rank_1_mp_rank_0_optim_states.pt"),
        ("tensorflow", "dlio", "zero_pp_rank_1_mp_rank_0_optim_states.pb-1.data-00000-of-00001"),
    ] {
        let path = write(folder.path(), &text.replace("pytorch", framework));
        let words = ["replay", &path, "--dialect", dialect, "--output", &out];
        let again = [&words[..], &["++workload.checkpoint.num_checkpoints_write=0"]].concat();
        let verify = [&again[..], &["--verify"]].concat();
        mpirun(2, &[&words[..], &["--verify"]].concat()).ok();
        let file = saved.join("global_epoch1_step1").join(name);
        let mut bytes = std::fs::read(&file).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 0x10;
        std::fs::write(&file, &bytes).unwrap();
        mpirun(2, &again).ok();
        mpirun(2, &verify).failed(4, &[file.to_str().unwrap(), &format!("content at offset {at}"), "expected"]);
        std::fs::remove_dir_all(&saved).unwrap();
    }
}

#[test]
fn the_bundled_workloads_with_checkpoints_run_when_scaled_down() {
    let folder = tempfile::tempdir().unwrap();
    let small = [
        "++workload.model.transformer.vocab_size=64",
        "++workload.model.transformer.hidden_size=128",
        "++workload.model.transformer.ffn_hidden_size=64",
        "++workload.checkpoint.time_between_checkpoints=0",
        "++workload.checkpoint.num_checkpoints_write=2",
        "++workload.checkpoint.num_checkpoints_read=2",
        "++workload.model.parallelism.tensor=2",
    ];
    for (name, pipeline, files_per_checkpoint) in [
        ("llama_7b", 1, 2 + 4),
        ("llama_7b_zero3", 1, 8),
        ("llama_8b_zero3", 1, 8),
        ("llama_70b", 2, 83 * 2 + 4),
        ("llama_70b_zero3", 1, 8),
        ("llama_405b", 2, 129 * 2 + 4),
    ] {
        let saved = folder.path().join(name);
        let out = folder.path().join(format!("out-{name}")).to_str().unwrap().to_owned();
        let target = format!("++workload.checkpoint.checkpoint_folder={}", saved.display());
        let pipeline = format!("++workload.model.parallelism.pipeline={pipeline}");
        mpirun(4, &[&["run", name, &target, &pipeline, "--output", &out], &small[..]].concat()).ok();
        assert_eq!(files(&saved).len(), 2 * files_per_checkpoint, "{name}");
        let metric = &json(&Path::new(&out).join("summary.json"))["metric"];
        assert!(metric["save_checkpoint_io_mean_GB_per_second"].as_f64().unwrap() > 0.0, "{name}: {metric}");
        assert!(metric["load_checkpoint_io_mean_GB_per_second"].as_f64().unwrap() > 0.0, "{name}: {metric}");
    }
    for name in ["unet3d_a100", "unet3d_h100", "unet3d_v100"] {
        let saved = folder.path().join(name);
        let out = folder.path().join(format!("out-{name}")).to_str().unwrap().to_owned();
        let target = format!("++workload.checkpoint.checkpoint_folder={}", saved.display());
        let data = format!("++workload.dataset.data_folder={}", folder.path().join(format!("data-{name}")).display());
        let small = [
            "++workload.workflow.generate_data=True",
            "++workload.dataset.num_files_train=28",
            "++workload.dataset.record_length_bytes=1000",
            "++workload.dataset.record_length_bytes_stdev=100",
            "++workload.train.computation_time=0.001",
        ];
        mpirun(2, &[&["run", name, &target, &data, "--output", &out], &small[..]].concat()).ok();
        let steps = if name == "unet3d_v100" { 3 } else { 2 };
        let expected = format!("global_epoch5_step{}/model_states-0.pt", steps + 1);
        assert_eq!(files(&saved).into_keys().collect::<Vec<_>>(), [expected]);
    }
}
