//! The epochs of a run over its ranks, and the samples that each of them read.

use dlio_event::RankTimings;
use serde::{Deserialize, Serialize};

use crate::metric::{self, RankMetric};
use crate::pass::rank_stats::EpochReads;
use crate::pass::summary::Summary;
use crate::rank_timings::EpochTime;

/// The timings of a rank, and the time of each of its epochs by activity.
pub(crate) type Rebuilt = (RankTimings, Vec<EpochTime>);

/// One epoch over all ranks.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Epoch {
    /// Epoch, from 1.
    pub epoch: u32,
    /// Mean AU over the ranks, percent.
    pub au_percentage: f64,
    /// Samples per second, summed over the ranks.
    pub samples_per_second: f64,
    /// Mean evaluation AU over the ranks, percent; `None` without evaluation.
    pub eval_au_percentage: Option<f64>,
    /// Number of steps of the rank with the most.
    pub steps: u64,
    /// Time from the first rank's start to the last rank's end, evaluation included, seconds.
    pub seconds: f64,
    /// Bytes that the training part of the epoch read from storage.
    pub read_bytes: u64,
    /// Bytes per second of the training part.
    pub read_bytes_per_second: f64,
    /// Bytes per second of a single read: all bytes by the sum of all read durations.
    pub bytes_per_operation_second: f64,
    /// Coverage of the epoch's samples.
    pub coverage: Coverage,
}

/// Samples that an epoch read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Coverage {
    /// Number of distinct samples.
    pub distinct: u64,
    /// Number of reads of a sample that another step or rank had read in the same epoch.
    pub duplicates: u64,
    /// Number of configured samples that no rank read; `None` if the traces do not contain the configured number.
    pub missing: Option<u64>,
}

/// Time of one epoch of one rank by activity, seconds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TimeRow {
    /// Epoch.
    pub epoch: u32,
    /// Rank.
    pub rank: u32,
    /// AU of the epoch on this rank, percent, by the reference's formula; `None` without training steps.
    pub au_percentage: Option<f64>,
    /// Duration of the whole epoch.
    pub total: f64,
    /// Emulated computation of the training steps, which is what AU counts.
    pub compute: f64,
    /// Time spent waiting for the next batch.
    pub waiting: f64,
    /// Time spent waiting for the other ranks.
    pub barrier: f64,
    /// Time spent saving and loading checkpoints.
    pub checkpoint: f64,
    /// Duration of the evaluation.
    pub evaluation: f64,
    /// Remaining time.
    pub other: f64,
}

/// Returns one row per epoch; `expected` is the number of samples that the ranks together should read in each.
pub(crate) fn rows(
    summary: &Summary,
    metrics: &[RankMetric],
    rebuilt: &[Rebuilt],
    expected: Option<u64>,
) -> Vec<Epoch> {
    let parts = &summary.parts;
    let last = rebuilt.iter().flat_map(|(_, times)| times).map(|time| time.epoch).max().unwrap_or(0);
    let row = |number: u32| {
        let of = || metrics.iter().flat_map(|rank| &rank.epochs).filter(|epoch| epoch.epoch == number);
        let mean = |values: &[f64]| metric::Spread::of(values).map(|spread| spread.mean);
        let times = || rebuilt.iter().flat_map(|(_, times)| times).filter(|time| time.epoch == number);
        let trained = rebuilt.iter().flat_map(|(timings, _)| &timings.epochs).filter(|epoch| epoch.epoch == number);
        let train_ns = trained.map(|epoch| epoch.train_end.saturating_sub(epoch.start)).max().unwrap_or(0);
        let reads = || parts.iter().filter_map(|part| part.epochs.get(&number));
        let sum = |pick: fn(&EpochReads) -> u64| reads().map(pick).sum::<u64>();
        let read_bytes = sum(|reads| reads.bytes);
        let start = times().map(|time| time.start).min().unwrap_or(0);
        let end = times().map(|time| time.end).max().unwrap_or(0);
        Epoch {
            epoch: number,
            au_percentage: mean(&of().map(|epoch| epoch.train.au_percentage).collect::<Vec<_>>()).unwrap_or(0.0),
            samples_per_second: of().map(|epoch| epoch.train.throughput).sum(),
            eval_au_percentage: mean(
                &of().filter_map(|epoch| epoch.eval).map(|eval| eval.au_percentage).collect::<Vec<_>>(),
            ),
            steps: of().map(|epoch| epoch.train.steps).max().unwrap_or(0),
            seconds: end.saturating_sub(start) as f64 / 1e9,
            read_bytes,
            read_bytes_per_second: per_second(read_bytes, train_ns),
            bytes_per_operation_second: per_second(read_bytes, sum(|reads| reads.operation_ns)),
            coverage: coverage(summary, number, expected),
        }
    };
    (1..=last).map(row).filter(|epoch| epoch.seconds > 0.0 || epoch.steps > 0).collect()
}

/// Returns the coverage of an epoch. A sample counts as read twice if another rank or step of the epoch read it.
fn coverage(summary: &Summary, epoch: u32, expected: Option<u64>) -> Coverage {
    let Some(samples) = summary.coverage.get(&epoch).filter(|samples| samples.readings() > 0) else {
        // Traces of formats that stream many samples per read do not name samples, so coverage is unknown.
        return Coverage::default();
    };
    let distinct = samples.distinct();
    let missing = expected.map(|expected| expected.saturating_sub(distinct));
    Coverage { distinct, duplicates: samples.readings().saturating_sub(distinct), missing }
}

/// Returns the time of each epoch of each rank by activity; `metrics` has the ranks in the same order.
pub(crate) fn times(rebuilt: &[Rebuilt], metrics: &[RankMetric]) -> Vec<TimeRow> {
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    let mut rows = Vec::new();
    for ((timings, times), metric) in rebuilt.iter().zip(metrics) {
        for time in times {
            let total = time.end.saturating_sub(time.start);
            let named = time.compute + time.waiting + time.barrier + time.checkpoint + time.evaluation;
            let measured = metric.epochs.iter().find(|epoch| epoch.epoch == time.epoch && epoch.train.steps > 0);
            rows.push(TimeRow {
                epoch: time.epoch,
                rank: timings.rank,
                au_percentage: measured.map(|epoch| epoch.train.au_percentage),
                total: seconds(total),
                compute: seconds(time.compute),
                waiting: seconds(time.waiting),
                barrier: seconds(time.barrier),
                checkpoint: seconds(time.checkpoint),
                evaluation: seconds(time.evaluation),
                other: seconds(total.saturating_sub(named)),
            });
        }
    }
    rows.sort_by_key(|row| (row.epoch, row.rank));
    rows
}

fn per_second(bytes: u64, nanos: u64) -> f64 {
    if nanos == 0 { 0.0 } else { bytes as f64 / (nanos as f64 / 1e9) }
}
