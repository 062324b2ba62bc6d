//! Statistics of durations in a report: percentiles by nearest rank ([`dlio_event::percentile`]), and distributions.

use dlio_event::Histogram;
use dlio_event::histogram::bucket;
use dlio_event::percentile::{P50, P90, P99, P999, P9999};
use serde::{Deserialize, Serialize};

use crate::bucket_values::{Values, percentile};

/// Latency statistics of a group of operations, nanoseconds.
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
    /// Returns the percentiles of a histogram: exact where `values` has their buckets.
    pub(crate) fn of(histogram: &Histogram, values: &mut Values) -> Self {
        let mut at = |parts: u64| percentile(histogram, parts, values);
        Self {
            count: histogram.count(),
            mean_ns: histogram.mean(),
            p50_ns: at(P50),
            p90_ns: at(P90),
            p99_ns: at(P99),
            p999_ns: at(P999),
            p9999_ns: at(P9999),
            max_ns: histogram.max().unwrap_or(0),
        }
    }
}

/// Histogram whose bucket bounds grow by the square root of two, and a percentile curve.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Distribution {
    /// Upper bound of each bucket, nanoseconds.
    pub bounds_ns: Vec<u64>,
    /// Number of values in each bucket.
    pub counts: Vec<u64>,
    /// Points of the percentile curve (per mille, nanoseconds), ascending.
    pub curve: Vec<(u32, u64)>,
}

impl Distribution {
    /// Returns the distribution of a histogram. The points of the curve are exact where `values` has their buckets, so that the
    /// curve goes through the percentiles of [`Latency`].
    pub(crate) fn of(histogram: &Histogram, values: &mut Values) -> Self {
        let mut result = Self::default();
        let (Some(first), Some(max)) = (histogram.counts().iter().position(|count| *count > 0), histogram.max()) else {
            return result;
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to 2⁶³")]
        let half = |at: u32| (f64::from(at) / 2.0).exp2().round() as u64;
        let start = (0..126).find(|at| bucket(half(at + 1)) > first).unwrap_or(0);
        let mut from = bucket(half(start));
        let all = histogram.counts();
        for at in start + 1..127 {
            let upto = bucket(half(at));
            let counts = all.get(from.min(all.len())..upto.min(all.len()));
            result.bounds_ns.push(half(at) - 1);
            result.counts.push(counts.unwrap_or_default().iter().sum());
            from = upto;
            if half(at) > max {
                break;
            }
        }
        let steps = (0..=90).step_by(5).chain([92, 94, 96, 98]).map(|percent| percent * 10);
        let points = steps.chain([985, 990, 993, 996, 998, 999, 1000]);
        let mut value =
            |mille: u32| if mille == 1000 { max } else { percentile(histogram, u64::from(mille) * 10, values) };
        result.curve = points.map(|mille: u32| (mille, value(mille))).collect();
        result
    }
}

#[cfg(test)]
mod tests {
    use dlio_event::histogram::RELATIVE_ERROR;
    use dlio_event::percentile::nearest_rank;
    use proptest::prelude::*;

    use super::*;
    use crate::bucket_values::percentile_buckets;

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        for value in values {
            histogram.record(*value);
        }
        histogram
    }

    /// Applies the definition of a percentile literally.
    fn naive(values: &[u64], parts: u64) -> u64 {
        let mut candidates = values.to_vec();
        candidates.sort_unstable();
        let enough = |value: u64| {
            let not_above = values.iter().filter(|other| **other <= value).count() as u64;
            not_above * 10_000 >= parts * values.len() as u64
        };
        candidates.into_iter().find(|value| enough(*value)).unwrap_or(0)
    }

    proptest! {
        #[test]
        fn percentiles_follow_their_definition(mut values in proptest::collection::vec(0_u64..200, 0..120)) {
            let latency = Latency::of(&of(&values), &mut Values::default());
            for (found, parts) in [(latency.p50_ns, P50), (latency.p90_ns, P90), (latency.p99_ns, P99), (latency.p999_ns, P999)] {
                prop_assert_eq!(found, naive(&values, parts));
                values.sort_unstable();
                prop_assert_eq!(found, nearest_rank(&values, parts).unwrap_or(0));
            }
            prop_assert_eq!(latency.max_ns, values.iter().copied().max().unwrap_or(0));
        }

        #[test]
        fn percentiles_are_within_their_error_and_exact_with_the_values_of_their_buckets(
            values in proptest::collection::vec(0_u64..50_000_000, 1..400), split in 0_usize..400,
        ) {
            let (one, other) = values.split_at(split.min(values.len()));
            let mut merged = of(one);
            merged.merge(&of(other));
            prop_assert_eq!(&merged, &of(&values));
            let mut buckets = Vec::new();
            percentile_buckets(&merged, &mut buckets);
            let mut kept = Values::default();
            for value in &values {
                if buckets.contains(&bucket(*value)) {
                    kept.take(bucket(*value), *value);
                }
            }
            let found = Latency::of(&merged, &mut kept);
            for (found, parts) in [(found.p50_ns, P50), (found.p90_ns, P90), (found.p99_ns, P99), (found.p999_ns, P999), (found.p9999_ns, P9999)] {
                prop_assert_eq!(found, naive(&values, parts));
            }
            let curve = Distribution::of(&merged, &mut kept).curve;
            prop_assert!(curve.is_sorted_by_key(|point| point.1));
            for (mille, expected) in [(500, found.p50_ns), (900, found.p90_ns), (990, found.p99_ns), (999, found.p999_ns), (1000, found.max_ns)] {
                let point = curve.iter().find(|point| point.0 == mille);
                prop_assert_eq!(point, Some(&(mille, expected)));
            }
            let about = Latency::of(&merged, &mut Values::default());
            for (about, exact) in [(about.p50_ns, found.p50_ns), (about.p99_ns, found.p99_ns), (about.p9999_ns, found.p9999_ns)] {
                prop_assert!((about as f64 - exact as f64).abs() <= RELATIVE_ERROR * exact as f64 + 0.5);
            }
            let text = serde_json::to_string(&merged).unwrap();
            prop_assert_eq!(serde_json::from_str::<Histogram>(&text).unwrap(), merged);
        }

        #[test]
        fn a_distribution_loses_no_value(values in proptest::collection::vec(0_u64..u64::MAX / 4, 1..200)) {
            let shown = Distribution::of(&of(&values), &mut Values::default());
            prop_assert_eq!(shown.counts.iter().sum::<u64>(), values.len() as u64);
            prop_assert!(shown.bounds_ns.is_sorted());
            prop_assert!(shown.bounds_ns.last() >= values.iter().max());
        }
    }
}
