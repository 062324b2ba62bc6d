//! Overview of a run: its steps, ranks over time, warm-up, order and speed of reads by epoch, and the clocks of the
//! ranks.

use std::collections::BTreeMap;

use dlio_trace::RankTrace;
use serde::{Deserialize, Serialize};

use crate::pass::rank_stats::RankStats;
use crate::pass::samples::{EpochSamples, Order};
use crate::pass::summary::Summary;
use crate::timeline::{Extent, SLICES, between};

/// Largest number of rows for steps in a report.
const STEP_ROWS: usize = 400;
/// Largest numbers of rows and columns of a heat map.
const HEAT_ROWS: usize = 64;
const HEAT_COLUMNS: usize = 100;
/// Number of slices in one batch of MSER-5.
const BATCH: usize = 5;
/// Largest relative difference between both halves of a steady period.
const AGREE: f64 = 0.1;

/// Consecutive steps over all ranks.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StepRow {
    /// Epoch.
    pub epoch: u32,
    /// First step.
    pub from: u32,
    /// Last step.
    pub to: u32,
    /// AU: computation by the sum of computation and waiting, percent.
    pub au_percentage: f64,
    /// Mean wait of a rank, nanoseconds.
    pub wait_ns: f64,
    /// Longest wait of a rank, nanoseconds.
    pub wait_ns_max: u64,
}

/// Heat maps with one row per rank (or group of neighbouring ranks) and one column per slice of time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Heat {
    /// First and last rank of each row.
    pub ranks: Vec<(u32, u32)>,
    /// Width of a column, seconds.
    pub slice_seconds: f64,
    /// Bytes read per second, mean over the ranks of the row.
    pub read_bytes_per_second: Vec<Vec<f64>>,
    /// Share of the time that the training loop waited for data, mean over the ranks of the row, percent.
    pub waiting_percentage: Vec<Vec<f64>>,
}

/// Steady state of the run, by MSER-5 on the bytes per slice between the first and the last traffic.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Steady {
    /// Time from the start of the run to the end of the warm-up, where the standard error of the remaining mean is
    /// smallest, seconds.
    pub warm_up_seconds: f64,
    /// Whether the remaining run is steady: the warm-up takes less than half of it, and both halves of the rest agree
    /// within 10 %.
    pub steady: bool,
    /// Mean after the warm-up, bytes per second.
    pub bytes_per_second: f64,
    /// Standard deviation of the slices after the warm-up by their mean, percent.
    pub variation_percentage: f64,
}

/// Order in which one epoch read its samples, mean over the ranks; objects where the traces name no samples.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ShuffleRow {
    /// Epoch.
    pub epoch: u32,
    /// Correlation of position and sample number: 1 for reading in order, 0 for a shuffle.
    pub with_numbers: Option<f64>,
    /// Correlation of each sample number with the next one.
    pub with_next: Option<f64>,
    /// Correlation of positions with those of the previous epoch.
    pub with_before: Option<f64>,
    /// Share of a rank's samples that it had also read in the previous epoch, percent.
    pub kept_percentage: Option<f64>,
    /// Share of samples that more than one rank read in this epoch, percent.
    pub shared_percentage: Option<f64>,
}

/// Read speed of one epoch.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CacheRow {
    /// Epoch.
    pub epoch: u32,
    /// Speed of a read relative to the first epoch.
    pub speed_by_first: f64,
    /// Share of reads of at least 16 KiB that were faster than 4 GB/s, percent of all reads.
    pub from_memory_percentage: f64,
}

/// Clocks of the ranks, from the headers of the traces, and violations of causality between ranks.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Clock {
    /// One row per rank.
    pub ranks: Vec<ClockRow>,
    /// Number of barriers that were checked.
    pub barriers: u64,
    /// Number of barriers that a rank left before the last one had arrived, by more than the uncertainty of both
    /// clocks.
    pub violations: u64,
    /// Largest violation, nanoseconds.
    pub worst_ns: u64,
}

/// Clock of one rank.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ClockRow {
    /// Rank.
    pub rank: u32,
    /// Offset that was added to the rank's times, nanoseconds.
    pub offset_ns: i64,
    /// Uncertainty of the offset: half a round trip, nanoseconds.
    pub uncertainty_ns: u64,
    /// Change of the offset until the end of the run, nanoseconds; `None` if it was not measured again.
    pub moved_ns: Option<i64>,
    /// Drift that was removed from the times, parts per million; 0 if it was within the uncertainty.
    pub drift_ppm: f64,
}

pub(crate) fn steps(summary: &Summary) -> Vec<StepRow> {
    let known: Vec<_> = summary.barriers.list.iter().filter(|(_, step)| step.ranks > 0).collect();
    let size = known.len().div_ceil(STEP_ROWS).max(1);
    let mut rows: Vec<StepRow> = Vec::new();
    for epoch in known.chunk_by(|one, other| one.0.0 == other.0.0) {
        rows.extend(epoch.chunks(size).map(|together| {
            let sum = |pick: fn(&crate::pass::barriers::StepBarrier) -> u64| {
                together.iter().map(|(_, step)| pick(step)).sum::<u64>() as f64
            };
            let (computed, fetched) = (sum(|step| step.computed), sum(|step| step.fetched));
            StepRow {
                epoch: together.first().map_or(0, |(at, _)| at.0),
                from: together.first().map_or(0, |(at, _)| at.1),
                to: together.last().map_or(0, |(at, _)| at.1),
                au_percentage: rounded(100.0 * computed / (computed + fetched).max(1.0), 100.0),
                wait_ns: (fetched / sum(|step| step.ranks).max(1.0)).round(),
                wait_ns_max: together.iter().map(|(_, step)| step.fetched_most).max().unwrap_or(0),
            }
        }));
    }
    rows
}

pub(crate) fn rounded(value: f64, places: f64) -> f64 {
    (value * places).round() / places
}

pub(crate) fn heat(parts: &[RankStats], extent: Extent) -> Heat {
    let size = parts.len().div_ceil(HEAT_ROWS).max(1);
    let squeeze = SLICES / HEAT_COLUMNS;
    let width = extent.slice_seconds() * squeeze as f64;
    let mut sorted: Vec<&RankStats> = parts.iter().collect();
    sorted.sort_by_key(|part| part.rank);
    let mut heat = Heat { slice_seconds: width, ..Heat::default() };
    if width <= 0.0 {
        return heat;
    }
    for together in sorted.chunks(size) {
        let ranks = together.len() as f64;
        let row = |pick: fn(&RankStats) -> &[f64], scale: f64, places: f64| {
            let column = |from: usize| {
                let sum: f64 = together.iter().flat_map(|part| &pick(part)[from..from + squeeze]).sum();
                rounded(sum * scale / (width * ranks), places)
            };
            (0..SLICES).step_by(squeeze).map(column).collect::<Vec<f64>>()
        };
        heat.ranks.push((together.first().map_or(0, |part| part.rank), together.last().map_or(0, |part| part.rank)));
        heat.read_bytes_per_second.push(row(|part| &part.timelines.reads.amounts, 1.0, 1.0));
        heat.waiting_percentage.push(row(|part| &part.timelines.waiting.amounts, 100.0 / 1e9, 100.0));
    }
    heat
}

/// Returns the steady state by MSER-5 (White 1997): of all starts in the first half, the one for which the standard
/// error of the mean of the rest is smallest.
pub(crate) fn steady(bytes_per_second: &[f64], extent: Extent) -> Option<Steady> {
    let first = bytes_per_second.iter().position(|rate| *rate > 0.0)?;
    let last = bytes_per_second.iter().rposition(|rate| *rate > 0.0)?;
    let batches: Vec<f64> = bytes_per_second[first..=last]
        .chunks_exact(BATCH)
        .map(|batch| batch.iter().sum::<f64>() / BATCH as f64)
        .collect();
    if batches.len() < 8 {
        return None;
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let variance = |values: &[f64]| {
        let middle = mean(values);
        values.iter().map(|value| (value - middle).powi(2)).sum::<f64>() / values.len() as f64
    };
    let error = |start: usize| variance(&batches[start..]) / (batches.len() - start) as f64;
    let half = batches.len() / 2;
    let start = (0..=half).min_by(|one, other| error(*one).total_cmp(&error(*other))).unwrap_or(0);
    let rest = &batches[start..];
    let (begin, end) = rest.split_at(rest.len() / 2);
    let middle = mean(rest);
    let agree = (mean(begin) - mean(end)).abs() <= AGREE * middle;
    Some(Steady {
        warm_up_seconds: rounded((first + start * BATCH) as f64 * extent.slice_seconds(), 1e6),
        steady: start < half && agree,
        bytes_per_second: middle.round(),
        variation_percentage: rounded(100.0 * variance(rest).sqrt() / middle.max(f64::MIN_POSITIVE), 100.0),
    })
}

pub(crate) fn shuffle(summary: &Summary) -> Vec<ShuffleRow> {
    let mut epochs: BTreeMap<u32, Vec<Order>> = BTreeMap::new();
    for order in summary.parts.iter().flat_map(|part| &part.orders) {
        epochs.entry(order.epoch).or_default().push(*order);
    }
    epochs.into_iter().map(|(epoch, orders)| shuffled(epoch, &orders, summary.coverage.get(&epoch))).collect()
}

fn shuffled(epoch: u32, orders: &[Order], samples: Option<&EpochSamples>) -> ShuffleRow {
    // The mean is weighted by the number of samples that each rank read.
    let mean = |pick: fn(&Order) -> Option<f64>| {
        let known: Vec<(f64, f64)> =
            orders.iter().filter_map(|order| pick(order).map(|value| (value, order.count as f64))).collect();
        let weight: f64 = known.iter().map(|(_, weight)| weight).sum();
        let sum: f64 = known.iter().map(|(value, weight)| value * weight).sum();
        (weight > 0.0).then(|| rounded(sum / weight, 1e4))
    };
    let shared = samples.filter(|samples| samples.of_ranks() > 0).map(|samples| {
        let distinct = samples.distinct();
        100.0 * samples.of_ranks().saturating_sub(distinct) as f64 / distinct.max(1) as f64
    });
    ShuffleRow {
        epoch,
        with_numbers: mean(|order| order.with_numbers.map(f64::from_bits)),
        with_next: mean(|order| order.with_next.map(f64::from_bits)),
        with_before: mean(|order| order.with_before.map(f64::from_bits)),
        kept_percentage: mean(|order| order.kept.map(|kept| 100.0 * kept as f64 / order.count.max(1) as f64)),
        shared_percentage: shared.map(|share| rounded(share, 1e2)),
    }
}

pub(crate) fn cache(parts: &[RankStats]) -> Vec<CacheRow> {
    let mut epochs: BTreeMap<u32, (u64, u64, u64, u64)> = BTreeMap::new();
    for (epoch, reads) in parts.iter().flat_map(|part| &part.epochs) {
        let sums = epochs.entry(*epoch).or_default();
        sums.0 += reads.bytes;
        sums.1 += reads.operation_ns;
        sums.2 += reads.reads;
        sums.3 += reads.from_memory;
    }
    let speed = |(bytes, nanos, ..): &(u64, u64, u64, u64)| *bytes as f64 / (*nanos).max(1) as f64;
    let first = epochs.values().next().map_or(0.0, speed);
    let row = |(epoch, sums): (&u32, &(u64, u64, u64, u64))| CacheRow {
        epoch: *epoch,
        speed_by_first: if first > 0.0 { rounded(speed(sums) / first, 1e3) } else { 0.0 },
        from_memory_percentage: rounded(100.0 * sums.3 as f64 / sums.2.max(1) as f64, 1e2),
    };
    epochs.iter().map(row).collect()
}

pub(crate) fn clock(traces: &[RankTrace], summary: &Summary) -> Clock {
    let uncertain = |trace: &RankTrace| {
        let end = trace.header.clock_end.map_or(0, |clock| clock.rtt_ns);
        trace.header.clock.rtt_ns.max(end).div_ceil(2)
    };
    let row = |trace: &RankTrace| ClockRow {
        rank: trace.header.rank,
        offset_ns: trace.header.clock.offset_to_rank0_ns,
        uncertainty_ns: uncertain(trace),
        moved_ns: trace
            .header
            .clock_end
            .map(|end| end.offset_to_rank0_ns.saturating_sub(trace.header.clock.offset_to_rank0_ns)),
        drift_ppm: trace.header.drift().map_or(0.0, |drift| rounded(drift.parts_per_million(), 1e3)),
    };
    let mut clock = Clock { ranks: traces.iter().map(row).collect(), ..Clock::default() };
    let of = |index: u32| traces.get(index as usize).map_or(0, uncertain);
    let ranks = summary.parts.len() as u64;
    for (_, step) in summary.barriers.list.iter().filter(|(_, step)| ranks > 1 && step.arrived == ranks) {
        clock.barriers += 1;
        let early = between(step.left_first.0, step.last.0);
        if early > of(step.left_first.1) + of(step.last.2) {
            clock.violations += 1;
            clock.worst_ns = clock.worst_ns.max(early);
        }
    }
    clock
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warm_up_ends_where_the_rate_settles() {
        let extent = Extent { start: 0, end: 200_000_000_000 };
        let rates: Vec<f64> =
            (0..200).map(|at| if at < 30 { 10.0 * f64::from(at) } else { 1_000.0 + f64::from(at * 7 % 5) }).collect();
        let found = steady(&rates, extent).unwrap();
        assert!((found.warm_up_seconds - 30.0).abs() <= 5.0 && found.steady, "{found:?}");
        assert!((found.bytes_per_second - 1_002.0).abs() < 2.0 && found.variation_percentage < 1.0);
        let growing: Vec<f64> = (0..200).map(|at| f64::from(at) * 100.0).collect();
        assert!(!steady(&growing, extent).unwrap().steady);
        assert_eq!(steady(&[0.0, 5.0, 0.0], extent), None);
    }
}
