//! Log lines that only DLIO has: before the run, and about every step at level INFO.

use std::rc::Rc;
use std::sync::Arc;

use dlio_analyze::outputs as bytes;
use dlio_config::Workload;
use dlio_engine::{Observer, Stall, StepDone};
use dlio_event::TimeSource;

use crate::host::HostFacts;
use crate::host::wall_clock::Anchor;
use crate::message::Level;
use crate::outputs::log::Log;
use crate::outputs::parameters::parameters;
use crate::session::Session;

const GIB: f64 = (1u64 << 30) as f64;

/// Logs the lines about the workload that DLIO logs before anything is read or written.
pub(crate) fn before(session: &Session, train: bool) {
    let workload = &session.loaded.workload;
    let place = session.comm.place();
    let parameters = parameters(workload, None, None);
    let steps =
        workload.train.total_training_steps.unwrap_or_else(|| files_and_steps(session, workload).steps_requested);
    let (start, end) = (parameters.exclude_start_steps, parameters.exclude_end_steps);
    let counted = i128::from(steps) - i128::from(start) - i128::from(end);
    session.log_info(&format!(
        "Metric calculation will exclude the beginning {start} and end {end} steps, only includes {counted} steps."
    ));
    if !train || session.rank() > 0 {
        return;
    }
    let host = HostFacts::read(&place.host);
    let samples = workload.dataset.num_samples_per_file * workload.dataset.num_files_train;
    let data = bytes::data_size_per_host_gb(
        u64::from(place.local_size),
        u64::from(place.size),
        samples,
        parameters.record_bytes,
    );
    let memory = host.memory_bytes as f64 / GIB;
    session.log.leveled(
        Level::Info,
        &format!("Total amount of data each host will consume is {data:?} GB; each host has [{memory:?}] GB memory"),
    );
    if data <= memory {
        session.log.warning(
            "The amount of dataset is smaller than the host memory; data might be cached after the first epoch. \
             Increase the size of dataset to eliminate the caching effect!!!",
        );
    }
}

/// Logs the lines about files and steps that DLIO logs when the dataset exists.
pub(crate) fn steps(session: &Session) {
    let workload = &session.loaded.workload;
    let size = session.comm.place().size;
    let train = files_and_steps(session, workload);
    let eval = eval_files_and_steps(session, workload);
    for (split, word) in [(&train, "training"), (&eval, "evaluation")] {
        if split.files != split.requested && session.rank() == 0 {
            let step = if word == "training" { "train" } else { "eval" };
            session.log.warning(&format!(
                "Trimming number of {word} files ({} -> {}) to have equal number of {step} steps for all ranks",
                split.requested, split.files
            ));
        }
    }
    let samples = workload.dataset.num_samples_per_file;
    session.log_output(&format!(
        "Max steps per epoch: {} = {samples} * {} / {} / {size} (samples per file * num files / batch size / comm size)",
        train.steps, train.files, train.batch
    ));
    if let Some(limit) = workload.train.total_training_steps {
        let run = limit.min(train.steps * u64::from(workload.train.epochs));
        session.log_output(&format!("Total training steps is set to be {limit}. Will only run up to {run}"));
    }
    if workload.workflow.evaluation {
        session.log_output(&format!(
            "Steps per eval: {} = {samples} * {} / {} / {size} (samples per file * num files / batch size eval / comm size)",
            eval.steps, eval.files, eval.batch
        ));
    }
    // DLIO's line says "number of samples" but prints the sum of all sample numbers.
    let sum = |split: &Counted| {
        let total = samples.saturating_mul(split.files);
        total.saturating_mul(total.saturating_sub(1)) / 2
    };
    session.log_info(&format!("Total number of samples: train {}, eval {}", sum(&train), sum(&eval)));
}

/// Returns DLIO's lines about the dataset to generate.
fn generating(workload: &Workload) -> [String; 3] {
    let dataset = &workload.dataset;
    let folder = &dataset.data_folder;
    [
        format!("Generating dataset in {folder}/train and {folder}/valid"),
        format!("Number of files for training dataset: {}", dataset.num_files_train),
        format!("Number of files for validation dataset: {}", dataset.num_files_eval),
    ]
}

/// Files and steps of one split as DLIO counts them.
struct Counted {
    batch: u64,
    requested: u64,
    /// Number of files after trimming.
    files: u64,
    steps: u64,
    steps_requested: u64,
}

fn files_and_steps(session: &Session, workload: &Workload) -> Counted {
    counted(session, workload, workload.dataset.num_files_train, workload.reader.batch_size)
}

fn eval_files_and_steps(session: &Session, workload: &Workload) -> Counted {
    counted(session, workload, workload.dataset.num_files_eval, workload.reader.batch_size_eval)
}

fn counted(session: &Session, workload: &Workload, requested: u64, batch: u64) -> Counted {
    let samples = workload.dataset.num_samples_per_file;
    let step = batch.saturating_mul(u64::from(session.comm.place().size)).max(1);
    let aligned = samples.saturating_mul(step).max(1);
    let trims = workload.dlio_rs.dialect.rules().trims_files;
    let files = if trims { requested / aligned * aligned } else { requested };
    Counted {
        batch,
        requested,
        files,
        steps: samples.saturating_mul(files) / step,
        steps_requested: samples.saturating_mul(requested) / step,
    }
}

/// Logs two lines per step on every rank, as DLIO does at level INFO. With other commands only stalls are reported.
pub(crate) struct StepLogger {
    /// The log; `None` unless `dlio_benchmark` was called.
    log: Option<Rc<Log>>,
    clock: Arc<dyn TimeSource>,
    anchor: Anchor,
    rank: u32,
    batch: u64,
    batch_eval: u64,
    generating: [String; 3],
}

impl StepLogger {
    /// Creates the observer of this rank.
    pub(crate) fn new(session: &Session) -> Self {
        let reader = &session.loaded.workload.reader;
        Self {
            log: session.as_reference().then(|| session.log.clone()),
            clock: session.clock.clone(),
            anchor: session.request.anchor,
            rank: session.rank(),
            batch: reader.batch_size,
            batch_eval: reader.batch_size_eval,
            generating: generating(&session.loaded.workload),
        }
    }

    /// Logs the dataset to generate, at level INFO.
    pub(crate) fn generating(&self) {
        let Some(log) = &self.log else { return };
        for line in &self.generating {
            log.info(&format!("{} {line}", self.anchor.stamp(self.clock.now())));
        }
    }

    /// Whether the log reproduces DLIO's line by line.
    pub(crate) fn as_reference(&self) -> bool {
        self.log.is_some()
    }
}

impl Observer for StepLogger {
    fn step_ended(&self, step: &StepDone) {
        let Some(log) = self.log.as_ref().filter(|log| log.is_enabled(Level::Info)) else { return };
        let stamp = self.anchor.stamp(self.clock.now());
        let (batch, colon, end) = if step.eval { (self.batch_eval, "", " s") } else { (self.batch, ":", "s)") };
        let (load, all) = (step.load as f64 / 1e9, (step.load + step.compute) as f64 / 1e9);
        let (rank, number) = (self.rank, step.step);
        log.info(&format!("{stamp} Rank {rank} step {number}{colon} loaded {batch} samples in {load:.4} s"));
        log.info(&format!("{stamp} Rank {rank} step {number} processed {batch} samples in {all:.4}{end}"));
    }

    fn stalled(&self, stall: &Stall) {
        tracing::warn!("{stall}");
    }
}
