//! Percentiles by nearest rank, and what the report says of a group of durations.

use serde::{Deserialize, Serialize};

/// Latencies of one group of operations, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Number of values.
    pub count: u64,
    /// Mean.
    pub mean_ns: f64,
    /// Median.
    pub p50_ns: u64,
    /// 90th percentile.
    pub p90_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// 99.9th percentile.
    pub p999_ns: u64,
    /// 99.99th percentile.
    #[serde(default)]
    pub p9999_ns: u64,
    /// Largest value.
    pub max_ns: u64,
}

impl Latency {
    /// Sorts the values and takes the percentiles by nearest rank.
    #[must_use]
    pub fn of(values: &mut [u64]) -> Self {
        values.sort_unstable();
        Self::of_sorted(values)
    }

    /// The same for values in ascending order.
    #[must_use]
    pub fn of_sorted(sorted: &[u64]) -> Self {
        let total: u128 = sorted.iter().map(|value| u128::from(*value)).sum();
        Self {
            count: sorted.len() as u64,
            mean_ns: if sorted.is_empty() { 0.0 } else { total as f64 / sorted.len() as f64 },
            p50_ns: nearest_rank(sorted, 500),
            p90_ns: nearest_rank(sorted, 900),
            p99_ns: nearest_rank(sorted, 990),
            p999_ns: nearest_rank(sorted, 999),
            p9999_ns: of_ten_thousand(sorted, 9_999),
            max_ns: sorted.last().copied().unwrap_or(0),
        }
    }
}

/// The smallest value that at least `per_mille` thousandths of the values do not exceed; 0 for an empty list.
#[must_use]
pub fn nearest_rank(sorted: &[u64], per_mille: usize) -> u64 {
    of_ten_thousand(sorted, per_mille * 10)
}

fn of_ten_thousand(sorted: &[u64], parts: usize) -> u64 {
    let rank = (sorted.len() * parts).div_ceil(10_000);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

/// How many values fall between successive bounds that grow by the square root of two, and a percentile curve.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Distribution {
    /// Upper bound of each bucket, nanoseconds.
    pub bounds_ns: Vec<u64>,
    /// Values in each bucket.
    pub counts: Vec<u64>,
    /// (per mille, nanoseconds), ascending.
    pub curve: Vec<(u32, u64)>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, taken literally.
    fn naive(values: &[u64], per_mille: usize) -> u64 {
        let mut candidates = values.to_vec();
        candidates.sort_unstable();
        let enough = |value: u64| {
            let not_above = values.iter().filter(|other| **other <= value).count();
            not_above * 1_000 >= per_mille * values.len()
        };
        candidates.into_iter().find(|value| enough(*value)).unwrap_or(0)
    }

    proptest! {
        #[test]
        fn percentiles_follow_their_definition(mut values in proptest::collection::vec(0_u64..200, 0..120)) {
            let original = values.clone();
            let latency = Latency::of(&mut values);
            prop_assert_eq!(latency.p50_ns, naive(&original, 500));
            prop_assert_eq!(latency.p90_ns, naive(&original, 900));
            prop_assert_eq!(latency.p99_ns, naive(&original, 990));
            prop_assert_eq!(latency.p999_ns, naive(&original, 999));
            prop_assert_eq!(latency.max_ns, original.iter().copied().max().unwrap_or(0));
        }
    }
}
