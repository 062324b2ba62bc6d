//! Counts of nanoseconds in buckets of less than 1 % of their value, in constant memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Buckets per power of two: the error of a percentile is less than 1 / 128.
const BITS: u32 = 7;

/// How often which number of nanoseconds was met. Percentiles are upper edges of buckets, so at most 0.8 % too large.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    counts: BTreeMap<u32, u64>,
    total: u64,
    max: u64,
}

fn bucket(value: u64) -> u32 {
    let bits = u64::BITS - value.leading_zeros();
    let shift = bits.saturating_sub(BITS + 1);
    (shift << (BITS + 1)) + u32::try_from(value >> shift).unwrap_or(0)
}

fn upper_edge(bucket: u32) -> u64 {
    let shift = bucket >> (BITS + 1);
    let mantissa = u64::from(bucket & ((1 << (BITS + 1)) - 1));
    (u128::from(mantissa + 1) << shift).saturating_sub(1).try_into().unwrap_or(u64::MAX)
}

impl Histogram {
    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        *self.counts.entry(bucket(value)).or_default() += 1;
        self.total += 1;
        self.max = self.max.max(value);
    }

    /// Adds the counts of another histogram.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.counts {
            *self.counts.entry(*bucket).or_default() += count;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// How many values were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The largest value, exactly.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        (self.total > 0).then_some(self.max)
    }

    /// The value that a share of all values (0 to 1) does not exceed.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let rank = ((share * self.total as f64).ceil() as u64).max(1);
        let mut passed = 0;
        for (bucket, count) in &self.counts {
            passed += count;
            if passed >= rank {
                return Some(upper_edge(*bucket).min(self.max));
            }
        }
        None
    }

    /// The Kolmogorov-Smirnov distance of two sets of values: the largest difference of their cumulated shares.
    #[must_use]
    pub fn distance(&self, other: &Self) -> Option<f64> {
        if self.total == 0 || other.total == 0 {
            return None;
        }
        let buckets: std::collections::BTreeSet<u32> = self.counts.keys().chain(other.counts.keys()).copied().collect();
        let (mut left, mut right, mut widest) = (0, 0, 0.0f64);
        for bucket in buckets {
            left += self.counts.get(&bucket).unwrap_or(&0);
            right += other.counts.get(&bucket).unwrap_or(&0);
            widest = widest.max((left as f64 / self.total as f64 - right as f64 / other.total as f64).abs());
        }
        Some(widest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_one_percent_and_the_maximum_is_exact() {
        let mut histogram = Histogram::default();
        (1..=100_000u64).for_each(|value| histogram.record(value * 1000));
        for (share, exact) in [(0.5, 5e7), (0.99, 9.9e7), (0.001, 1e5)] {
            let found = histogram.quantile(share).unwrap() as f64;
            assert!(found >= exact && found < exact * 1.009, "{share}: {found}");
        }
        assert_eq!(histogram.max(), Some(100_000_000));
        assert_eq!(Histogram::default().quantile(0.5), None);
        histogram.record(u64::MAX);
        assert_eq!(histogram.quantile(1.0), Some(u64::MAX));
    }

    #[test]
    fn the_distance_of_equal_sets_is_0_and_of_disjoint_ones_1() {
        let (mut low, mut high, mut both) = (Histogram::default(), Histogram::default(), Histogram::default());
        low.record(10);
        high.record(1_000_000);
        both.merge(&low);
        both.merge(&high);
        assert_eq!(low.distance(&low), Some(0.0));
        assert_eq!(low.distance(&high), Some(1.0));
        assert_eq!(low.distance(&both), Some(0.5));
        assert_eq!(low.distance(&Histogram::default()), None);
    }
}
