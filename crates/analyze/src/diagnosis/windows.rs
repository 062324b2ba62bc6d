//! Periods of the run: seconds with throttled requests, and times in which reads took much longer than usual.

use std::collections::BTreeMap;

use crate::pass::rank_stats::Timelines;
use crate::timeline::{Extent, SLICES};

/// Longest gap, in seconds, between throttled requests of one period.
const GAP: u64 = 15;
/// Ratio of the mean duration in a slice to the median, from which the slice is slow.
const SLOW: f64 = 2.5;
/// Fewest operations and slices of a slow period, and its largest share of all operations.
const ENOUGH: f64 = 30.0;
const SLICES_LEAST: usize = 3;
/// Alternative limits for fewer operations: each takes this many times as long as usual, and together they hold up the
/// run for this share of it, which cannot be chance.
const FEW: f64 = 4.0;
const FEW_SLOW: f64 = 10.0;
const FEW_SHARE: f64 = 0.1;
const SHARE_MOST: f64 = 0.5;

/// Groups seconds that follow each other closely. Returns the first second, the last second and the number of throttled
/// requests of each group.
pub(super) fn periods(seconds: &BTreeMap<u64, u64>) -> Vec<(u64, u64, u64)> {
    let mut found: Vec<(u64, u64, u64)> = Vec::new();
    for (second, count) in seconds {
        match found.last_mut() {
            Some((_, last, sum)) if *second <= *last + GAP => {
                *last = *second;
                *sum += count;
            }
            _ => found.push((*second, *second, *count)),
        }
    }
    found
}

/// Formats a time of the run as minutes and seconds: `0:05`, `12:00`.
pub(super) fn clock(seconds: f64) -> String {
    let whole = seconds.max(0.0).round();
    format!("{:.0}:{:02.0}", (whole / 60.0).floor(), whole % 60.0)
}

/// A period in which storage operations took much longer than usual.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SlowPeriod {
    /// Start and end, seconds from the start of the run.
    pub(super) from: f64,
    pub(super) to: f64,
    /// Mean duration of operations relative to the usual one.
    pub(super) factor: f64,
    /// Waiting in the period beyond the usual, seconds over all ranks.
    pub(super) waited: f64,
}

/// Returns the slow period with the most waiting beyond the usual.
pub(super) fn slow(timelines: &Timelines, extent: Extent) -> Option<SlowPeriod> {
    let (operations, in_flight, waiting) =
        (&timelines.operations.amounts, &timelines.in_flight.amounts, &timelines.waiting.amounts);
    let active: Vec<usize> = (0..SLICES).filter(|slice| operations[*slice] > 0.0).collect();
    let all: f64 = operations.iter().sum();
    // The median is taken over operations, not slices: slow operations fill many slices, and short ones leave most
    // slices empty.
    let middle = |value: &dyn Fn(usize) -> f64| {
        let mut slices = active.clone();
        slices.sort_by(|one, other| value(*one).total_cmp(&value(*other)));
        let mut before = 0.0;
        let found = slices.into_iter().find(|slice| {
            before += operations[*slice];
            before >= all / 2.0
        });
        found.map_or(0.0, value)
    };
    let duration = |slice: usize| in_flight[slice] / operations[slice];
    let usual = middle(&duration);
    let usual_wait = middle(&|slice| waiting[slice]);
    // Slices without operations, in which all ranks compute, do not end a period; a single ordinary slice does not
    // either.
    let late = active.iter().enumerate().filter(|(_, slice)| duration(**slice) > SLOW * usual);
    let (mut periods, mut before): (Vec<Vec<usize>>, usize) = (Vec::new(), 0);
    for (place, slice) in late {
        match periods.last_mut() {
            Some(stretch) if place - before <= 2 => stretch.push(*slice),
            _ => periods.push(vec![*slice]),
        }
        before = place;
    }
    let judged = periods.into_iter().filter_map(|slices| {
        let (first, last) = (*slices.first()?, *slices.last()?);
        let sum = |amounts: &[f64]| slices.iter().map(|slice| amounts[*slice]).sum::<f64>();
        let found = SlowPeriod {
            from: first as f64 * extent.slice_seconds(),
            to: (last + 1) as f64 * extent.slice_seconds(),
            factor: sum(in_flight) / sum(operations) / usual,
            waited: (sum(waiting) - usual_wait * slices.len() as f64).max(0.0) / 1e9,
        };
        let few = sum(operations) >= FEW && found.factor >= FEW_SLOW && found.waited >= FEW_SHARE * extent.seconds();
        let much = (few || sum(operations) >= ENOUGH) && slices.len() >= SLICES_LEAST;
        let rare = sum(operations) <= SHARE_MOST * all;
        (much && rare && usual > 0.0).then_some(found)
    });
    judged.max_by(|one, other| one.waited.total_cmp(&other.waited))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of one second per slice with ten operations of one millisecond in each slice, except for the given slices.
    fn run(slices: std::ops::Range<usize>, operations: f64, millis: f64, waiting: f64) -> Option<SlowPeriod> {
        assert_eq!(SLICES, 200);
        let mut timelines = Timelines::default();
        for slice in 0..SLICES {
            let (operations, millis, waiting) =
                if slices.contains(&slice) { (operations, millis, waiting) } else { (10.0, 1.0, 0.0) };
            timelines.operations.amounts[slice] = operations;
            timelines.in_flight.amounts[slice] = operations * millis * 1e6;
            timelines.waiting.amounts[slice] = waiting * 1e9;
        }
        slow(&timelines, Extent { start: 0, end: 200_000_000_000 })
    }

    #[test]
    fn a_few_operations_are_a_slow_stretch_only_if_they_hold_the_run_up() {
        let some = SLICES / 5;
        assert_eq!(run(0..0, 0.0, 0.0, 0.0), None);
        assert_eq!(run(10..20, 10.0, 5.0, 0.01).map(|slow| (slow.from, slow.to)), Some((10.0, 20.0)));
        assert_eq!(run(10..12, 10.0, 5.0, 0.01), None, "too few, and not slow enough for that");
        let held = run(10..10 + some, 0.25, 4000.0, 1.0).unwrap();
        assert!((held.from - 10.0).abs() < 1e-9 && held.factor > 1000.0);
        assert_eq!(run(10..10 + some, 0.25, 4000.0, 0.1), None, "nobody waited much");
        assert_eq!(run(10..10 + some, 0.25, 5.0, 1.0), None, "not much slower than usual");
    }

    #[test]
    fn refusals_close_to_each_other_are_one_stretch() {
        let seconds = [(60, 5), (61, 7), (70, 1), (200, 2)].into_iter().collect();
        assert_eq!(periods(&seconds), [(60, 70, 13), (200, 200, 2)]);
        assert_eq!((clock(59.6).as_str(), clock(605.0).as_str()), ("1:00", "10:05"));
    }
}
