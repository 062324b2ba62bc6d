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

use dlio_event::{BlockTimings, CheckpointTimings, Nanos, RankTimings};
use serde::{Deserialize, Serialize};

/// Bytes in what the reference calls a MB.
const MB: f64 = 1_048_576.0;
/// Bytes in what the reference calls a GB.
const GB: f64 = 1_073_741_824.0;
/// Where [`Parameters::embed`] puts the parameters in a trace's configuration.
const CONFIG_KEY: &str = "metric_parameters";

/// Which of the two references defines the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Formula {
    /// DLIO's.
    #[default]
    Dlio,
    /// The MLPerf Storage fork's.
    Mlperf,
}

/// What the formulas need to know besides the times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    /// `output.exclude_start_steps`: steps left out at the start of every block.
    pub exclude_start_steps: u64,
    /// `output.exclude_end_steps`: steps left out at the end of the epoch.
    pub exclude_end_steps: u64,
    /// Steps per epoch as configured, before files are trimmed (`total_training_steps` overrides).
    pub train_steps: u64,
    /// Evaluation steps as configured.
    pub eval_steps: u64,
    /// Samples per training step and rank.
    pub batch_size: u64,
    /// Samples per evaluation step and rank.
    pub eval_batch_size: u64,
    /// `record_length_bytes`: what one sample counts in MB/s.
    pub record_bytes: f64,
    /// `metric.au`: the AU that must be reached, as a fraction.
    pub au_threshold: f64,
    /// Samples that all ranks together must read in an epoch, if known: what coverage is checked against.
    pub train_samples: Option<u64>,
    /// Which reference defines the metrics; DLIO in traces that do not say.
    #[serde(default)]
    pub formula: Formula,
    /// Size of one checkpoint over all ranks, bytes: what its throughput is computed with; `None`: no checkpoints.
    #[serde(default)]
    pub checkpoint_bytes: Option<u64>,
}

impl Parameters {
    /// Adds the parameters to a configuration, as the text that goes into a trace's header.
    #[must_use]
    pub fn embed(&self, config: serde_json::Value) -> String {
        let mut config = match config {
            serde_json::Value::Object(object) => object,
            other => [("workload".to_owned(), other)].into_iter().collect(),
        };
        if let Ok(value) = serde_json::to_value(self) {
            config.insert(CONFIG_KEY.to_owned(), value);
        }
        serde_json::Value::Object(config).to_string()
    }

    /// The parameters in a trace's configuration, if it has any.
    #[must_use]
    pub fn from_config(config_json: &str) -> Option<Self> {
        let mut config: serde_json::Value = serde_json::from_str(config_json).ok()?;
        serde_json::from_value(config.get_mut(CONFIG_KEY)?.take()).ok()
    }

    fn train_window(&self) -> Window {
        Window::new(self.exclude_start_steps, self.exclude_end_steps, self.train_steps)
    }

    fn eval_window(&self) -> Window {
        Window::new(self.exclude_start_steps, self.exclude_end_steps, self.eval_steps)
    }
}

/// The steps that count: `[first : end]` with Python's meaning of a negative `end`.
#[derive(Debug, Clone, Copy)]
struct Window {
    first: u64,
    end: i64,
}

impl Window {
    fn new(exclude_start: u64, exclude_end: u64, steps: u64) -> Self {
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        Self { first: exclude_start, end: signed(steps).saturating_sub(signed(exclude_end)) }
    }

    fn bounds(self, len: usize) -> (usize, usize) {
        let first = usize::try_from(self.first).unwrap_or(usize::MAX).min(len);
        let end = match usize::try_from(self.end) {
            Ok(end) => end.min(len),
            Err(_) => len.saturating_sub(usize::try_from(self.end.unsigned_abs()).unwrap_or(usize::MAX)),
        };
        (first, end)
    }

    /// len(list[first:end])
    fn steps(self, len: usize) -> usize {
        let (first, end) = self.bounds(len);
        end.saturating_sub(first)
    }

    /// Σ list[first:end]
    fn inside(self, list: &[Nanos]) -> i128 {
        let (first, end) = self.bounds(list.len());
        list.get(first..end).map_or(0, sum)
    }

    /// Σ list[:first] + Σ list[end:]
    fn outside(self, list: &[Nanos]) -> i128 {
        let (first, end) = self.bounds(list.len());
        sum(&list[..first]) + sum(&list[end..])
    }
}

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

/// The measures of all epochs of one rank.
#[must_use]
pub fn rank(timings: &RankTimings, parameters: &Parameters) -> RankMetric {
    let epochs = timings.epochs.iter().map(|epoch| {
        let blocks: Vec<_> = epoch.blocks.iter().map(|timings| (timings.block, block(timings, parameters))).collect();
        let measures: Vec<_> = blocks.iter().map(|(_, measure)| *measure).collect();
        EpochMetric {
            epoch: epoch.epoch,
            train: epoch_mean(&measures),
            blocks,
            eval: epoch.eval.as_ref().map(|timings| evaluation(timings, parameters)),
        }
    });
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
    /// Whether the mean reaches the threshold.
    pub au_meets_expectation: bool,
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
            au_meets_expectation: au.is_some_and(|au| au.mean >= parameters.au_threshold * 100.0),
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

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn parameters() -> Parameters {
        Parameters {
            exclude_start_steps: 1,
            exclude_end_steps: 0,
            train_steps: 4,
            eval_steps: 4,
            batch_size: 2,
            eval_batch_size: 3,
            record_bytes: MB,
            au_threshold: 0.5,
            train_samples: None,
            formula: Formula::Dlio,
            checkpoint_bytes: None,
        }
    }

    /// Steps that load for 50 ms (the first for 500) and compute for 100 ms, and 10 ms of barrier after each.
    fn four_steps() -> BlockTimings {
        let load = vec![500 * MS, 50 * MS, 50 * MS, 50 * MS];
        let proc: Vec<u64> = load.iter().map(|load| load + 100 * MS).collect();
        let time = proc.iter().sum::<u64>() + 4 * 10 * MS;
        BlockTimings { block: 1, start: 7, end: 7 + time, compute: vec![100 * MS; 4], load, proc }
    }

    #[test]
    fn a_block_leaves_out_its_first_step() {
        let measure = block(&four_steps(), &parameters());
        // T = 1090 ms - 600 ms = 490 ms; compute inside = 300 ms; (4 - 2) * 2 samples.
        assert_eq!(measure.steps, 4);
        assert!((measure.au_percentage - 100.0 * 300.0 / 490.0).abs() < 1e-9);
        assert!((measure.throughput - 4.0 / 0.490).abs() < 1e-9);
    }

    #[test]
    fn mlperf_counts_the_steps_of_the_window_in_its_throughput() {
        let mut parameters = Parameters { formula: Formula::Mlperf, ..parameters() };
        let measure = block(&four_steps(), &parameters);
        // T = 490 ms as above; three steps of two samples.
        assert!((measure.au_percentage - 100.0 * 300.0 / 490.0).abs() < 1e-9);
        assert!((measure.throughput - 6.0 / 0.490).abs() < 1e-9);
        parameters.exclude_end_steps = 1;
        let measure = block(&four_steps(), &parameters);
        assert!((measure.au_percentage - 100.0 * 200.0 / 340.0).abs() < 1e-9);
        assert!((measure.throughput - 4.0 / 0.340).abs() < 1e-9);
    }

    #[test]
    fn mlperf_gives_zero_where_no_step_counts() {
        let one = BlockTimings { compute: vec![100 * MS], load: vec![5 * MS], proc: vec![105 * MS], ..four_steps() };
        let parameters = Parameters { formula: Formula::Mlperf, ..parameters() };
        let measure = block(&one, &parameters);
        assert_eq!((measure.steps, measure.au_percentage, measure.throughput), (1, 0.0, 0.0));
        let dlio = Parameters { formula: Formula::Dlio, ..parameters };
        assert!(block(&one, &dlio).throughput < 0.0, "DLIO's own formula makes it negative");
    }

    #[test]
    fn an_epoch_of_mlperf_is_the_mean_of_its_blocks_and_a_run_adds_the_ranks() {
        // Two blocks: four steps as above, and two steps of 100 + 100 ms without a barrier.
        let second = BlockTimings {
            block: 2,
            start: 0,
            end: 400 * MS,
            compute: vec![100 * MS; 2],
            load: vec![100 * MS; 2],
            proc: vec![200 * MS; 2],
        };
        let parameters = Parameters { formula: Formula::Mlperf, train_steps: 6, ..parameters() };
        let epoch = |rank| {
            let epoch =
                dlio_event::EpochTimings { epoch: 1, blocks: vec![four_steps(), second.clone()], ..Default::default() };
            super::rank(&RankTimings { rank, epochs: vec![epoch] }, &parameters)
        };
        // Block 1: 3 steps in 490 ms; block 2: 1 step in 200 ms; weights 4 and 2.
        let (au, throughput) = ((300.0 / 4.9 * 4.0 + 50.0 * 2.0) / 6.0, (6.0 / 0.49 * 4.0 + 10.0 * 2.0) / 6.0);
        let run = training(&[epoch(0), epoch(1)], &parameters);
        assert!((run.au_percentage[0] - au).abs() < 1e-9, "{run:?}");
        assert!((run.throughput[0] - 2.0 * throughput).abs() < 1e-9, "{run:?}");
        // A record is one MB here.
        assert!((run.io_mb.unwrap().mean - 2.0 * throughput).abs() < 1e-9);
    }

    #[test]
    fn a_trace_that_does_not_name_a_formula_has_dlios() {
        let text = parameters().embed(serde_json::json!({})).replace("\"formula\":\"dlio\",", "");
        assert!(!text.contains("formula"));
        assert_eq!(Parameters::from_config(&text), Some(parameters()));
    }

    #[test]
    fn excluded_end_steps_count_from_the_configured_number_of_steps() {
        let mut parameters = parameters();
        parameters.exclude_end_steps = 1;
        let measure = block(&four_steps(), &parameters);
        assert!((measure.au_percentage - 100.0 * 200.0 / 340.0).abs() < 1e-9);
        // Twice as many steps configured as were run: the exclusion at the end never applies.
        parameters.train_steps = 8;
        let measure = block(&four_steps(), &parameters);
        assert!((measure.au_percentage - 100.0 * 300.0 / 490.0).abs() < 1e-9);
    }

    #[test]
    fn a_window_that_ends_before_its_start_follows_pythons_slices() {
        let mut parameters = parameters();
        parameters.train_steps = 0;
        parameters.exclude_end_steps = 1;
        // C[1:-1] of four steps; P[:1] and P[-1:] are taken from the time.
        let measure = block(&four_steps(), &parameters);
        assert!((measure.au_percentage - 100.0 * 200.0 / 340.0).abs() < 1e-9);
    }

    #[test]
    fn an_evaluation_counts_all_its_samples() {
        let measure = evaluation(&four_steps(), &parameters());
        assert!((measure.throughput - 12.0 / 1.090).abs() < 1e-9);
        assert!((measure.au_percentage - 100.0 * 300.0 / 490.0).abs() < 1e-9);
    }

    #[test]
    fn times_that_make_no_sense_give_zero_and_never_infinity() {
        let empty = BlockTimings { block: 2, start: 5, end: 5, ..BlockTimings::default() };
        assert_eq!(block(&empty, &parameters()), Measure::default());
        let mut backwards = four_steps();
        backwards.end = backwards.start;
        let measure = block(&backwards, &parameters());
        assert_eq!((measure.au_percentage, measure.throughput), (0.0, 0.0));
        assert_eq!(epoch_mean(&[]), Measure::default());
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(training(&[], &parameters()), Aggregate::default());
    }

    #[test]
    fn evaluation_is_averaged_over_ranks_and_throughput_is_added() {
        let rank = |number: u32, au: f64| RankMetric {
            rank: number,
            epochs: vec![EpochMetric {
                epoch: 1,
                eval: Some(Measure { steps: 4, au_percentage: au, throughput: 10.0 }),
                ..EpochMetric::default()
            }],
        };
        let eval = evaluations(&[rank(0, 80.0), rank(1, 40.0)], &parameters());
        assert_eq!((eval.au_percentage, eval.throughput), (vec![60.0], vec![20.0]));
        assert!(eval.au_meets_expectation);
    }

    #[test]
    fn parameters_survive_the_header_of_a_trace() {
        let config = serde_json::json!({"workload": {"model": {"name": "unet3d"}}});
        let text = parameters().embed(config);
        assert!(text.contains("unet3d"));
        assert_eq!(Parameters::from_config(&text), Some(parameters()));
        assert_eq!(Parameters::from_config("{}"), None);
        assert_eq!(Parameters::from_config("no json"), None);
    }
}
