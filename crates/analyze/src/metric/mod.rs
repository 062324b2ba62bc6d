//! Accelerator utilisation and throughput, as the reference defines them.
//!
//! Formulas: DLIO's statscounter. With `C` the compute times and `P` the step times of a block, `a` the steps left
//! out at the start and `b` the last step counted, and Python's slices:
//!
//! - `T = block time − Σ P[:a] − Σ P[b+1:]`
//! - `AU = Σ C[a:b+1] / T`
//! - `throughput = (len(C) − 2) / T × batch size`; the 2 is the reference's, whatever `a` and `b` are.
//!
//! The MLPerf Storage fork counts the same window in both: `throughput = len(C[a:b+1]) / T × batch size`, and both are 0
//! where the window is empty ([`Formula::Mlperf`]).
//!
//! One deviation, on purpose: the reference concatenates the evaluation values of all ranks instead of adding them, so
//! that its eval AU is too small by the number of ranks. Here evaluation is aggregated like training: mean AU and sum of
//! throughputs over the ranks. With one rank both are the same.

mod parameters;
#[cfg(test)]
mod tests;

use dlio_event::{BlockTimings, CheckpointTimings, EpochTimings, Nanos, RankTimings};
use serde::{Deserialize, Serialize};

pub(crate) use parameters::Window;
pub use parameters::{Formula, Parameters};

/// Bytes in what the reference calls a MB.
const MB: f64 = 1_048_576.0;
/// Bytes in what the reference calls a GB.
const GB: f64 = 1_073_741_824.0;
fn sum(list: &[Nanos]) -> i128 {
    list.iter().map(|value| i128::from(*value)).sum()
}

fn seconds(nanos: i128) -> f64 {
    nanos as f64 / 1e9
}

/// AU and throughput of one block, one epoch or one evaluation on one rank.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Measure {
    /// Steps.
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
    /// Number and measure of every training block.
    pub blocks: Vec<(u32, Measure)>,
    /// Mean over the blocks, weighted by their steps.
    pub train: Measure,
    /// Evaluation, if there was one.
    pub eval: Option<Measure>,
}

/// All epochs of one rank; rank 0 gathers these.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RankMetric {
    /// Rank.
    pub rank: u32,
    /// Epochs in order.
    pub epochs: Vec<EpochMetric>,
}

impl RankMetric {
    /// The same without the negative rates that the reference's formula gives blocks of fewer than two steps.
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

/// Computation of the steps of a training block that count, and the time that it is divided by for AU (`T`), nanoseconds.
#[must_use]
pub(crate) fn counted(timings: &BlockTimings, parameters: &Parameters) -> (u64, u64) {
    let window = parameters.train_window();
    let whole = |nanos: i128| u64::try_from(nanos.max(0)).unwrap_or(u64::MAX);
    let time = i128::from(timings.end) - i128::from(timings.start) - window.outside(&timings.proc);
    (whole(window.inside(&timings.compute)), whole(time))
}

/// The measure of one training block.
#[must_use]
pub fn block(timings: &BlockTimings, parameters: &Parameters) -> Measure {
    let window = parameters.train_window();
    let time = i128::from(timings.end) - i128::from(timings.start) - window.outside(&timings.proc);
    let counted = match parameters.formula {
        // The reference's count, -2 included; blocks of one step come out negative there too.
        Formula::Dlio => timings.compute.len() as f64 - 2.0,
        Formula::Mlperf => window.steps(timings.compute.len()) as f64,
    };
    Measure {
        steps: timings.proc.len() as u64,
        au_percentage: au(window.inside(&timings.compute), time),
        throughput: per_second(counted * parameters.batch_size as f64, time),
    }
}

/// The measure of one evaluation: no step is left out of its throughput.
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

/// Why AU and throughput of the training say nothing: none of its steps counts. `None`: some do, or it has none.
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
        "no epoch or block has more than {}, of which the metrics leave out the first {} and the last {}: AU and samples/s say nothing; \
         measure with fewer ranks, a smaller batch, more files, or output.metric.exclude_start_steps=0",
        dlio_event::quantity::counted(*most as u64, "step"),
        parameters.exclude_start_steps,
        parameters.exclude_end_steps
    ))
}

/// Mean and deviation of the computations of a block that count, in seconds; `None` where none does.
#[must_use]
pub fn compute_seconds(timings: &BlockTimings, parameters: &Parameters) -> Option<Spread> {
    let (first, end) = parameters.train_window().bounds(timings.compute.len());
    let counted = timings.compute.get(first..end)?;
    Spread::of(&counted.iter().map(|nanos| seconds(i128::from(*nanos))).collect::<Vec<_>>())
}

/// Percent; 0 where the reference would divide by a time that is not positive.
fn au(compute: i128, time: i128) -> f64 {
    if compute == 0 || time <= 0 { 0.0 } else { 100.0 * seconds(compute) / seconds(time) }
}

fn per_second(samples: f64, time: i128) -> f64 {
    if time <= 0 { 0.0 } else { samples / seconds(time) }
}

/// Mean of the blocks, weighted by their steps; zero without steps.
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

/// The measures of one epoch.
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

/// The measures of all epochs of one rank.
#[must_use]
pub fn rank(timings: &RankTimings, parameters: &Parameters) -> RankMetric {
    let epochs = timings.epochs.iter().map(|timings| epoch(timings, parameters));
    RankMetric { rank: timings.rank, epochs: epochs.collect() }
}

/// Mean and population standard deviation (numpy's `mean` and `std`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Population standard deviation.
    pub stdev: f64,
}

impl Spread {
    /// `None` for an empty list, where numpy gives NaN.
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

/// Training or evaluation of the whole run, over all ranks.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Aggregate {
    /// Per epoch: mean AU of the ranks, percent.
    pub au_percentage: Vec<f64>,
    /// Over the epochs; `None` without an epoch.
    pub au: Option<Spread>,
    /// Whether the mean reaches the threshold; `None` without an epoch, for a run that did not complete, and where a report finds that
    /// no step counts.
    pub au_meets_expectation: Option<bool>,
    /// Per epoch: sum of the ranks' throughputs, samples per second.
    pub throughput: Vec<f64>,
    /// Over the epochs.
    pub throughput_spread: Option<Spread>,
    /// Over the epochs, in MB (2²⁰ bytes) per second.
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

/// Over all ranks: per epoch, the mean of AU and the sum of throughput of `pick`'s measures. Epochs without any measure
/// are left out; ranks without one (a killed rank's trace) do not enter the mean of that epoch.
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

/// Training over all ranks.
#[must_use]
pub fn training(ranks: &[RankMetric], parameters: &Parameters) -> Aggregate {
    aggregate(ranks, parameters, |epoch| Some(epoch.train))
}

/// Evaluation over all ranks.
#[must_use]
pub fn evaluations(ranks: &[RankMetric], parameters: &Parameters) -> Aggregate {
    aggregate(ranks, parameters, |epoch| epoch.eval)
}

/// Durations and throughputs of saved or loaded checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct CheckpointIo {
    /// GB (2³⁰ bytes) per second; `None` without a checkpoint.
    pub gb_per_second: Option<Spread>,
    /// Seconds.
    pub duration: Option<Spread>,
}

/// Checkpoints of the run: rank 0's own records, as in the reference.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Checkpoints {
    /// Saved.
    pub save: CheckpointIo,
    /// Loaded; absent if none was.
    pub load: Option<CheckpointIo>,
    /// Size of one checkpoint over all ranks, GB.
    pub size_gb: f64,
}

/// Seconds and GB per second of one checkpoint; seconds have microseconds, as in the reference's records.
#[must_use]
pub fn checkpoint(timings: &CheckpointTimings, size_gb: f64) -> (f64, f64) {
    let micros = timings.end.saturating_sub(timings.start).saturating_add(500) / 1_000;
    let duration = micros as f64 / 1e6;
    (duration, if micros == 0 { 0.0 } else { size_gb / duration })
}

/// The checkpoints of rank 0.
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
