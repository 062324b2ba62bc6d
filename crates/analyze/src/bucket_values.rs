//! The values of a few histogram buckets, which make the percentiles in those buckets exact.
//!
//! Percentiles of many files come from the sum of their histograms. Where all rows were retained, a second look at the values in
//! the buckets that percentiles fall into makes them exact.

use dlio_event::Histogram;
use dlio_event::histogram::bounds;
use dlio_event::percentile::{P50, P90, P95, P99, P999, P9999};
use serde::{Deserialize, Serialize};

/// Percentiles that are made exact, in parts of ten thousand.
const EXACT: [u64; 6] = [P50, P90, P95, P99, P999, P9999];

/// Replaces `buckets` by those in which percentiles fall and whose values differ, in ascending order.
pub(crate) fn percentile_buckets(histogram: &Histogram, buckets: &mut Vec<usize>) {
    buckets.clear();
    let positions = EXACT.iter().filter_map(|parts| histogram.position(*parts));
    buckets.extend(positions.map(|(bucket, _)| bucket).filter(|bucket| bounds(*bucket).1 > 1));
    buckets.sort_unstable();
    buckets.dedup();
}

/// Returns a percentile, exact where `values` has its bucket and otherwise as the histogram has it; 0 without values.
pub(crate) fn percentile(histogram: &Histogram, parts: u64, values: &mut Values) -> u64 {
    let Some((bucket, rank)) = histogram.position(parts) else { return 0 };
    values.select(bucket, rank - 1).unwrap_or_else(|| histogram.representative(bucket))
}

/// Values of selected buckets, by bucket number.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Values(Vec<(u32, BucketValues)>);

/// Values of one bucket, stored as differences from its lowest value.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct BucketValues {
    list: Vec<u32>,
    /// Number of occurrences of each value. It replaces the list once that is longer than this array, so that repeated
    /// values need no more memory.
    counts: Vec<u32>,
    /// Differences that do not fit into 32 bits.
    long: Vec<u64>,
}

impl BucketValues {
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

    /// Returns the value at a position (from 0) in ascending order.
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
    /// Adds a value of a bucket.
    pub(crate) fn take(&mut self, bucket: usize, value: u64) {
        self.slot(u32::try_from(bucket).unwrap_or(u32::MAX)).push(bounds(bucket), value);
    }

    /// The number of buckets is at most the number of percentiles, so a linear search is fast.
    fn slot(&mut self, bucket: u32) -> &mut BucketValues {
        let at = self.0.iter().position(|(known, _)| *known == bucket).unwrap_or_else(|| {
            self.0.push((bucket, BucketValues::default()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (bucket, values) in other.0 {
            self.slot(bucket).merge(bounds(bucket as usize), values);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn select(&mut self, bucket: usize, at: u64) -> Option<u64> {
        let number = u32::try_from(bucket).ok()?;
        let (_, values) = self.0.iter_mut().find(|(known, _)| *known == number)?;
        values.select(bounds(bucket), at)
    }
}
