//! The objects of a run: known by a hash of their name, so that ten million names need no memory, with the ranges that were
//! read of each. A name is looked up in its trace when a report needs it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// The hash of no object.
pub(crate) const NO_OBJECT: u64 = 0;
/// Ranges that are kept as they come before they are joined.
const LOG: usize = 1 << 18;

/// Where a name can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Locator {
    /// Trace, in the order of all traces.
    pub(crate) trace: u32,
    pub(crate) group: u32,
    pub(crate) row: u32,
}

/// The hash of a name: the same in every process.
pub(crate) fn hash(name: &str) -> u64 {
    const FACTOR: u64 = 0x9fb2_1c65_1e98_df25;
    let bytes = name.as_bytes();
    let mix = |state: u64, word: u64| {
        let mixed = (state ^ word).wrapping_mul(FACTOR);
        mixed ^ (mixed >> 29)
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let mut state = words.iter().fold(bytes.len() as u64, |state, word| mix(state, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    state = mix(mix(state, u64::from_le_bytes(last)), FACTOR);
    (state ^ (state >> 32)).wrapping_mul(FACTOR).max(NO_OBJECT + 1)
}

/// For keys that are numbers of ours: mixed well enough by one multiplication.
#[derive(Default)]
pub(crate) struct Mixing(u64);

impl Hasher for Mixing {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }
}

/// A map with cheap hashing.
pub(crate) type Map<K, V> = HashMap<K, V, BuildHasherDefault<Mixing>>;

/// A range that was read: hash of the object, start and end.
pub(crate) type Range = (u64, u64, u64);

/// The ranges that one rank read: sorted and disjoint, but for the newest. Sorting in large pieces is several times as fast
/// as looking up each object.
#[derive(Debug, Default)]
pub(crate) struct ReadRanges {
    joined: Vec<Range>,
    log: Vec<Range>,
}

impl ReadRanges {
    pub(crate) fn read(&mut self, object: u64, start: u64, end: u64) {
        self.log.push((object, start, end));
        if self.log.len() >= LOG.max(self.joined.len()) {
            self.join();
        }
    }

    fn join(&mut self) {
        self.log.sort_unstable();
        self.joined = union(&self.joined, &self.log);
        self.log.clear();
    }
}

/// The ranges that all ranks of one process read.
#[derive(Debug, Default)]
pub(crate) struct AllRanges(Mutex<Vec<Range>>);

impl AllRanges {
    /// Adds those of a rank that is done with.
    pub(crate) fn add(&self, mut rank: ReadRanges) {
        rank.join();
        rank.log = Vec::new();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *all = if all.is_empty() { rank.joined } else { union(&all, &rank.joined) };
    }

    pub(crate) fn take(self) -> Vec<Range> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Joins two sorted lists; the result is sorted and disjoint.
fn union(one: &[Range], other: &[Range]) -> Vec<Range> {
    let mut joined: Vec<Range> = Vec::with_capacity(one.len().max(other.len()));
    let (mut first, mut second) = (one.iter().peekable(), other.iter().peekable());
    loop {
        let next = match (first.peek(), second.peek()) {
            (Some(left), Some(right)) if left <= right => first.next(),
            (_, Some(_)) => second.next(),
            (Some(_), None) => first.next(),
            (None, None) => return joined,
        };
        let Some(range) = next else { return joined };
        match joined.last_mut() {
            Some(last) if last.0 == range.0 && range.1 <= last.2 => last.2 = last.2.max(range.2),
            _ => joined.push(*range),
        }
    }
}

/// Bytes in the union of the ranges of several processes.
pub(crate) fn different_bytes(mut all: Vec<Range>) -> u64 {
    all.sort_unstable();
    union(&all, &[]).iter().map(|(_, start, end)| end - start).sum()
}

/// Where the lanes of a rank read last: of each, the last objects and where the read ended.
#[derive(Debug, Default)]
pub(crate) struct LastReads {
    lanes: Vec<LaneReads>,
}

/// The last objects of a lane, where the read of each ended, and which of them is replaced next.
#[derive(Debug)]
struct LaneReads {
    lane: u16,
    last: [(u64, u64); 8],
    next: usize,
}

impl LastReads {
    /// Whether the read continues the lane's last one of the object; `None` if the object is none of its last eight.
    pub(crate) fn read(&mut self, lane: u16, object: u64, start: u64, end: u64) -> Option<bool> {
        let at = self.lanes.iter().position(|known| known.lane == lane).unwrap_or_else(|| {
            self.lanes.push(LaneReads { lane, last: [(NO_OBJECT, 0); 8], next: 0 });
            self.lanes.len() - 1
        });
        let LaneReads { last, next, .. } = &mut self.lanes[at];
        if let Some((_, before)) = last.iter_mut().find(|(known, _)| *known == object) {
            let continues = *before == start;
            *before = end;
            return Some(continues);
        }
        last[*next] = (object, end);
        *next = (*next + 1) % last.len();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_were_read_twice_count_once() {
        let (one, other) = (hash("a"), hash("b"));
        assert!(one != other && one == hash("a") && hash("") != NO_OBJECT && hash("12345678") != hash("1234567"));
        let all = AllRanges::default();
        for _ in 0..2 {
            let mut ranges = ReadRanges::default();
            for (start, end) in [(0, 10), (20, 30), (25, 40), (8, 12), (50, 60), (45, 50)] {
                ranges.read(one, start, end);
            }
            ranges.read(other, 5, 6);
            all.add(ranges);
        }
        let ranges = all.take();
        assert_eq!(ranges.len(), 4);
        assert_eq!(different_bytes([ranges.clone(), ranges].concat()), 12 + 20 + 15 + 1);
    }

    #[test]
    fn a_read_continues_the_lanes_last_one_of_its_object() {
        let mut last = LastReads::default();
        assert_eq!(last.read(0, 7, 0, 10), None);
        assert_eq!(last.read(0, 8, 0, 10), None);
        assert_eq!(last.read(1, 7, 10, 20), None);
        assert_eq!((last.read(0, 7, 10, 20), last.read(0, 7, 10, 20)), (Some(true), Some(false)));
    }
}
