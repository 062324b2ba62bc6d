//! Progress of a run on rank 0: DLIO's log lines, and live progress for the observer.

use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dlio_analyze::metric::{self, Parameters};
use dlio_engine::{CheckpointStarted, Cost, FileDone, Generated, Observer, PartDone, RunStarted, Stall, StepDone};
use dlio_event::quantity::counted;
use dlio_event::{BlockTimings, CheckpointTimings, EpochTimings, Nanos, TimeSource};
use dlio_plan::CheckpointPart;
use dlio_storage::{Counted, Storage};

use crate::front_end::RunObserver;
use crate::host::wall_clock::Anchor;
use crate::message::Level;
use crate::outputs::log::Log;
use crate::outputs::meter::{Tally, Task};
use crate::outputs::reference_log::StepLogger;
use crate::session::Session;

/// Bytes in what DLIO calls a GB.
const GIB: f64 = 1_073_741_824.0;

/// Facts that rank 0 knows before the run and needs for its log lines.
pub(crate) struct RunFacts {
    /// Number of ranks.
    pub(crate) size: u32,
    /// Training steps per epoch that DLIO announces, before trimming.
    pub(crate) announced_steps: u64,
    /// Evaluation steps per epoch that DLIO announces.
    pub(crate) announced_eval_steps: u64,
    /// Whether `total_training_steps` is in force.
    pub(crate) steps_overridden: bool,
    /// `computation_time` as DLIO prints it.
    pub(crate) computation_time: String,
    /// Parameters of the metrics.
    pub(crate) parameters: Parameters,
    /// Bytes of the first file of the dataset; 0 if unknown.
    pub(crate) file_bytes: u64,
    /// Bytes that rank 0 saves or loads per checkpoint.
    pub(crate) checkpoint_bytes: u64,
}

/// Shows tasks of a run to the observer.
#[derive(Clone)]
pub(crate) struct ProgressReporter {
    /// The observer; `None` on ranks other than 0 and for `dlio_benchmark`, whose log has no progress.
    observer: Option<Arc<dyn RunObserver>>,
    /// Adds a time stamp to a plain line and logs it.
    lines: Arc<dyn Fn(&str) + Send + Sync>,
    /// Counts of the current task.
    pub(crate) tally: Arc<Tally>,
}

impl ProgressReporter {
    /// Shows progress of a session on rank 0, unless `dlio_benchmark` was called.
    pub(crate) fn new(session: &Session) -> Self {
        let shown = session.rank() == 0 && !session.as_reference();
        let observer = shown.then(|| Arc::clone(&session.front.observer));
        let (log, anchor, clock) = (session.log.handle(), session.request.anchor, session.clock.clone());
        let lines = move |line: &str| log.line(&format!("{} {line}", anchor.stamp(clock.now())));
        Self { observer, lines: Arc::new(lines), tally: Arc::default() }
    }

    /// Wraps a storage so that bytes are counted while they move, if progress is shown.
    pub(crate) fn count(&self, storage: &Arc<dyn Storage>) -> Arc<dyn Storage> {
        match &self.observer {
            Some(_) => Arc::new(Counted::new(Arc::clone(storage), Arc::clone(self.tally.bytes()))),
            None => Arc::clone(storage),
        }
    }

    /// Shows a task, with counts from 0, until the returned value is dropped.
    pub(crate) fn begin(&self, task: Task) -> Option<Meter> {
        self.resume(task, 0)
    }

    /// Shows a task, of which `done` units are done already, until the returned value is dropped.
    pub(crate) fn resume(&self, task: Task, done: u64) -> Option<Meter> {
        self.tally.reset(done);
        let lines = Arc::clone(&self.lines);
        self.observer.as_ref()?.progress(task, &self.tally, Box::new(move |line| lines(line)))
    }
}

/// Handle of a shown task, which disappears when the handle is dropped.
pub(crate) type Meter = Box<dyn Any>;

/// The engine's observer on rank 0.
pub(crate) struct Progress {
    log: Rc<Log>,
    clock: Arc<dyn TimeSource>,
    anchor: Anchor,
    facts: RunFacts,
    /// Lines about every step for `dlio_benchmark`, which replace some lines of this observer.
    steps: Rc<StepLogger>,
    shows: ProgressReporter,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    meter: Option<Meter>,
    /// Number of steps of the epoch that are done.
    done: u64,
    epochs: u32,
    steps: u64,
    eval_steps: u64,
    computed: Nanos,
    spent: Nanos,
}

impl Progress {
    /// Creates the observer of a session.
    pub(crate) fn new(session: &Session, facts: RunFacts, steps: Rc<StepLogger>, shows: &ProgressReporter) -> Self {
        let (log, clock, anchor) = (session.log.clone(), session.clock.clone(), session.request.anchor);
        Self { log, clock, anchor, facts, steps, shows: shows.clone(), state: RefCell::default() }
    }

    fn log_output(&self, text: &str) {
        self.log.line(&format!("{} {text}", self.anchor.stamp(self.clock.now())));
    }

    /// Shows a task, of which `done` units are done already, in place of the current one.
    fn start(&self, task: Task, done: u64) {
        self.end();
        let meter = self.shows.resume(Task { ranks: self.facts.size, ..task }, done);
        self.state.borrow_mut().meter = meter;
    }

    /// Ends the current task.
    fn end(&self) {
        let meter = self.state.borrow_mut().meter.take();
        drop(meter);
    }
}

impl Observer for Progress {
    fn generation_started(&self, files: u64) {
        self.log_output("Starting data generation");
        self.steps.generating();
        let bytes_each = self.facts.file_bytes;
        self.start(Task { bytes_each, ..Task::counting("Generating", "files", files) }, 0);
    }

    fn file_done(&self, file: &FileDone) {
        self.shows.tally.add(file.kept);
    }

    fn verification_started(&self, files: u64) {
        let bytes_each = self.facts.file_bytes;
        self.start(Task { bytes_each, ..Task::counting("Verifying", "files", files) }, 0);
    }

    fn file_verified(&self) {
        self.shows.tally.add(false);
    }

    fn verification_ended(&self) {
        self.end();
    }

    fn file_removed(&self) {
        self.shows.tally.add(false);
    }

    fn generation_ended(&self, generated: &Generated) {
        self.end();
        let seconds = generated.duration.as_secs_f64();
        let total = &generated.world;
        self.log_output("Generation done");
        let level = if self.steps.as_reference() { Level::Info } else { Level::Output };
        let stamp = self.anchor.stamp(self.clock.now());
        let line = format!(
            "Generated {} file(s), {} bytes in {seconds:.2} s: {:.1} MB/s; {} complete file(s) kept",
            total.files.saturating_sub(total.kept),
            total.bytes,
            total.bytes as f64 / 1e6 / seconds.max(1e-9),
            total.kept,
        );
        self.log.leveled(level, &format!("{stamp} {line}"));
        if total.replaced > 0 && !self.steps.as_reference() {
            self.log.warning(&format!(
                "{} there had another size, as of another workload, and {} replaced",
                counted(total.replaced, "file"),
                if total.replaced == 1 { "is" } else { "are" }
            ));
        }
    }

    fn run_started(&self, run: &RunStarted) {
        let mut state = self.state.borrow_mut();
        (state.epochs, state.steps, state.eval_steps) = (run.epochs, run.steps, run.eval_steps);
    }

    fn epoch_started(&self, epoch: u32) {
        let steps = self.facts.announced_steps;
        if self.facts.steps_overridden {
            self.log_output(&format!("Starting epoch {epoch}: Overriding number of steps to {steps}."));
        } else {
            self.log_output(&format!("Starting epoch {epoch}: {steps} steps expected"));
        }
    }

    fn step_ended(&self, step: &StepDone) {
        self.steps.step_ended(step);
        let mut state = self.state.borrow_mut();
        state.computed += step.compute;
        state.spent += step.load + step.compute;
        state.done = step.step;
        let tally = &self.shows.tally;
        tally.set(step.step);
        tally.bytes().fetch_add(step.bytes, Ordering::Relaxed);
        tally.set_times(state.computed, state.spent);
    }

    fn block_started(&self, epoch: u32, block: u32) {
        self.log_output(&format!("Starting block {block}"));
        let (steps, epochs) = {
            let mut state = self.state.borrow_mut();
            if block == 1 {
                (state.computed, state.spent, state.done) = (0, 0, 0);
            }
            (state.steps, state.epochs)
        };
        let done = self.state.borrow().done;
        let later = steps.saturating_mul(u64::from(epochs.saturating_sub(epoch)));
        let label = format!("Epoch {epoch} of {epochs}");
        self.start(Task { label, unit: "steps", total: steps, later, ..Task::default() }, done);
    }

    fn block_ended(&self, epoch: u32, block: &BlockTimings) {
        self.end();
        let number = block.block;
        let seconds = block.end.saturating_sub(block.start) as f64 / 1e9;
        self.log_output(&format!("Ending block {number} - {} steps completed in {seconds:.2} s", block.compute.len()));
        let measured = metric::block(block, &self.facts.parameters);
        let prefix = format!("Epoch {epoch} - Block {number} [Training]");
        self.log_output(&format!("{prefix} Accelerator Utilization [AU] (%): {:.4}", measured.au_percentage));
        // DLIO's formula gives a negative number for a block with fewer than two steps; a rate is never negative.
        let throughput = measured.throughput.max(0.0) * f64::from(self.facts.size);
        self.log_output(&format!("{prefix} Throughput (samples/second): {throughput:.4}"));
        if let Some(computed) = metric::compute_seconds(block, &self.facts.parameters) {
            let metric::Spread { mean, stdev } = computed;
            let set = &self.facts.computation_time;
            self.log_output(&format!(
                "{prefix} Computation time per step (second): {mean:.4}+/-{stdev:.4} (set value: {set})"
            ));
        }
    }

    fn training_ended(&self, epoch: &EpochTimings) {
        let steps: usize = epoch.blocks.iter().map(|block| block.compute.len()).sum();
        let seconds = epoch.train_end.saturating_sub(epoch.start) as f64 / 1e9;
        self.log_output(&format!("Ending epoch {} - {steps} steps completed in {seconds:.2} s", epoch.epoch));
    }

    fn eval_started(&self, epoch: u32) {
        self.log_output(&format!("Starting eval - {} steps expected", self.facts.announced_eval_steps));
        let total = {
            let mut state = self.state.borrow_mut();
            (state.computed, state.spent) = (0, 0);
            state.eval_steps
        };
        self.start(Task { label: format!("Evaluation of epoch {epoch}"), unit: "steps", total, ..Task::default() }, 0);
    }

    fn eval_ended(&self, epoch: u32, eval: &BlockTimings) {
        self.end();
        let seconds = eval.end.saturating_sub(eval.start) as f64 / 1e9;
        self.log_output(&format!("Ending eval - {} steps completed in {seconds:.2} s", eval.compute.len()));
        let measured = metric::evaluation(eval, &self.facts.parameters);
        self.log_output(&format!(
            "Epoch {epoch} [Eval] Accelerator Utilization [AU] (%): {:.4}",
            measured.au_percentage
        ));
        let throughput = measured.throughput * f64::from(self.facts.size);
        self.log_output(&format!("Epoch {epoch} [Eval] Throughput (samples/second): {throughput:.4}"));
    }

    fn checkpointing(&self, load: bool, begins: bool) {
        // DLIO also logs the first of these lines at the end of its reads.
        self.log_output(match (load, begins) {
            (false, true) | (true, false) => "Checkpointing write started",
            (false, false) => "Checkpointing write finished",
            (true, true) => "Checkpointing read started",
        });
    }

    fn checkpoint_started(&self, checkpoint: &CheckpointStarted) {
        let CheckpointStarted { epoch, number, steps, load } = *checkpoint;
        let verb = if load { "loading" } else { "saving" };
        self.log_output(&format!("Starting {verb} checkpoint {number} after total step {steps} for epoch {epoch}"));
        let label = format!("{} checkpoint {number}", if load { "Loading" } else { "Saving" });
        self.start(Task { label, total_bytes: self.facts.checkpoint_bytes, ..Task::default() }, 0);
    }

    fn checkpoint_part(&self, done: &PartDone) {
        let verb = if done.load { "Loaded" } else { "Saved" };
        let part = match done.part {
            // DLIO does not time the generic state.
            CheckpointPart::Model => return,
            CheckpointPart::Layers => "model",
            CheckpointPart::Optimizer => "optimizer",
        };
        self.log_output(&format!("{verb} {part} checkpoint in {:.4} seconds", done.took.as_secs_f64()));
    }

    fn checkpoint_ended(&self, epoch: u32, checkpoint: &CheckpointTimings) {
        self.end();
        let verb = if checkpoint.load { "loading" } else { "saving" };
        let size_gb = self.facts.parameters.checkpoint_bytes.unwrap_or(0) as f64 / GIB;
        let (seconds, rate) = metric::checkpoint(checkpoint, size_gb);
        self.log_output(&format!(
            "Finished {verb} checkpoint {} for epoch {epoch} in {seconds:.4} s; Throughput: {rate:.4} GB/s",
            checkpoint.number
        ));
    }

    fn run_ended(&self, cost: &Cost) {
        self.end();
        let per_gib =
            cost.cpu_seconds_per_gib().map_or_else(String::new, |seconds| format!(", {seconds:.3} CPU-s per GiB read"));
        let stamp = self.anchor.stamp(self.clock.now());
        self.log.info(&format!("{stamp} Client cost on rank 0: {:.2} cores busy{per_gib}", cost.cores()));
    }

    fn stalled(&self, stall: &Stall) {
        self.log.warning(&format!("{} {stall}", self.anchor.stamp(self.clock.now())));
    }
}

/// The engine's observer of a replayed trace: counts operations for the progress.
pub(crate) struct Replaying {
    steps: StepLogger,
    tally: Arc<Tally>,
}

impl Replaying {
    /// Creates the observer, which counts in the tally of `shows`.
    pub(crate) fn new(session: &Session, shows: &ProgressReporter) -> Self {
        Self { steps: StepLogger::new(session), tally: Arc::clone(&shows.tally) }
    }
}

impl Observer for Replaying {
    fn operations_done(&self, operations: u64, bytes: u64) {
        self.tally.set(operations);
        self.tally.bytes().store(bytes, Ordering::Relaxed);
    }

    fn stalled(&self, stall: &Stall) {
        self.steps.stalled(stall);
    }
}
