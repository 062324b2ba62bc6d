//! Histograms that can be merged, and exact percentiles from them.
//!
//! Values below 256 have a bucket each; above, every octave has 128 buckets, so that a bucket's middle is within
//! [`RELATIVE_ERROR`] of each of its values. Percentiles of many files come from the sum of their histograms. Where all
//! values were kept, a second look at those in the buckets that percentiles fall into makes them exact.

use serde::{Deserialize, Serialize};

use crate::percentile::{Distribution, Latency};

/// Buckets per octave, as a power of two.
const BITS: u32 = 7;
/// The largest error of a percentile that comes from a histogram alone.
pub(crate) const RELATIVE_ERROR: f64 = 1.0 / 256.0;
/// Percentiles of [`Latency`], in parts of ten thousand.
const QUANTILES: [u64; 5] = [5_000, 9_000, 9_900, 9_990, 9_999];

/// The bucket of a value.
pub(crate) fn bucket(value: u64) -> usize {
    let exponent = (value | 1).ilog2();
    let shift = exponent.saturating_sub(BITS);
    // Both are small: at most 57 octaves of 128 buckets, and a value below 256.
    ((shift as usize) << BITS) + usize::try_from(value >> shift).unwrap_or(0)
}

/// The lowest value of a bucket, and how many values it has.
fn bounds(bucket: usize) -> (u64, u64) {
    let octave = u32::try_from(bucket >> BITS).unwrap_or(0);
    let Some(shift) = octave.checked_sub(1) else { return (bucket as u64, 1) };
    let mantissa = (bucket & ((1 << BITS) - 1)) as u64 + (1 << BITS);
    (mantissa << shift, 1 << shift)
}

/// The lowest value of a bucket.
pub(crate) fn lowest(bucket: usize) -> u64 {
    bounds(bucket).0
}

/// How many values fell into which bucket.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Sparse", into = "Sparse")]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    pub(crate) count: u64,
    sum: u128,
    max: u64,
}

/// What travels between processes.
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
    fn slot(&mut self, bucket: usize) -> &mut u64 {
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        &mut self.counts[bucket]
    }

    pub(crate) fn add(&mut self, value: u64) {
        *self.slot(bucket(value)) += 1;
        self.count += 1;
        self.sum += u128::from(value);
        self.max = self.max.max(value);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
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

    /// Values in buckets above that of `limit`.
    pub(crate) fn above(&self, limit: u64) -> u64 {
        self.counts.iter().skip(bucket(limit) + 1).sum()
    }

    pub(crate) fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 }
    }

    /// The bucket that holds the smallest value that `parts` of ten thousand values do not exceed, and which of the
    /// bucket's values it is, from 1.
    fn place(&self, parts: u64) -> Option<(usize, u64)> {
        let wanted = u128::from(self.count) * u128::from(parts);
        let rank = u64::try_from(wanted.div_ceil(10_000)).unwrap_or(u64::MAX).max(1);
        let mut below = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            if below + count >= rank {
                return Some((bucket, rank - below));
            }
            below += count;
        }
        None
    }

    /// A percentile, as well as the histogram knows it.
    pub(crate) fn about(&self, parts: u64) -> u64 {
        let Some((bucket, _)) = self.place(parts) else { return 0 };
        let (low, width) = bounds(bucket);
        (low + width / 2).min(self.max)
    }

    /// Buckets in which percentiles fall and whose values differ.
    pub(crate) fn wanted(&self, buckets: &mut Vec<usize>) {
        buckets.clear();
        let places = QUANTILES.iter().chain([&9_500]).filter_map(|parts| self.place(*parts));
        buckets.extend(places.map(|(bucket, _)| bucket).filter(|bucket| bounds(*bucket).1 > 1));
        buckets.sort_unstable();
        buckets.dedup();
    }

    /// Percentiles: exact where `kept` holds the values of their buckets.
    pub(crate) fn latency(&self, kept: &mut Values) -> Latency {
        let [p50, p90, p99, p999, p9999] = QUANTILES.map(|parts| self.exact(parts, kept));
        Latency {
            count: self.count,
            mean_ns: self.mean(),
            p50_ns: p50,
            p90_ns: p90,
            p99_ns: p99,
            p999_ns: p999,
            p9999_ns: p9999,
            max_ns: self.max,
        }
    }

    /// A percentile, exact where `kept` holds the values of its bucket.
    pub(crate) fn exact(&self, parts: u64, kept: &mut Values) -> u64 {
        let Some((bucket, rank)) = self.place(parts) else { return 0 };
        kept.select(bucket, rank - 1).unwrap_or_else(|| self.about(parts))
    }

    /// Counts in buckets that grow by the square root of two, and a percentile curve, both from the histogram.
    pub(crate) fn distribution(&self) -> Distribution {
        let mut result = Distribution::default();
        let Some(first) = self.counts.iter().position(|count| *count > 0) else { return result };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to 2⁶³")]
        let half = |at: u32| (f64::from(at) / 2.0).exp2().round() as u64;
        let start = (0..126).find(|at| bucket(half(at + 1)) > first).unwrap_or(0);
        let mut from = bucket(half(start));
        for at in start + 1..127 {
            let upto = bucket(half(at));
            let counts = self.counts.get(from.min(self.counts.len())..upto.min(self.counts.len()));
            result.bounds_ns.push(half(at) - 1);
            result.counts.push(counts.unwrap_or_default().iter().sum());
            from = upto;
            if half(at) > self.max {
                break;
            }
        }
        let steps = (0..=90).step_by(5).chain([92, 94, 96, 98]).map(|percent| percent * 10);
        let points = steps.chain([985, 990, 993, 996, 998, 999, 1000]);
        let value = |mille: u32| if mille == 1000 { self.max } else { self.about(u64::from(mille) * 10) };
        result.curve = points.map(|mille: u32| (mille, value(mille))).collect();
        result
    }

    /// How often a value of `self` is larger than one of `other`, ties counting half (0.5: no difference), and by how many
    /// standard deviations that differs from chance: the rank-sum test of Mann and Whitney.
    pub(crate) fn larger_than(&self, other: &Self) -> (f64, f64) {
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

/// Values of some buckets.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Values(Vec<(u32, Bucketful)>);

/// The values of one bucket, less its lowest one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Bucketful {
    list: Vec<u32>,
    /// How many of each value, once the list is longer than this one: values that are alike need no more memory.
    counts: Vec<u32>,
    /// What a list cannot hold.
    long: Vec<u64>,
}

impl Bucketful {
    fn push(&mut self, (low, width): (u64, u64), value: u64) {
        let Ok(offset) = u32::try_from(value - low) else {
            self.long.push(value - low);
            return;
        };
        if !self.counts.is_empty() {
            self.counts[offset as usize] += 1;
            return;
        }
        self.list.push(offset);
        if self.list.len() as u64 > width.max(1 << 10) {
            self.counts = vec![0; usize::try_from(width).unwrap_or(0)];
            for offset in std::mem::take(&mut self.list) {
                self.counts[offset as usize] += 1;
            }
        }
    }

    fn merge(&mut self, bounds: (u64, u64), other: Self) {
        for (count, offset) in other.counts.iter().zip(0_u64..) {
            if *count > 0 && !self.counts.is_empty() {
                self.counts[usize::try_from(offset).unwrap_or(0)] += count;
            } else {
                (0..*count).for_each(|_| self.push(bounds, bounds.0 + offset));
            }
        }
        if self.counts.is_empty() && (self.list.len() + other.list.len()) as u64 <= bounds.1.max(1 << 10) {
            self.list.extend(other.list);
        } else {
            other.list.into_iter().for_each(|offset| self.push(bounds, bounds.0 + u64::from(offset)));
        }
        self.long.extend(other.long);
    }

    /// The value that this many others do not exceed.
    fn select(&mut self, (low, _): (u64, u64), at: u64) -> Option<u64> {
        let mut before = 0;
        for (count, offset) in self.counts.iter().zip(low..) {
            before += u64::from(*count);
            if before > at {
                return Some(offset);
            }
        }
        let at = usize::try_from(at - before).ok()?;
        if at < self.list.len() {
            return Some(low + u64::from(*self.list.select_nth_unstable(at).1));
        }
        let at = at - self.list.len();
        (at < self.long.len()).then(|| low + *self.long.select_nth_unstable(at).1)
    }
}

impl Values {
    /// Takes note of a value of a bucket.
    pub(crate) fn take(&mut self, bucket: usize, value: u64) {
        self.slot(u32::try_from(bucket).unwrap_or(u32::MAX)).push(bounds(bucket), value);
    }

    /// There are as many as percentiles at most.
    fn slot(&mut self, bucket: u32) -> &mut Bucketful {
        let at = self.0.iter().position(|(known, _)| *known == bucket).unwrap_or_else(|| {
            self.0.push((bucket, Bucketful::default()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (bucket, values) in other.0 {
            self.slot(bucket).merge(bounds(bucket as usize), values);
        }
    }

    fn select(&mut self, bucket: usize, at: u64) -> Option<u64> {
        let number = u32::try_from(bucket).ok()?;
        let (_, values) = self.0.iter_mut().find(|(known, _)| *known == number)?;
        values.select(bounds(bucket), at)
    }
}

/// A duration as a whole, and its parts where they were measured.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Times {
    /// Start to end.
    pub(crate) whole: Histogram,
    /// Start to first byte.
    pub(crate) first_byte: Histogram,
    /// First byte to end.
    pub(crate) transfer: Histogram,
}

/// No first byte.
pub(crate) const UNKNOWN: u64 = u64::MAX;

impl Times {
    /// `first_byte` is [`UNKNOWN`] where it was not measured.
    pub(crate) fn add(&mut self, whole: u64, first_byte: u64) {
        self.whole.add(whole);
        if first_byte != UNKNOWN {
            self.first_byte.add(first_byte);
            self.transfer.add(whole.saturating_sub(first_byte));
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.whole.merge(&other.whole);
        self.first_byte.merge(&other.first_byte);
        self.transfer.merge(&other.transfer);
    }

    pub(crate) fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::default();
        self.whole.wanted(&mut wanted.whole);
        self.first_byte.wanted(&mut wanted.first_byte);
        self.transfer.wanted(&mut wanted.transfer);
        wanted
    }

    /// Percentiles of the whole, of the first byte and of the transfer.
    pub(crate) fn latencies(&self, kept: &mut Found) -> (Latency, Option<Latency>, Option<Latency>) {
        let part = |histogram: &Histogram, kept: &mut Values| (histogram.count > 0).then(|| histogram.latency(kept));
        (
            self.whole.latency(&mut kept.whole),
            part(&self.first_byte, &mut kept.first_byte),
            part(&self.transfer, &mut kept.transfer),
        )
    }
}

/// Buckets of [`Times`] that percentiles fall into.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) whole: Vec<usize>,
    pub(crate) first_byte: Vec<usize>,
    pub(crate) transfer: Vec<usize>,
}

/// Values of those buckets.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) whole: Values,
    pub(crate) first_byte: Values,
    pub(crate) transfer: Values,
}

impl Found {
    pub(crate) fn is_empty(&self) -> bool {
        self.whole.0.is_empty() && self.first_byte.0.is_empty() && self.transfer.0.is_empty()
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.whole.merge(other.whole);
        self.first_byte.merge(other.first_byte);
        self.transfer.merge(other.transfer);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        let mut end = 0;
        for at in 0..7_000 {
            let (low, width) = bounds(at);
            assert_eq!((low, bucket(low), bucket(low + width - 1)), (end, at, at));
            end = low + width;
        }
    }

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        for value in values {
            histogram.add(*value);
        }
        histogram
    }

    proptest! {
        #[test]
        fn percentiles_are_within_their_error_and_exact_with_the_values_of_their_buckets(
            values in proptest::collection::vec(0_u64..50_000_000, 1..400), split in 0_usize..400,
        ) {
            let (one, other) = values.split_at(split.min(values.len()));
            let mut merged = of(one);
            merged.merge(&of(other));
            prop_assert_eq!(&merged, &of(&values));
            let mut wanted = Vec::new();
            merged.wanted(&mut wanted);
            let mut kept = Values::default();
            for value in &values {
                if wanted.contains(&bucket(*value)) {
                    kept.take(bucket(*value), *value);
                }
            }
            let expected = Latency::of(&mut values.clone());
            let found = merged.latency(&mut kept);
            prop_assert_eq!(found, expected);
            let about = merged.latency(&mut Values::default());
            for (about, exact) in [(about.p50_ns, found.p50_ns), (about.p99_ns, found.p99_ns), (about.p9999_ns, found.p9999_ns)] {
                prop_assert!((about as f64 - exact as f64).abs() <= RELATIVE_ERROR * exact as f64 + 0.5);
            }
            let text = serde_json::to_string(&merged).unwrap();
            prop_assert_eq!(serde_json::from_str::<Histogram>(&text).unwrap(), merged);
        }

        #[test]
        fn a_distribution_loses_no_value(values in proptest::collection::vec(0_u64..u64::MAX / 4, 1..200)) {
            let shown = of(&values).distribution();
            prop_assert_eq!(shown.counts.iter().sum::<u64>(), values.len() as u64);
            prop_assert!(shown.bounds_ns.is_sorted());
            prop_assert!(shown.bounds_ns.last() >= values.iter().max());
        }
    }

    #[test]
    fn the_rank_sum_test_tells_a_shift_from_chance() {
        let values = |base: u64| (0..200).map(|at| base + at * 7_919 % 1_000_000).collect::<Vec<u64>>();
        let (share, deviations) = of(&values(2_000_000)).larger_than(&of(&values(1_000_000)));
        assert!(share > 0.99 && deviations > 15.0);
        let (share, deviations) = of(&values(1_000_000)).larger_than(&of(&values(1_000_000)));
        assert!((share - 0.5).abs() < 0.01 && deviations.abs() < 0.5);
    }
}
