//! Accelerator utilisation and throughput, as the reference defines them.
//!
//! Formulas of DLIO's statscounter. `C` are the compute times and `P` the step times of a block, `a` is the number of
//! steps left out at the start and `b` the last counted step, in Python's slice notation:
//!
//! - `T = block time − Σ P[:a] − Σ P[b+1:]`
//! - `AU = Σ C[a:b+1] / T`
//! - `throughput = (len(C) − 2) / T × batch size`; the 2 is a constant of the reference, independent of `a` and `b`.
//!
//! The MLPerf Storage fork uses the same window for both: `throughput = len(C[a:b+1]) / T × batch size`. Both are 0 if
//! the window is empty ([`Formula::Mlperf`]).
//!
//! There is one deliberate deviation: the reference concatenates the evaluation values of all ranks instead of adding
//! them, so that its evaluation AU is too small by a factor of the number of ranks. Here evaluation is aggregated like
//! training: mean AU and sum of throughputs over the ranks. With one rank both methods agree.

mod parameters;
#[cfg(test)]
mod tests;

use dlio_event::{BlockTimings, CheckpointTimings, EpochTimings, RankTimings};
use serde::{Deserialize, Serialize};

pub(crate) use parameters::Window;
pub use parameters::{Formula, Parameters};

/// Bytes in the reference's MB.
const MB: f64 = 1_048_576.0;
/// Bytes in the reference's GB.
const GB: f64 = 1_073_741_824.0;
fn seconds(nanos: i128) -> f64 {
    nanos as f64 / 1e9
}

/// AU and throughput of one block, one epoch or one evaluation on one rank.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Measure {
    /// Number of steps.
    pub steps: u64,
    /// Accelerator utilisation, percent.
    pub au_percentage: f64,
    /// Samples per second of this rank.
    pub throughput: f64,
}

/// One epoch of one rank.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EpochMetric {
    /// Epoch, from 1.
    pub epoch: u32,
    /// Number and metrics of each training block.
    pub blocks: Vec<(u32, Measure)>,
    /// Mean over the blocks, weighted by their steps.
    pub train: Measure,
    /// Metrics of the evaluation, if there was one.
    pub eval: Option<Measure>,
}

/// Metrics of all epochs of one rank, which rank 0 gathers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RankMetric {
    /// Rank.
    pub rank: u32,
    /// Epochs in order.
    pub epochs: Vec<EpochMetric>,
}

impl RankMetric {
    /// Returns the metrics without the negative rates that the reference's formula gives for blocks of fewer than two
    /// steps.
    pub(crate) fn without_negatives(mut self) -> Self {
        for epoch in &mut self.epochs {
            let blocks = epoch.blocks.iter_mut().map(|(_, measure)| measure);
            for measure in blocks.chain([&mut epoch.train]) {
                measure.throughput = measure.throughput.max(0.0);
            }
        }
        self
    }
}

/// Returns the computation of the counted steps of a training block, and the time that AU divides it by (`T`),
/// nanoseconds.
#[must_use]
pub(crate) fn counted(timings: &BlockTimings, parameters: &Parameters) -> (u64, u64) {
    let window = parameters.train_window();
    let whole = |nanos: i128| u64::try_from(nanos.max(0)).unwrap_or(u64::MAX);
    let time = i128::from(timings.end) - i128::from(timings.start) - window.outside(&timings.proc);
    (whole(window.inside(&timings.compute)), whole(time))
}

/// Returns the metrics of one training block.
#[must_use]
pub fn block(timings: &BlockTimings, parameters: &Parameters) -> Measure {
    let window = parameters.train_window();
    let time = i128::from(timings.end) - i128::from(timings.start) - window.outside(&timings.proc);
    let counted = match parameters.formula {
        // The reference's count, including the constant -2, which is negative for blocks of one step.
        Formula::Dlio => timings.compute.len() as f64 - 2.0,
        Formula::Mlperf => window.steps(timings.compute.len()) as f64,
    };
    Measure {
        steps: timings.proc.len() as u64,
        au_percentage: au(window.inside(&timings.compute), time),
        throughput: per_second(counted * parameters.batch_size as f64, time),
    }
}

/// Returns the metrics of one evaluation; its throughput counts all steps.
#[must_use]
pub fn evaluation(timings: &BlockTimings, parameters: &Parameters) -> Measure {
    let window = parameters.eval_window();
    let whole = i128::from(timings.end) - i128::from(timings.start);
    let samples = timings.compute.len() as f64 * parameters.eval_batch_size as f64;
    Measure {
        steps: timings.proc.len() as u64,
        au_percentage: au(window.inside(&timings.compute), whole - window.outside(&timings.proc)),
        throughput: per_second(samples, whole),
    }
}

/// Returns a message if AU and throughput of the training are meaningless because none of its steps is counted;
/// otherwise `None`.
pub(crate) fn nothing_measured(ranks: &[RankMetric], parameters: &Parameters) -> Option<String> {
    let blocks = ranks.iter().flat_map(|rank| &rank.epochs).flat_map(|epoch| &epoch.blocks);
    let steps = blocks.map(|(_, block)| usize::try_from(block.steps).unwrap_or(usize::MAX));
    let lengths: Vec<usize> = steps.filter(|steps| *steps > 0).collect();
    let most = lengths.iter().max()?;
    let window = parameters.train_window();
    if lengths.iter().any(|steps| window.steps(*steps) > 0) {
        return None;
    }
    Some(format!(
        "no epoch or block has more than {}, of which the metrics leave out the first {} and the last {}: AU and samples/s are meaningless; \
         measure with fewer ranks, a smaller batch, more files, or output.metric.exclude_start_steps=0",
        dlio_event::quantity::counted(*most as u64, "step"),
        parameters.exclude_start_steps,
        parameters.exclude_end_steps
    ))
}

/// Returns mean and standard deviation of the counted computations of a block, seconds; `None` if no step is counted.
#[must_use]
pub fn compute_seconds(timings: &BlockTimings, parameters: &Parameters) -> Option<Spread> {
    let (first, end) = parameters.train_window().bounds(timings.compute.len());
    let counted = timings.compute.get(first..end)?;
    Spread::of(&counted.iter().map(|nanos| seconds(i128::from(*nanos))).collect::<Vec<_>>())
}

/// Returns percent; 0 where the reference would divide by a time that is not positive.
fn au(compute: i128, time: i128) -> f64 {
    if compute == 0 || time <= 0 { 0.0 } else { 100.0 * seconds(compute) / seconds(time) }
}

fn per_second(samples: f64, time: i128) -> f64 {
    if time <= 0 { 0.0 } else { samples / seconds(time) }
}

/// Returns the mean of the blocks, weighted by their steps; zero without steps.
#[must_use]
pub fn epoch_mean(blocks: &[Measure]) -> Measure {
    let steps: u64 = blocks.iter().map(|block| block.steps).sum();
    if steps == 0 {
        return Measure::default();
    }
    let mean = |value: fn(&Measure) -> f64| {
        blocks.iter().map(|block| value(block) * block.steps as f64).sum::<f64>() / steps as f64
    };
    Measure { steps, au_percentage: mean(|block| block.au_percentage), throughput: mean(|block| block.throughput) }
}

/// Returns the metrics of one epoch.
#[must_use]
pub fn epoch(timings: &EpochTimings, parameters: &Parameters) -> EpochMetric {
    let blocks: Vec<_> = timings.blocks.iter().map(|timings| (timings.block, block(timings, parameters))).collect();
    let measures: Vec<_> = blocks.iter().map(|(_, measure)| *measure).collect();
    EpochMetric {
        epoch: timings.epoch,
        train: epoch_mean(&measures),
        blocks,
        eval: timings.eval.as_ref().map(|timings| evaluation(timings, parameters)),
    }
}

/// Returns the metrics of all epochs of one rank.
#[must_use]
pub fn rank(timings: &RankTimings, parameters: &Parameters) -> RankMetric {
    let epochs = timings.epochs.iter().map(|timings| epoch(timings, parameters));
    RankMetric { rank: timings.rank, epochs: epochs.collect() }
}

/// Mean and population standard deviation, like numpy's `mean` and `std`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Population standard deviation.
    pub stdev: f64,
}

impl Spread {
    /// Returns `None` for an empty list, for which numpy gives NaN.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        Some(Self { mean, stdev: variance.sqrt() })
    }
}

/// Metrics of training or evaluation over the whole run and all ranks.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Aggregate {
    /// Mean AU of the ranks, per epoch, percent.
    pub au_percentage: Vec<f64>,
    /// AU over the epochs, percent; `None` without an epoch.
    pub au: Option<Spread>,
    /// Whether the mean AU reaches the threshold; `None` without an epoch, for an incomplete run, and if a report finds
    /// that no step is counted.
    pub au_meets_expectation: Option<bool>,
    /// Sum of the ranks' throughputs, per epoch, samples per second.
    pub throughput: Vec<f64>,
    /// Throughput over the epochs, samples per second.
    pub throughput_spread: Option<Spread>,
    /// Throughput over the epochs, MB (2²⁰ bytes) per second.
    pub io_mb: Option<Spread>,
}

impl Aggregate {
    fn of(au_percentage: Vec<f64>, throughput: Vec<f64>, parameters: &Parameters) -> Self {
        let au = Spread::of(&au_percentage);
        let throughput_spread = Spread::of(&throughput);
        let to_mb = parameters.record_bytes / MB;
        Self {
            au_meets_expectation: au.map(|au| au.mean >= parameters.au_threshold * 100.0),
            io_mb: throughput_spread.map(|spread| Spread { mean: spread.mean * to_mb, stdev: spread.stdev * to_mb }),
            au_percentage,
            au,
            throughput,
            throughput_spread,
        }
    }
}

/// Aggregates over all ranks: per epoch, the mean AU and the sum of throughputs of the measures that `pick` returns.
/// Epochs without any measure are left out; ranks without one (of a truncated trace) do not count in the mean of that
/// epoch.
fn aggregate(
    ranks: &[RankMetric],
    parameters: &Parameters,
    pick: impl Fn(&EpochMetric) -> Option<Measure>,
) -> Aggregate {
    let last = ranks.iter().flat_map(|rank| &rank.epochs).map(|epoch| epoch.epoch).max().unwrap_or(0);
    let mut au = Vec::new();
    let mut throughput = Vec::new();
    for number in 1..=last {
        let epochs = ranks.iter().flat_map(|rank| &rank.epochs).filter(|epoch| epoch.epoch == number);
        let measures: Vec<Measure> = epochs.filter_map(&pick).collect();
        if !measures.is_empty() {
            au.push(measures.iter().map(|measure| measure.au_percentage).sum::<f64>() / measures.len() as f64);
            throughput.push(measures.iter().map(|measure| measure.throughput).sum());
        }
    }
    Aggregate::of(au, throughput, parameters)
}

/// Returns the metrics of training over all ranks.
#[must_use]
pub fn training(ranks: &[RankMetric], parameters: &Parameters) -> Aggregate {
    aggregate(ranks, parameters, |epoch| Some(epoch.train))
}

/// Returns the metrics of evaluation over all ranks.
#[must_use]
pub fn evaluations(ranks: &[RankMetric], parameters: &Parameters) -> Aggregate {
    aggregate(ranks, parameters, |epoch| epoch.eval)
}

/// Durations and throughputs of saved or loaded checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct CheckpointIo {
    /// Throughput, GB (2³⁰ bytes) per second; `None` without a checkpoint.
    pub gb_per_second: Option<Spread>,
    /// Duration, seconds.
    pub duration: Option<Spread>,
}

/// Checkpoints of the run from rank 0's records, as in the reference.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Checkpoints {
    /// Saved checkpoints.
    pub save: CheckpointIo,
    /// Loaded checkpoints, if there were any.
    pub load: Option<CheckpointIo>,
    /// Size of one checkpoint over all ranks, GB.
    pub size_gb: f64,
}

/// Returns the duration of one checkpoint in seconds, rounded to microseconds as in the reference's records, and its
/// throughput in GB per second.
#[must_use]
pub fn checkpoint(timings: &CheckpointTimings, size_gb: f64) -> (f64, f64) {
    let micros = timings.end.saturating_sub(timings.start).saturating_add(500) / 1_000;
    let duration = micros as f64 / 1e6;
    (duration, if micros == 0 { 0.0 } else { size_gb / duration })
}

/// Returns the checkpoints of rank 0.
#[must_use]
pub fn checkpoints(rank0: &RankTimings, checkpoint_bytes: u64) -> Checkpoints {
    let size_gb = checkpoint_bytes as f64 / GB;
    let of = |load: bool| {
        let all = rank0.epochs.iter().flat_map(|epoch| &epoch.checkpoints).filter(|timings| timings.load == load);
        let (durations, rates): (Vec<f64>, Vec<f64>) = all.map(|timings| checkpoint(timings, size_gb)).unzip();
        CheckpointIo { gb_per_second: Spread::of(&rates), duration: Spread::of(&durations) }
    };
    let load = of(true);
    Checkpoints { save: of(false), load: load.duration.is_some().then_some(load), size_gb }
}
