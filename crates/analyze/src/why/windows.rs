//! Stretches of the run: seconds with refusals, and times in which reads took much longer than usual.

use std::collections::BTreeMap;

use crate::pass::part::Lines;
use crate::timeline::{Extent, SLICES};

/// Seconds without a refusal that still belong to one stretch of them.
const GAP: u64 = 15;
/// Operations are slow in a slice when they take this many times as long as the middle operation.
const SLOW: f64 = 2.5;
/// A slow stretch has at least this many operations and slices, and at most this share of all operations.
const ENOUGH: f64 = 30.0;
const SLICES_LEAST: usize = 3;
/// Or so few, of which each takes this many times as long as usual, if together they hold the run up for this share of it: that
/// is no chance.
const FEW: f64 = 4.0;
const FEW_SLOW: f64 = 10.0;
const FEW_SHARE: f64 = 0.1;
const SHARE_MOST: f64 = 0.5;

/// Seconds that follow each other closely: first, last and how many refusals.
pub(super) fn stretches(seconds: &BTreeMap<u64, u64>) -> Vec<(u64, u64, u64)> {
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

/// `0:05`, `12:00`: minutes and seconds of the run.
pub(super) fn clock(seconds: f64) -> String {
    let whole = seconds.max(0.0).round();
    format!("{:.0}:{:02.0}", (whole / 60.0).floor(), whole % 60.0)
}

/// A time in which storage operations took much longer than usual.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Slow {
    /// Seconds of the run.
    pub(super) from: f64,
    pub(super) to: f64,
    /// Duration of operations by the usual one.
    pub(super) factor: f64,
    /// Waiting in it beyond the usual, seconds over all ranks.
    pub(super) waited: f64,
}

/// The stretch with the most waiting beyond the usual.
pub(super) fn slow(lines: &Lines, extent: Extent) -> Option<Slow> {
    let (operations, flying, waiting) = (&lines.operations.amounts, &lines.flying.amounts, &lines.waiting.amounts);
    let active: Vec<usize> = (0..SLICES).filter(|slice| operations[*slice] > 0.0).collect();
    let all: f64 = operations.iter().sum();
    // By operations, not by slices: slow operations fill many slices, and short ones leave most of theirs empty.
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
    let duration = |slice: usize| flying[slice] / operations[slice];
    let usual = middle(&duration);
    let usual_wait = middle(&|slice| waiting[slice]);
    // Slices without operations, in which everybody computes, do not end a stretch; one ordinary slice does not either.
    let late = active.iter().enumerate().filter(|(_, slice)| duration(**slice) > SLOW * usual);
    let (mut stretches, mut before): (Vec<Vec<usize>>, usize) = (Vec::new(), 0);
    for (place, slice) in late {
        match stretches.last_mut() {
            Some(stretch) if place - before <= 2 => stretch.push(*slice),
            _ => stretches.push(vec![*slice]),
        }
        before = place;
    }
    let judged = stretches.into_iter().filter_map(|slices| {
        let (first, last) = (*slices.first()?, *slices.last()?);
        let sum = |amounts: &[f64]| slices.iter().map(|slice| amounts[*slice]).sum::<f64>();
        let found = Slow {
            from: first as f64 * extent.slice_seconds(),
            to: (last + 1) as f64 * extent.slice_seconds(),
            factor: sum(flying) / sum(operations) / usual,
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

    /// A run of a second per slice in which each slice has ten operations of a millisecond, but for some slices with others.
    fn run(slices: std::ops::Range<usize>, operations: f64, millis: f64, waiting: f64) -> Option<Slow> {
        assert_eq!(SLICES, 200);
        let mut lines = Lines::default();
        for slice in 0..SLICES {
            let (operations, millis, waiting) =
                if slices.contains(&slice) { (operations, millis, waiting) } else { (10.0, 1.0, 0.0) };
            lines.operations.amounts[slice] = operations;
            lines.flying.amounts[slice] = operations * millis * 1e6;
            lines.waiting.amounts[slice] = waiting * 1e9;
        }
        slow(&lines, Extent { start: 0, end: 200_000_000_000 })
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
        assert_eq!(stretches(&seconds), [(60, 70, 13), (200, 200, 2)]);
        assert_eq!((clock(59.6).as_str(), clock(605.0).as_str()), ("1:00", "10:05"));
    }
}
