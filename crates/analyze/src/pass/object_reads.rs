//! Durations of the reads of each object, if rows are not retained: counts by object and histogram bucket, so that slow
//! reads can be determined once all reads are known.

use dlio_event::histogram::bucket;
use serde::{Deserialize, Serialize};

use super::objects::{Locator, Map, SamplingRate, add_counts};

/// Number of bits for the bucket in a key.
const BUCKET: u32 = 16;

/// Durations of reads that ended well.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ObjectReads {
    /// Location of the first read, and number of reads, by the lower half of the object's hash and the bucket.
    counts: Map<u64, (Locator, u64)>,
    sampling: SamplingRate,
}

/// Reads of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ObjectReadCounts {
    pub(crate) object: u32,
    /// Location of its name.
    pub(crate) at: Locator,
    pub(crate) all: u64,
    pub(crate) slow: u64,
}

fn includes(rate: SamplingRate, key: u64) -> bool {
    rate.includes(key >> BUCKET)
}

impl ObjectReads {
    /// Adds a read of an object; lowers the sampling rate if there are more than `most` counts.
    #[inline(never)]
    pub(crate) fn add(&mut self, object: u64, nanos: u64, at: Locator, most: usize) {
        let key = (object & u64::from(u32::MAX)) << BUCKET | bucket(nanos) as u64;
        if !includes(self.sampling, key) {
            return;
        }
        self.counts.entry(key).or_insert((at, 0)).1 += 1;
        while self.counts.len() > most {
            self.sampling.halve();
            let rate = self.sampling;
            self.counts.retain(|key, _| includes(rate, *key));
        }
    }

    /// Returns the sampling rate of objects.
    pub(crate) fn sampling(&self) -> SamplingRate {
        self.sampling
    }

    pub(crate) fn merge(&mut self, mut other: Self) {
        if self.counts.len() < other.counts.len() {
            std::mem::swap(self, &mut other);
        }
        let rate = self.sampling.max(other.sampling);
        if rate > self.sampling {
            self.sampling = rate;
            self.counts.retain(|key, _| includes(rate, *key));
        }
        add_counts(&mut self.counts, other.counts.into_iter().filter(|(key, _)| includes(rate, *key)));
    }

    /// Returns the objects with reads in buckets above the given one, in the order of their hashes.
    pub(crate) fn slow(&self, above: usize) -> Vec<ObjectReadCounts> {
        let mut list: Vec<(u64, Locator, u64)> =
            self.counts.iter().map(|(key, (at, count))| (*key, *at, *count)).collect();
        list.sort_unstable();
        let mut objects: Vec<ObjectReadCounts> = Vec::new();
        for (key, at, count) in list {
            let object = u32::try_from(key >> BUCKET).unwrap_or(u32::MAX);
            let slow = if key & ((1 << BUCKET) - 1) > above as u64 { count } else { 0 };
            match objects.last_mut().filter(|last| last.object == object) {
                Some(known) => {
                    *known = ObjectReadCounts {
                        at: known.at.min(at),
                        all: known.all + count,
                        slow: known.slow + slow,
                        ..*known
                    }
                }
                None => objects.push(ObjectReadCounts { object, at, all: count, slow }),
            }
        }
        objects.retain(|reads| reads.slow > 0);
        objects
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(row: u32) -> Locator {
        Locator { trace: 0, group: 0, row }
    }

    #[test]
    fn slow_reads_are_told_apart_when_all_are_known_whoever_counted_them() {
        let (mut one, mut other) = (ObjectReads::default(), ObjectReads::default());
        for row in 0..100 {
            let reads = if row % 3 == 0 { &mut one } else { &mut other };
            let nanos = if row % 10 == 7 { 5_000_000 } else { 1_000 + u64::from(row) };
            reads.add(1 << 40 | u64::from(row % 10), nanos, at(row), 1_000);
        }
        one.merge(other);
        let slow = one.slow(bucket(1_000_000));
        assert_eq!(slow, [ObjectReadCounts { object: 7, at: at(7), all: 10, slow: 10 }]);
        assert_eq!(one.slow(bucket(10)).len(), 10);
    }

    #[test]
    fn of_too_many_objects_some_are_followed_the_same_ones_in_every_rank() {
        let ranks = [3_000_u64, 40_000].map(|objects| {
            let mut reads = ObjectReads::default();
            for object in 0..objects {
                reads.add(object, 7, at(0), 2_000);
                reads.add(object, 1 << 30, at(1), 2_000);
            }
            assert!(reads.counts.len() <= 2_000 && !reads.sampling.all());
            reads
        });
        let sampling = ranks[1].sampling;
        let [mut few, many] = ranks;
        few.merge(many);
        let slow = few.slow(bucket(1_000));
        assert_eq!(few.sampling(), sampling);
        assert!(slow.iter().all(|reads| sampling.includes(u64::from(reads.object)) && reads.all == 2 * reads.slow));
        assert!(slow.iter().any(|reads| reads.slow == 2) && slow.iter().any(|reads| reads.slow == 1), "{slow:?}");
    }
}
