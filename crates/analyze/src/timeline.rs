//! Quantities spread over equal slices of the run. The amount of an operation is divided among all slices that it
//! touches.

use serde::{Deserialize, Serialize};

/// Returns the nanoseconds from `start` to `end`; 0 if `end` is earlier.
pub(crate) fn between(start: i64, end: i64) -> u64 {
    u64::try_from(end.saturating_sub(start)).unwrap_or(0)
}

/// Number of slices of a run.
pub(crate) const SLICES: usize = 200;

/// The period that is divided into slices, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extent {
    pub(crate) start: i64,
    pub(crate) end: i64,
}

impl Extent {
    pub(crate) fn seconds(self) -> f64 {
        self.end.saturating_sub(self.start) as f64 / 1e9
    }

    pub(crate) fn slice_seconds(self) -> f64 {
        self.seconds() / SLICES as f64
    }

    /// Returns the axis of slices.
    pub(crate) fn axis(self) -> Axis {
        let width = self.end.saturating_sub(self.start).max(1) as f64;
        Axis { start: self.start, scale: SLICES as f64 / width }
    }
}

/// Axis of slices: its start, and the number of slices per nanosecond.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    start: i64,
    scale: f64,
}

impl Axis {
    fn place(self, at: i64) -> f64 {
        (at.saturating_sub(self.start) as f64 * self.scale).clamp(0.0, SLICES as f64)
    }

    /// Returns the slices that an interval touches.
    pub(crate) fn stretch(self, start: i64, end: i64) -> SliceSpan {
        let (from, to) = (self.place(start), self.place(end));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=SLICES")]
        let (first, last) = (from as usize, to as usize);
        SliceSpan { from, to, first, last }
    }
}

/// An interval on the axis of slices.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SliceSpan {
    from: f64,
    to: f64,
    first: usize,
    last: usize,
}

/// A quantity over time, by slice.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Vec<u64>", into = "Vec<u64>")]
pub(crate) struct Timeline {
    pub(crate) amounts: Vec<f64>,
}

/// Serialised as bit patterns, because decimal text would not restore every number.
impl From<Timeline> for Vec<u64> {
    fn from(line: Timeline) -> Self {
        line.amounts.into_iter().map(f64::to_bits).collect()
    }
}

impl From<Vec<u64>> for Timeline {
    fn from(bits: Vec<u64>) -> Self {
        Self { amounts: bits.into_iter().map(f64::from_bits).collect() }
    }
}

impl Default for Timeline {
    fn default() -> Self {
        Self { amounts: vec![0.0; SLICES] }
    }
}

impl Timeline {
    /// Spreads `amount` evenly over an interval.
    pub(crate) fn add(&mut self, stretch: SliceSpan, amount: f64) {
        let SliceSpan { from, to, first, last } = stretch;
        if first >= last || to <= from {
            self.amounts[first.min(SLICES - 1)] += amount;
            return;
        }
        let density = amount / (to - from);
        for (slice, sum) in self.amounts.iter_mut().enumerate().take(last + 1).skip(first) {
            let overlap = (to.min(slice as f64 + 1.0) - from.max(slice as f64)).max(0.0);
            *sum += density * overlap;
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (sum, amount) in self.amounts.iter_mut().zip(&other.amounts) {
            *sum += amount;
        }
    }

    /// Returns the rate per second of each slice, rounded to whole units to keep the report small.
    pub(crate) fn per_second(&self, extent: Extent) -> Vec<f64> {
        let width = extent.slice_seconds();
        self.amounts.iter().map(|amount| if width > 0.0 { (amount / width).round() } else { 0.0 }).collect()
    }

    /// Returns the mean number of simultaneous activities in each slice, from a sum of nanoseconds, rounded to three
    /// decimals.
    pub(crate) fn at_a_time(&self, extent: Extent) -> Vec<f64> {
        let width = extent.slice_seconds() * 1e9;
        self.amounts.iter().map(|nanos| if width > 0.0 { (1e3 * nanos / width).round() / 1e3 } else { 0.0 }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_counts_in_every_slice_that_it_touches() {
        let extent = Extent { start: 0, end: 200 };
        let mut line = Timeline::default();
        line.add(extent.axis().stretch(10, 20), 100.0);
        line.add(extent.axis().stretch(15, 16), 7.0);
        line.add(extent.axis().stretch(30, 30), 5.0);
        assert!((line.amounts[10] - 10.0).abs() < 1e-9 && (line.amounts[15] - 17.0).abs() < 1e-9);
        assert!((line.amounts[30] - 5.0).abs() < 1e-9 && line.amounts[9] == 0.0 && line.amounts[21] == 0.0);
        assert!((line.amounts.iter().sum::<f64>() - 112.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_is_lost_at_the_ends_or_in_a_run_without_extent() {
        let extent = Extent { start: 100, end: 100 };
        let mut line = Timeline::default();
        line.add(extent.axis().stretch(100, 100), 3.0);
        line.add(extent.axis().stretch(0, 1_000), 4.0);
        assert!((line.amounts.iter().sum::<f64>() - 7.0).abs() < 1e-9);
        let extent = Extent { start: 0, end: 999 };
        let mut line = Timeline::default();
        line.add(extent.axis().stretch(0, 999), 50.0);
        line.add(extent.axis().stretch(998, 999), 1.0);
        assert!((line.amounts.iter().sum::<f64>() - 51.0).abs() < 1e-9);
        let text = serde_json::to_string(&line).unwrap();
        assert_eq!(serde_json::from_str::<Timeline>(&text).unwrap().amounts, line.amounts);
    }
}
