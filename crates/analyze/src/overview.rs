//! The run from step to step, over ranks and time; when it was warm; in which order and how fast epochs read; whose clock is
//! wrong.

use std::collections::BTreeMap;

use dlio_trace::RankTrace;

use crate::pass::Summary;
use crate::pass::part::RankPart;
use crate::pass::samples::{EpochSamples, Order};
use crate::report::{CacheRow, Clock, ClockRow, Heat, ShuffleRow, Steady, StepRow};
use crate::timeline::{Extent, SLICES};
use crate::why::between;

/// Rows of steps in a report.
const STEP_ROWS: usize = 400;
/// Rows and columns of a heat map.
const HEAT_ROWS: usize = 64;
const HEAT_COLUMNS: usize = 100;
/// Slices that MSER-5 takes together.
const BATCH: usize = 5;
/// Both halves of a steady rest agree within this.
const AGREE: f64 = 0.1;

pub(crate) fn steps(summary: &Summary) -> Vec<StepRow> {
    let known: Vec<_> = summary.met.list.iter().filter(|(_, meeting)| meeting.ranks > 0).collect();
    let size = known.len().div_ceil(STEP_ROWS).max(1);
    let mut rows: Vec<StepRow> = Vec::new();
    for epoch in known.chunk_by(|one, other| one.0.0 == other.0.0) {
        rows.extend(epoch.chunks(size).map(|together| {
            let sum = |pick: fn(&crate::pass::meetings::Meeting) -> u64| {
                together.iter().map(|(_, meeting)| pick(meeting)).sum::<u64>() as f64
            };
            let (computed, fetched) = (sum(|meeting| meeting.computed), sum(|meeting| meeting.fetched));
            StepRow {
                epoch: together.first().map_or(0, |(at, _)| at.0),
                from: together.first().map_or(0, |(at, _)| at.1),
                to: together.last().map_or(0, |(at, _)| at.1),
                au_percentage: rounded(100.0 * computed / (computed + fetched).max(1.0), 100.0),
                wait_ns: (fetched / sum(|meeting| meeting.ranks).max(1.0)).round(),
                wait_ns_max: together.iter().map(|(_, meeting)| meeting.fetched_most).max().unwrap_or(0),
            }
        }));
    }
    rows
}

pub(crate) fn rounded(value: f64, places: f64) -> f64 {
    (value * places).round() / places
}

pub(crate) fn heat(parts: &[RankPart], extent: Extent) -> Heat {
    let size = parts.len().div_ceil(HEAT_ROWS).max(1);
    let squeeze = SLICES / HEAT_COLUMNS;
    let width = extent.slice_seconds() * squeeze as f64;
    let mut sorted: Vec<&RankPart> = parts.iter().collect();
    sorted.sort_by_key(|part| part.rank);
    let mut heat = Heat { slice_seconds: width, ..Heat::default() };
    if width <= 0.0 {
        return heat;
    }
    for together in sorted.chunks(size) {
        let ranks = together.len() as f64;
        let row = |pick: fn(&RankPart) -> &[f64], scale: f64, places: f64| {
            let column = |from: usize| {
                let sum: f64 = together.iter().flat_map(|part| &pick(part)[from..from + squeeze]).sum();
                rounded(sum * scale / (width * ranks), places)
            };
            (0..SLICES).step_by(squeeze).map(column).collect::<Vec<f64>>()
        };
        heat.ranks.push((together.first().map_or(0, |part| part.rank), together.last().map_or(0, |part| part.rank)));
        heat.read_bytes_per_second.push(row(|part| &part.lines.reads.amounts, 1.0, 1.0));
        heat.waiting_percentage.push(row(|part| &part.lines.waiting.amounts, 100.0 / 1e9, 100.0));
    }
    heat
}

/// MSER-5 (White 1997): of all starts within the first half, the one that makes the standard error of the mean of the rest
/// smallest.
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
    // Weighted by what each rank read.
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

pub(crate) fn cache(parts: &[RankPart]) -> Vec<CacheRow> {
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
    for (_, meeting) in summary.met.list.iter().filter(|(_, meeting)| ranks > 1 && meeting.arrived == ranks) {
        clock.barriers += 1;
        let early = between(meeting.left_first.0, meeting.last.0);
        if early > of(meeting.left_first.1) + of(meeting.last.2) {
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
