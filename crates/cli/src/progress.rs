//! Progress of a run on rank 0: the reference's log lines, a bar on a terminal, plain lines elsewhere.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use dlio_analyze::metric::{self, Parameters};
use dlio_engine::{CheckpointStarted, Cost, FileDone, Generated, Observer, PartDone, RunStarted, Stall, StepDone};
use dlio_event::{BlockTimings, CheckpointTimings, EpochTimings, Nanos, TimeSource};
use dlio_plan::CheckpointPart;
use indicatif::{ProgressBar, ProgressStyle};

use crate::log::{Level, Log};
use crate::voice::StepLines;
use crate::wall::Anchor;

/// Bytes in what the reference calls a GB.
const GIB: f64 = 1_073_741_824.0;

/// Nanoseconds between two plain progress lines.
const LINE_EVERY: Nanos = 10_000_000_000;

/// What rank 0 knows before the run and needs for its lines.
pub(crate) struct Facts {
    /// Ranks.
    pub(crate) size: u32,
    /// Steps per epoch that the reference announces: before trimming.
    pub(crate) announced_steps: u64,
    /// The same for evaluations.
    pub(crate) announced_eval_steps: u64,
    /// `total_training_steps` is in force.
    pub(crate) steps_overridden: bool,
    /// `computation_time` as the reference prints it.
    pub(crate) computation_time: String,
    /// What the metrics need.
    pub(crate) parameters: Parameters,
}

/// Rank 0's observer.
pub(crate) struct Progress {
    log: Rc<Log>,
    clock: Arc<dyn TimeSource>,
    anchor: Anchor,
    facts: Facts,
    /// What every rank says of its steps where the reference was called; its own lines are left out then.
    steps: Rc<StepLines>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    bar: Option<ProgressBar>,
    began: Nanos,
    last_line: Nanos,
    files: u64,
    done: u64,
    bytes: u64,
    epochs: u32,
    steps: u64,
    eval_steps: u64,
    computed: Nanos,
    spent: Nanos,
}

impl Progress {
    /// An observer that speaks through `log`.
    pub(crate) fn new(
        log: Rc<Log>,
        clock: Arc<dyn TimeSource>,
        anchor: Anchor,
        facts: Facts,
        steps: Rc<StepLines>,
    ) -> Self {
        Self { log, clock, anchor, facts, steps, state: RefCell::default() }
    }

    fn say(&self, text: &str) {
        self.log.line(&format!("{} {text}", self.anchor.stamp(self.clock.now())));
    }

    fn start_bar(&self, length: u64, template: &str) {
        let mut state = self.state.borrow_mut();
        let now = self.clock.now();
        state.began = now;
        state.last_line = now;
        state.bar = self.log.bars().map(|bars| {
            let bar = bars.add(ProgressBar::new(length));
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar
        });
    }

    fn end_bar(&self) {
        if let Some(bar) = self.state.borrow_mut().bar.take() {
            bar.finish_and_clear();
        }
    }

    /// A plain line now and then where there is no bar.
    fn plain(&self, text: impl FnOnce(&State, f64) -> String) {
        if self.steps.as_reference() {
            return;
        }
        let now = self.clock.now();
        let mut state = self.state.borrow_mut();
        if state.bar.is_some() || now.saturating_sub(state.last_line) < LINE_EVERY {
            return;
        }
        state.last_line = now;
        let seconds = now.saturating_sub(state.began) as f64 / 1e9;
        let line = text(&state, seconds);
        drop(state);
        self.say(&line);
    }
}

impl Observer for Progress {
    fn generation_started(&self, files: u64) {
        self.state.borrow_mut().files = files;
        self.say("Starting data generation");
        self.steps.generating();
        self.start_bar(files, "generate [{bar:30}] {pos}/{len} files of rank 0, {msg}, ETA {eta}");
    }

    fn file_done(&self, file: &FileDone) {
        let mut state = self.state.borrow_mut();
        state.done += 1;
        if !file.kept {
            state.bytes += file.bytes;
        }
        if let Some(bar) = &state.bar {
            let seconds = bar.elapsed().as_secs_f64().max(1e-9);
            let total = state.bytes as f64 * f64::from(self.facts.size);
            bar.set_message(format!("{:.1} MB/s over {} rank(s)", total / 1e6 / seconds, self.facts.size));
            bar.inc(1);
        }
        drop(state);
        self.plain(|state, seconds| {
            let rate = state.done as f64 / seconds.max(1e-9);
            format!(
                "Generating: {} of {} files of rank 0, {:.1} MB/s on this rank, about {:.0} s to go",
                state.done,
                state.files,
                state.bytes as f64 / 1e6 / seconds.max(1e-9),
                (state.files.saturating_sub(state.done)) as f64 / rate.max(1e-9),
            )
        });
    }

    fn generation_ended(&self, generated: &Generated) {
        self.end_bar();
        let seconds = generated.duration.as_secs_f64();
        let total = &generated.world;
        self.say("Generation done");
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
    }

    fn run_started(&self, run: &RunStarted) {
        let mut state = self.state.borrow_mut();
        (state.epochs, state.steps, state.eval_steps) = (run.epochs, run.steps, run.eval_steps);
    }

    fn epoch_started(&self, epoch: u32) {
        let steps = self.facts.announced_steps;
        if self.facts.steps_overridden {
            self.say(&format!("Starting epoch {epoch}: Overriding number of steps to {steps}."));
        } else {
            self.say(&format!("Starting epoch {epoch}: {steps} steps expected"));
        }
        let (steps, epochs) = {
            let mut state = self.state.borrow_mut();
            (state.computed, state.spent, state.bytes) = (0, 0, 0);
            (state.steps, state.epochs)
        };
        self.start_bar(
            steps,
            &format!("epoch {epoch}/{epochs} [{{bar:30}}] step {{pos}}/{{len}}, {{msg}}, ETA {{eta}}"),
        );
    }

    fn step_ended(&self, step: &StepDone) {
        self.steps.step_ended(step);
        let mut state = self.state.borrow_mut();
        state.computed += step.compute;
        state.spent += step.load + step.compute;
        state.bytes += step.bytes;
        state.done = step.step;
        let au = state.computed as f64 * 100.0 / (state.spent as f64).max(1.0);
        if let Some(bar) = &state.bar {
            let seconds = bar.elapsed().as_secs_f64().max(1e-9);
            let total = state.bytes as f64 * f64::from(self.facts.size);
            bar.set_message(format!(
                "AU {au:.1} %, {:.1} MB/s over {} rank(s)",
                total / 1e6 / seconds,
                self.facts.size
            ));
            bar.set_position(step.step);
        }
        drop(state);
        self.plain(|state, seconds| {
            let steps = if step.eval { state.eval_steps } else { state.steps };
            format!(
                "Epoch {}: step {} of {steps}, AU so far {au:.1} %, {:.1} MB/s on this rank",
                step.epoch,
                step.step,
                state.bytes as f64 / 1e6 / seconds.max(1e-9),
            )
        });
    }

    fn block_started(&self, _epoch: u32, block: u32) {
        self.say(&format!("Starting block {block}"));
    }

    fn block_ended(&self, epoch: u32, block: &BlockTimings) {
        self.end_bar();
        let number = block.block;
        let seconds = block.end.saturating_sub(block.start) as f64 / 1e9;
        self.say(&format!("Ending block {number} - {} steps completed in {seconds:.2} s", block.compute.len()));
        let measured = metric::block(block, &self.facts.parameters);
        let prefix = format!("Epoch {epoch} - Block {number} [Training]");
        self.say(&format!("{prefix} Accelerator Utilization [AU] (%): {:.4}", measured.au_percentage));
        // The reference's formula is negative where a block has fewer than two steps; a rate is not.
        let throughput = measured.throughput.max(0.0) * f64::from(self.facts.size);
        self.say(&format!("{prefix} Throughput (samples/second): {throughput:.4}"));
        if let Some(computed) = metric::compute_seconds(block, &self.facts.parameters) {
            let metric::Spread { mean, stdev } = computed;
            let set = &self.facts.computation_time;
            self.say(&format!(
                "{prefix} Computation time per step (second): {mean:.4}+/-{stdev:.4} (set value: {set})"
            ));
        }
    }

    fn training_ended(&self, epoch: &EpochTimings) {
        let steps: usize = epoch.blocks.iter().map(|block| block.compute.len()).sum();
        let seconds = epoch.train_end.saturating_sub(epoch.start) as f64 / 1e9;
        self.say(&format!("Ending epoch {} - {steps} steps completed in {seconds:.2} s", epoch.epoch));
    }

    fn eval_started(&self, epoch: u32) {
        self.say(&format!("Starting eval - {} steps expected", self.facts.announced_eval_steps));
        let steps = self.state.borrow().eval_steps;
        self.start_bar(
            steps,
            &format!("eval of epoch {epoch} [{{bar:30}}] step {{pos}}/{{len}}, {{msg}}, ETA {{eta}}"),
        );
    }

    fn eval_ended(&self, epoch: u32, eval: &BlockTimings) {
        self.end_bar();
        let seconds = eval.end.saturating_sub(eval.start) as f64 / 1e9;
        self.say(&format!("Ending eval - {} steps completed in {seconds:.2} s", eval.compute.len()));
        let measured = metric::evaluation(eval, &self.facts.parameters);
        self.say(&format!("Epoch {epoch} [Eval] Accelerator Utilization [AU] (%): {:.4}", measured.au_percentage));
        let throughput = measured.throughput * f64::from(self.facts.size);
        self.say(&format!("Epoch {epoch} [Eval] Throughput (samples/second): {throughput:.4}"));
    }

    fn checkpointing(&self, load: bool, begins: bool) {
        // The reference says the first of these again where its reads end.
        self.say(match (load, begins) {
            (false, true) | (true, false) => "Checkpointing write started",
            (false, false) => "Checkpointing write finished",
            (true, true) => "Checkpointing read started",
        });
    }

    fn checkpoint_started(&self, checkpoint: &CheckpointStarted) {
        let CheckpointStarted { epoch, number, steps, load } = *checkpoint;
        let verb = if load { "loading" } else { "saving" };
        self.say(&format!("Starting {verb} checkpoint {number} after total step {steps} for epoch {epoch}"));
    }

    fn checkpoint_part(&self, done: &PartDone) {
        let verb = if done.load { "Loaded" } else { "Saved" };
        let part = match done.part {
            // The reference does not time the generic state.
            CheckpointPart::Model => return,
            CheckpointPart::Layers => "model",
            CheckpointPart::Optimizer => "optimizer",
        };
        self.say(&format!("{verb} {part} checkpoint in {:.4} seconds", done.took.as_secs_f64()));
    }

    fn checkpoint_ended(&self, epoch: u32, checkpoint: &CheckpointTimings) {
        let verb = if checkpoint.load { "loading" } else { "saving" };
        let size_gb = self.facts.parameters.checkpoint_bytes.unwrap_or(0) as f64 / GIB;
        let (seconds, rate) = metric::checkpoint(checkpoint, size_gb);
        self.say(&format!(
            "Finished {verb} checkpoint {} for epoch {epoch} in {seconds:.4} s; Throughput: {rate:.4} GB/s",
            checkpoint.number
        ));
    }

    fn run_ended(&self, cost: &Cost) {
        self.end_bar();
        let per_gib =
            cost.cpu_seconds_per_gib().map_or_else(String::new, |seconds| format!(", {seconds:.3} CPU-s per GiB read"));
        let stamp = self.anchor.stamp(self.clock.now());
        self.log.info(&format!("{stamp} Client cost on rank 0: {:.2} cores busy{per_gib}", cost.cores()));
    }

    fn stalled(&self, stall: &Stall) {
        self.log.warning(&format!("{} {stall}", self.anchor.stamp(self.clock.now())));
    }
}
