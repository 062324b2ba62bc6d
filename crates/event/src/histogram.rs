//! A histogram of durations that can be merged, in bounded memory.
//!
//! Values below 256 have a bucket each; above, every octave has 128 buckets, so that the middle of a bucket is within
//! [`RELATIVE_ERROR`] of each of its values. A percentile is by nearest rank ([`crate::percentile`]); the histogram returns
//! the middle of the bucket that holds it, or the largest value if that is smaller.

use serde::{Deserialize, Serialize};

use crate::percentile::rank;

/// Buckets per octave, as a power of two.
const BITS: u32 = 7;
/// The largest error of a percentile from a histogram, as a share of the exact percentile.
pub const RELATIVE_ERROR: f64 = 1.0 / 256.0;

/// Returns the bucket of a value.
#[must_use]
#[inline]
pub fn bucket(value: u64) -> usize {
    let exponent = (value | 1).ilog2();
    let shift = exponent.saturating_sub(BITS);
    // Both numbers are small: at most 57 octaves of 128 buckets, and a value below 256.
    ((shift as usize) << BITS) + usize::try_from(value >> shift).unwrap_or(0)
}

/// Returns the lowest value of a bucket, and the number of different values in it.
#[must_use]
pub fn bounds(bucket: usize) -> (u64, u64) {
    let octave = u32::try_from(bucket >> BITS).unwrap_or(0);
    let Some(shift) = octave.checked_sub(1) else { return (bucket as u64, 1) };
    let mantissa = (bucket & ((1 << BITS) - 1)) as u64 + (1 << BITS);
    (mantissa << shift, 1 << shift)
}

/// Counts of values by bucket, with their exact number, sum and maximum.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Sparse", into = "Sparse")]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum: u128,
    max: u64,
}

/// The serialized form: only the buckets that are in use.
#[derive(Serialize, Deserialize)]
struct Sparse {
    buckets: Vec<(u32, u64)>,
    sum: (u64, u64),
    max: u64,
}

impl From<Histogram> for Sparse {
    fn from(histogram: Histogram) -> Self {
        let used = (0_u32..).zip(&histogram.counts).filter(|(_, count)| **count > 0);
        let low = u64::try_from(histogram.sum & u128::from(u64::MAX)).unwrap_or(0);
        let high = u64::try_from(histogram.sum >> 64).unwrap_or(0);
        Self { buckets: used.map(|(bucket, count)| (bucket, *count)).collect(), sum: (high, low), max: histogram.max }
    }
}

impl From<Sparse> for Histogram {
    fn from(sparse: Sparse) -> Self {
        let mut histogram = Self {
            sum: (u128::from(sparse.sum.0) << 64) | u128::from(sparse.sum.1),
            max: sparse.max,
            ..Self::default()
        };
        for (bucket, count) in sparse.buckets {
            *histogram.slot(bucket as usize) += count;
            histogram.count += count;
        }
        histogram
    }
}

impl Histogram {
    #[inline]
    fn slot(&mut self, bucket: usize) -> &mut u64 {
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        &mut self.counts[bucket]
    }

    /// Counts a value.
    #[inline]
    pub fn record(&mut self, value: u64) {
        *self.slot(bucket(value)) += 1;
        self.count += 1;
        self.sum += u128::from(value);
        self.max = self.max.max(value);
    }

    /// Adds the counts of another histogram.
    pub fn merge(&mut self, other: &Self) {
        if let Some(last) = other.counts.len().checked_sub(1) {
            self.slot(last);
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// Returns the number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the number of values by bucket. Buckets after the last one that is in use are left out.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Returns the number of values in buckets above the bucket of `limit`.
    #[must_use]
    pub fn above(&self, limit: u64) -> u64 {
        self.counts.iter().skip(bucket(limit) + 1).sum()
    }

    /// Returns the exact mean; 0 without values.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 }
    }

    /// Returns the largest value, exactly; `None` without values.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max)
    }

    /// Returns the bucket that holds a percentile (in parts of ten thousand), and the percentile's position among the values
    /// of that bucket, from 1; `None` without values.
    #[must_use]
    pub fn position(&self, parts: u64) -> Option<(usize, u64)> {
        let rank = rank(self.count, parts);
        let mut below = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            if below + count >= rank {
                return Some((bucket, rank - below));
            }
            below += count;
        }
        None
    }

    /// Returns a percentile (in parts of ten thousand) within [`RELATIVE_ERROR`]; `None` without values.
    #[must_use]
    pub fn percentile(&self, parts: u64) -> Option<u64> {
        self.position(parts).map(|(bucket, _)| self.representative(bucket))
    }

    /// Returns the value that stands for the values of a bucket: its middle, or the largest value if that is smaller.
    #[must_use]
    pub fn representative(&self, bucket: usize) -> u64 {
        let (low, width) = bounds(bucket);
        (low + width / 2).min(self.max)
    }

    /// Returns the Kolmogorov-Smirnov distance of two sets of values, from 0 to 1: the largest difference between their
    /// cumulative shares. `None` if one of them is empty.
    #[must_use]
    pub fn distance(&self, other: &Self) -> Option<f64> {
        if self.count == 0 || other.count == 0 {
            return None;
        }
        let (mut left, mut right, mut widest) = (0, 0, 0.0f64);
        for at in 0..self.counts.len().max(other.counts.len()) {
            left += self.counts.get(at).unwrap_or(&0);
            right += other.counts.get(at).unwrap_or(&0);
            widest = widest.max((left as f64 / self.count as f64 - right as f64 / other.count as f64).abs());
        }
        Some(widest)
    }

    /// Returns how often a value of `self` is larger than one of `other`, where ties count half (0.5 means no difference), and
    /// by how many standard deviations that differs from chance: the rank-sum test of Mann and Whitney.
    #[must_use]
    pub fn larger_than(&self, other: &Self) -> (f64, f64) {
        let (mine, theirs) = (self.count as f64, other.count as f64);
        if self.count == 0 || other.count == 0 {
            return (0.5, 0.0);
        }
        let (mut wins, mut below, mut ties) = (0.0, 0.0, 0.0);
        for at in 0..self.counts.len().max(other.counts.len()) {
            let count = |counts: &[u64]| counts.get(at).copied().unwrap_or(0) as f64;
            let (own, foreign) = (count(&self.counts), count(&other.counts));
            wins += own * (below + foreign / 2.0);
            below += foreign;
            let same = own + foreign;
            ties += same * same * same - same;
        }
        let all = mine + theirs;
        let variance = mine * theirs / 12.0 * ((all + 1.0) - ties / (all * (all - 1.0)).max(1.0));
        (wins / (mine * theirs), (wins - mine * theirs / 2.0) / variance.max(f64::MIN_POSITIVE).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::percentile::{P50, P99, P9999, nearest_rank};

    fn of(values: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        values.into_iter().for_each(|value| histogram.record(value));
        histogram
    }

    /// Returns numbers of very different sizes, which are the same in every run.
    fn numbers(count: u64) -> Vec<u64> {
        let mix = |at: u64| (at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (0..count).map(|at| mix(at) >> (8 + mix(at) % 50)).collect()
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        let mut end = 0;
        for at in 0..7_000 {
            let (low, width) = bounds(at);
            assert_eq!((low, bucket(low), bucket(low + width - 1)), (end, at, at));
            end = low + width;
        }
    }

    #[test]
    fn percentiles_are_within_their_error_and_the_maximum_is_exact() {
        for count in [1, 2, 10, 99, 1_000, 20_000] {
            let mut values = numbers(count);
            let (one, other) = values.split_at(values.len() / 3);
            let mut histogram = of(one.iter().copied());
            histogram.merge(&of(other.iter().copied()));
            assert_eq!(histogram, of(values.iter().copied()));
            values.sort_unstable();
            for parts in [0, P50, P99, P9999, 10_000] {
                let (found, exact) =
                    (histogram.percentile(parts).unwrap() as f64, nearest_rank(&values, parts).unwrap() as f64);
                assert!((found - exact).abs() <= RELATIVE_ERROR * exact + 0.5, "{parts}: {found} for {exact}");
            }
            assert_eq!(histogram.max(), values.last().copied());
        }
        assert_eq!((Histogram::default().percentile(P50), Histogram::default().max()), (None, None));
        assert_eq!(of([u64::MAX]).percentile(10_000), Some(bounds(bucket(u64::MAX)).0 + (1 << 55)));
    }

    #[test]
    fn the_distance_of_equal_sets_is_0_and_of_disjoint_ones_1() {
        let (low, high, both) = (of([10]), of([1_000_000]), of([10, 1_000_000]));
        assert_eq!(low.distance(&low), Some(0.0));
        assert_eq!(low.distance(&high), Some(1.0));
        assert_eq!(low.distance(&both), Some(0.5));
        assert_eq!(low.distance(&Histogram::default()), None);
    }

    #[test]
    fn the_rank_sum_test_tells_a_shift_from_chance() {
        let values = |base: u64| of((0..200).map(|at| base + at * 7_919 % 1_000_000));
        let (share, deviations) = values(2_000_000).larger_than(&values(1_000_000));
        assert!(share > 0.99 && deviations > 15.0);
        let (share, deviations) = values(1_000_000).larger_than(&values(1_000_000));
        assert!((share - 0.5).abs() < 0.01 && deviations.abs() < 0.5);
    }
}
