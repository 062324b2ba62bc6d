//! Workloads that are fitted to traces repeat the operations of the traces: they are run and recorded again, and counts are compared.

use std::path::Path;

use dlio_event::{OpKind, Phase};

use crate::support::{Server, events, mpirun, solo};

/// Counts of a recording in a phase.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Done {
    steps: f64,
    bytes: f64,
    reads: f64,
    opens: f64,
    saves: f64,
    written: f64,
}

impl Done {
    fn of(output: &Path, phase: Phase) -> Self {
        let events: Vec<_> = events(output).into_iter().filter(|event| event.at.phase == phase).collect();
        let count = |is: &dyn Fn(OpKind) -> bool| events.iter().filter(|event| is(event.kind)).count() as f64;
        let bytes = |is: &dyn Fn(OpKind) -> bool| {
            events.iter().filter(|event| is(event.kind)).map(|event| event.bytes).sum::<u64>() as f64
        };
        Self {
            steps: count(&|kind| kind == OpKind::Fetch),
            bytes: bytes(&OpKind::is_read),
            reads: count(&OpKind::is_read),
            opens: count(&|kind| kind == OpKind::Open),
            saves: count(&|kind| kind == OpKind::CheckpointSave),
            written: bytes(&OpKind::is_write),
        }
    }

    /// Returns whether numbers differ by at most this share.
    fn is_like(&self, other: &Self, share: f64) -> bool {
        let numbers = |done: &Self| [done.steps, done.bytes, done.reads, done.opens, done.saves, done.written];
        let near = |(one, other): (f64, f64)| (one - other).abs() <= share * one.max(other);
        numbers(self).into_iter().zip(numbers(other)).all(near)
    }
}

/// Returns the recorded and the predicted number in a comment of a workload.
fn said(yaml: &str, name: &str) -> (f64, f64) {
    let line = yaml.lines().find_map(|line| line.strip_prefix(&format!("#   {name}: ")));
    let line = line.unwrap_or_else(|| panic!("{name}: {yaml}"));
    let mut numbers = line.split([',', ' ']).filter_map(|word| word.parse::<f64>().ok());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// Fits a trace, runs the workload on a number of ranks and returns its text.
fn fitted(trace: &Path, ranks: u32, again: &Path, more: &[&str]) -> String {
    let yaml = solo(&["trace", "fit", trace.to_str().unwrap()]).ok().out;
    let model = again.with_extension("yaml");
    std::fs::write(&model, &yaml).unwrap();
    let model = model.to_str().unwrap();
    solo(&["validate", model, "--strict"]).ok();
    let words = ["-q", "run", model, "--output", again.to_str().unwrap()];
    mpirun(ranks, &[&words[..], more].concat()).ok();
    yaml
}

/// Runs a workload with these overrides on a number of ranks in a folder.
fn recorded(at: &Path, ranks: u32, framework: &str, more: &[&str]) {
    let text = format!(
        "model: {{name: t}}\nframework: {framework}\nworkflow: {{generate_data: true, train: true}}\n\
         dataset: {{data_folder: {0}/data, num_files_train: 24, num_samples_per_file: 4, record_length_bytes: 20000}}\n\
         reader: {{data_loader: {framework}, batch_size: 2, read_threads: 2}}\n\
         train: {{epochs: 2, computation_time: 0.001}}\n\
         checkpoint: {{checkpoint_folder: {0}/checkpoints}}\n",
        at.display()
    );
    let yaml = at.join("my.yaml");
    std::fs::write(&yaml, text).unwrap();
    let out = at.join("out");
    let words = ["-q", "run", yaml.to_str().unwrap(), "--output", out.to_str().unwrap()];
    mpirun(ranks, &[&words[..], more].concat()).ok();
}

#[test]
fn fitted_workloads_read_what_was_recorded_and_as_predicted() {
    let cases: [(u32, &str, &[&str]); 5] = [
        (2, "pytorch", &["dataset.format=npz"]),
        (2, "tensorflow", &["dataset.format=tfrecord"]),
        (1, "pytorch", &["dataset.format=hdf5", "reader.read_type=memory"]),
        (
            3,
            "pytorch",
            &[
                "dataset.format=jpeg",
                "dataset.num_samples_per_file=1",
                "dataset.num_files_train=48",
                "reader.read_threads=4",
            ],
        ),
        (
            2,
            "pytorch",
            &[
                "dataset.format=hdf5",
                "dataset.num_files_train=48",
                "dataset.num_files_eval=32",
                "workflow.evaluation=true",
                "reader.batch_size_eval=4",
            ],
        ),
    ];
    for (ranks, framework, more) in cases {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        recorded(at, ranks, framework, more);
        let (out, again) = (at.join("out"), at.join("again"));
        let data = format!("dataset.data_folder={}/fitted", at.display());
        let yaml = fitted(&out, ranks, &again, &["workflow.generate_data=true", &data]);
        for phase in [Phase::Train, Phase::Eval] {
            let (before, after) = (Done::of(&out, phase), Done::of(&again, phase));
            assert!(before.is_like(&after, 0.02), "{more:?}: {before:?} {after:?}\n{yaml}");
        }
        let after = Done::of(&again, Phase::Train);
        let predicted = [
            ("bytes per step and rank", after.bytes),
            ("reads per step and rank", after.reads),
            ("files opened per step and rank", after.opens),
        ];
        for (name, found) in predicted {
            let (_, predicted) = said(&yaml, name);
            assert!((predicted * after.steps / found - 1.0).abs() < 0.02, "{more:?}: {name}: {predicted}\n{yaml}");
        }
    }
}

#[test]
fn a_trace_of_checkpoints_alone_gives_a_workload_of_checkpoints_alone() {
    for (ranks, more) in [(1, &[][..]), (2, &["model.parallelism.tensor=2"][..])] {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let keys = [
            "workflow.generate_data=false",
            "workflow.train=false",
            "workflow.checkpoint=true",
            "model.model_size_bytes=300000",
            "model.optimization_groups=[100000]",
            "checkpoint.num_checkpoints_write=3",
            "checkpoint.num_checkpoints_read=2",
            "checkpoint.time_between_checkpoints=0.01",
        ];
        recorded(at, ranks, "pytorch", &[&keys[..], more].concat());
        let (out, again) = (at.join("out"), at.join("again"));
        let there = format!("checkpoint.checkpoint_folder={}/again", at.display());
        let yaml = fitted(&out, ranks, &again, &[&there]);
        for line in ["train: false", "checkpoint: true", "num_checkpoints_write: 3", "num_checkpoints_read: 2"] {
            assert!(yaml.contains(line), "{line}: {yaml}");
        }
        let (recorded, predicted) = said(&yaml, "bytes of a checkpoint and rank that saves");
        assert!((recorded - 600_000.0).abs() < 1.0 && (predicted - recorded).abs() < 3.0, "{yaml}");
        let (before, after) = (Done::of(&out, Phase::Checkpoint), Done::of(&again, Phase::Checkpoint));
        assert!(before.is_like(&after, 0.01) && before.opens > 0.0, "{before:?} {after:?}\n{yaml}");
    }
}

#[test]
fn objects_that_were_only_written_count_as_checkpoints_in_their_bucket() {
    let server = Server::start(1, &[]);
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let header =
        "idx\tthread\top\tclient_id\tn_objects\tbytes\tendpoint\tfile\terror\tstart\tfirst_byte\tend\tduration_ns";
    let rows = (0..4).map(|number| {
        let second = |from: u32| format!("2026-11-21T10:00:{from:02}.000000000Z");
        let (start, end) = (second(number * 2), second(number * 2 + 1));
        format!(
            "{number}\t1\tPUT\tc\t1\t150000\t\ts3://bucket/models/part-{number}.bin\t\t{start}\t\t{end}\t1000000000"
        )
    });
    let log = at.join("oplog.tsv");
    std::fs::write(&log, std::iter::once(header.to_owned()).chain(rows).map(|row| row + "\n").collect::<String>())
        .unwrap();
    let trace = at.join("trace");
    solo(&["trace", "import", log.to_str().unwrap(), "--out", trace.to_str().unwrap()]).ok();
    let again = at.join("again");
    let pause = "checkpoint.time_between_checkpoints=0.001";
    let yaml = fitted(&trace, 1, &again, &["--registry", server.registry(), pause]);
    for line in ["num_checkpoints_write: 4", "model_size_bytes: 150000", "s3://bucket/checkpoints/fitted", "# Note: "] {
        assert!(yaml.contains(line), "{line}: {yaml}");
    }
    let after = Done::of(&again, Phase::Checkpoint);
    assert!(after.saves.to_bits() == 4.0_f64.to_bits() && (after.written / 600_000.0 - 1.0).abs() < 0.02, "{after:?}");
}

#[test]
fn sample_traces_of_every_format_give_workloads_that_run() {
    let formats = [
        ("darshan-dxt/dxt-3.5.0.txt", 2),
        ("dftracer-older/rd-2.0.0.pfw.gz", 1),
        ("dftracer/trace-0-of-2-3a744771ccba8508-app.pfw.gz", 1),
        ("elbencho/ops.jsonl", 2),
        ("fio/job-v3.log", 1),
        ("kv-cache/io.csv.zst", 1),
        ("op-log/oplog.tsv.zst", 1),
        ("warp/get-0.6.9.csv.zst", 1),
    ];
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../traces");
    for (sample, ranks) in formats {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let (trace, again) = (at.join("trace"), at.join("again"));
        let mut sources: Vec<String> = vec![samples.join(sample).to_str().unwrap().to_owned()];
        if sample.starts_with("dftracer/") {
            // The reader is a separate process.
            sources
                .push(samples.join("dftracer/trace-0-of-2-0c1a769f48349fb2-fork.pfw.gz").to_str().unwrap().to_owned());
        }
        let mut words = vec!["trace", "import"];
        words.extend(sources.iter().map(String::as_str));
        words.extend(["--out", trace.to_str().unwrap()]);
        solo(&words).ok();
        let data = format!("dataset.data_folder={}/fitted", at.display());
        let yaml = fitted(&trace, ranks, &again, &["workflow.generate_data=true", &data, "train.computation_time=0"]);
        let ((steps, _), (each, predicted)) =
            (said(&yaml, "steps of all ranks"), said(&yaml, "bytes per step and rank"));
        let after = Done::of(&again, Phase::Train);
        let (recorded, found) = (steps * each, after.bytes);
        assert!((0.75..1.35).contains(&(found / recorded)), "{sample}: {recorded} {found}\n{yaml}");
        // An op-log names a bucket, so the prediction is for objects, but here files are read.
        let near = if sample.starts_with("op-log") { 0.12 } else { 0.05 };
        assert!((found / after.steps / predicted - 1.0).abs() < near, "{sample}: {predicted} {after:?}\n{yaml}");
    }
}
