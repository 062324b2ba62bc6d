//! Objects of a run, identified by a hash of their name so that ten million names need no memory, with the byte ranges
//! that were read of each. The report reads the few names that it needs from the trace.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// Hash value for rows without an object.
pub(crate) const NO_OBJECT: u64 = 0;
/// Unit of sampling within an object: 64 MiB, as a power of two.
const PART: u32 = 26;

/// Location of a row from which an object's name can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Locator {
    /// Index of the trace among all traces.
    pub(crate) trace: u32,
    pub(crate) group: u32,
    pub(crate) row: u32,
}

/// Returns the hash of a name, which is the same in every process.
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

/// Hasher for keys that are numbers: one multiplication mixes them well enough.
#[derive(Default)]
pub(crate) struct MixHasher(u64);

impl Hasher for MixHasher {
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

/// A map with a cheap hash function.
pub(crate) type Map<K, V> = HashMap<K, V, BuildHasherDefault<MixHasher>>;

/// Adds counts by key, and keeps the first location of each.
pub(crate) fn add_counts<K: Eq + Hash>(
    mine: &mut Map<K, (Locator, u64)>,
    more: impl Iterator<Item = (K, (Locator, u64))>,
) {
    for (key, (at, count)) in more {
        let known = mine.entry(key).or_insert((at, 0));
        *known = (known.0.min(at), known.1 + count);
    }
}

/// A byte range that was read: 64 bits for the object's hash, 32 for the first byte and 32 for the last one. As a
/// single number it takes 16 bytes and one comparison when sorting. Each further 4 GiB of an object count as another
/// object.
type Range = u128;

/// Bytes of an object that share one key, as a power of two.
const WINDOW: u32 = 32;
/// Largest number of windows of a read (4 TiB); a longer read is an error of the trace, and counts as this many.
const WINDOWS: u64 = 1 << 10;

fn range(key: u64, first: u64, last: u64) -> Range {
    u128::from(key) << 64 | u128::from(first) << 32 | u128::from(last)
}

/// Returns key, first and last byte of a range.
fn unpacked(range: Range) -> (u64, u64, u64) {
    let low = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0);
    (low(range >> 64), low(range >> 32) & u64::from(u32::MAX), low(range) & u64::from(u32::MAX))
}

/// Returns the windows that bytes `start` to `end` of an object lie in, as ranges with their keys.
fn windows(object: u64, start: u64, end: u64) -> impl Iterator<Item = Range> {
    let last = end.saturating_sub(1).max(start);
    let (from, upto) = (start >> WINDOW, (last >> WINDOW).min((start >> WINDOW) + WINDOWS - 1));
    (from..=upto).map(move |window| {
        let within = |byte: u64| byte & ((1 << WINDOW) - 1);
        let first = if window == from { within(start) } else { 0 };
        let last = if window == last >> WINDOW { within(last) } else { (1 << WINDOW) - 1 };
        range(object ^ window.wrapping_mul(0x9fb2_1c65_1e98_df25), first, last)
    })
}

/// Sampling rate of 1 in 2ⁿ: of too many things, only those are included whose hash begins with n zeros. The decision
/// depends on the hash alone, so that it is the same in every rank and process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub(crate) struct SamplingRate(u32);

impl SamplingRate {
    /// Returns the largest number of halvings after which a thing with this number is still included.
    pub(crate) fn level(number: u64) -> usize {
        let mixed = (number ^ (number >> 29)).wrapping_mul(0x9fb2_1c65_1e98_df25);
        let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0x517c_c1b7_2722_0a95);
        (mixed ^ (mixed >> 32)).leading_zeros() as usize
    }

    /// Returns whether a thing with this number is included.
    pub(crate) fn includes(self, number: u64) -> bool {
        self.0 == 0 || Self::level(number) >= self.0 as usize
    }

    /// Returns the values of the levels that are included.
    pub(crate) fn of_levels<T>(self, levels: &[T]) -> &[T] {
        levels.get(self.0 as usize..).unwrap_or_default()
    }

    pub(crate) fn all(self) -> bool {
        self.0 == 0
    }

    /// Returns the number of things that one included thing stands for.
    pub(crate) fn factor(self) -> u64 {
        1_u64.checked_shl(self.0).unwrap_or(u64::MAX)
    }

    /// Halves the sampling rate.
    pub(crate) fn halve(&mut self) {
        self.0 = (self.0 + 1).min(63);
    }
}

/// Number of lists that ranges are divided into, by hash. Lists fit into the processor cache, and no growth copies all
/// ranges.
const LISTS: usize = 256;
/// Number of ranges that a list takes before it is sorted.
const UNSORTED: usize = 512;

fn list_of(range: Range) -> usize {
    (range >> 120) as usize
}

/// Ranges that one rank read.
#[derive(Debug)]
pub(crate) struct ReadRanges {
    /// Each list is sorted and disjoint up to the given length.
    lists: Vec<(Vec<Range>, usize)>,
    sampling: SamplingRate,
}

impl Default for ReadRanges {
    fn default() -> Self {
        Self { lists: vec![(Vec::new(), 0); LISTS], sampling: SamplingRate::default() }
    }
}

impl ReadRanges {
    /// Adds bytes `start` to `end` of an object, at least one.
    pub(crate) fn add(&mut self, object: u64, start: u64, end: u64) {
        for range in windows(object, start, end) {
            if self.sampling.all() {
                self.push(range);
            } else {
                for range in sampled(&[range], self.sampling) {
                    self.push(range);
                }
            }
        }
    }

    /// Lowers the sampling rate until at most `most` ranges are left.
    pub(crate) fn limit(&mut self, most: usize) {
        let count = |lists: &[(Vec<Range>, usize)]| lists.iter().map(|(list, _)| list.len()).sum::<usize>();
        if count(&self.lists) <= most {
            return;
        }
        for (list, sorted) in &mut self.lists {
            join(list);
            *sorted = list.len();
        }
        while count(&self.lists) > most / 2 && self.sampling.factor() < 1 << 40 {
            self.sampling.halve();
            for (list, sorted) in &mut self.lists {
                *list = sampled(list, self.sampling);
                *sorted = list.len();
            }
        }
    }

    fn push(&mut self, range: Range) {
        let (list, sorted) = &mut self.lists[list_of(range)];
        list.push(range);
        if list.len() > *sorted + (*sorted / 2).max(UNSORTED) {
            join(list);
            *sorted = list.len();
        }
    }
}

/// Returns the parts of ranges that a lower sampling rate includes.
fn sampled(list: &[Range], rate: SamplingRate) -> Vec<Range> {
    let mut rest = Vec::new();
    for (key, first, last) in list.iter().copied().map(unpacked) {
        for part in first >> PART..=last >> PART {
            if rate.includes(key ^ part.wrapping_mul(0x9fb2_1c65_1e98_df25)) {
                let (begins, ends) = (part << PART, ((part + 1) << PART) - 1);
                rest.push(range(key, first.max(begins), last.min(ends)));
            }
        }
    }
    rest
}

/// Sorts ranges and joins adjacent ones.
#[expect(clippy::stable_sort_primitive, reason = "most of it is sorted, which only the stable sort makes use of")]
fn join(list: &mut Vec<Range>) {
    list.sort();
    list.dedup_by(|next, before| {
        let ((key, from, upto), (known, begins, ends)) = (unpacked(*next), unpacked(*before));
        let joins = key == known && from <= ends + 1;
        if joins {
            *before = range(known, begins, ends.max(upto));
        }
        joins
    });
}

/// Ranges that all ranks of one process read.
#[derive(Debug, Default)]
pub(crate) struct AllRanges(Mutex<Ranges>);

/// Lists of sorted, disjoint ranges, and their sampling rate.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Ranges {
    lists: Vec<Vec<Range>>,
    pub(crate) sampling: SamplingRate,
}

impl AllRanges {
    /// Adds the ranges of a rank whose trace has been read.
    pub(crate) fn add(&self, rank: ReadRanges) {
        let lists = rank.lists.into_iter().map(|(list, _)| list).collect();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.merge(Ranges { lists, sampling: rank.sampling });
    }

    pub(crate) fn take(self) -> Ranges {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ranges {
    fn follow(&mut self, rate: SamplingRate) {
        if rate > self.sampling {
            self.sampling = rate;
            self.lists.iter_mut().for_each(|list| *list = sampled(list, rate));
        }
    }

    pub(crate) fn merge(&mut self, mut other: Self) {
        self.follow(other.sampling);
        other.follow(self.sampling);
        self.lists.resize(self.lists.len().max(other.lists.len()), Vec::new());
        for (mine, theirs) in self.lists.iter_mut().zip(other.lists) {
            if mine.is_empty() {
                *mine = theirs;
            } else {
                mine.reserve_exact(theirs.len());
                mine.extend(theirs);
            }
            join(mine);
        }
    }

    /// Returns the number of distinct bytes in all lists.
    pub(crate) fn different_bytes(&self) -> u64 {
        let bytes: u64 =
            self.lists.iter().flatten().map(|range| unpacked(*range)).map(|(_, first, last)| last - first + 1).sum();
        bytes.saturating_mul(self.sampling.factor())
    }
}

/// End of the last reads of each lane, by object.
#[derive(Debug, Default)]
pub(crate) struct LastReads {
    lanes: Vec<LaneReads>,
}

/// The last eight objects of a lane, the end of the last read of each, and the entry that is replaced next.
#[derive(Debug)]
struct LaneReads {
    lane: u16,
    last: [(u64, u64); 8],
    next: usize,
}

impl LastReads {
    /// Records a read. Returns whether it continues the lane's previous read of the object; `None` if the object is not
    /// among the lane's last eight.
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
                ranges.add(one, start, end);
            }
            ranges.add(other, 5, 6);
            ranges.add(other, 5, 6);
            all.add(ranges);
        }
        let mut ranges = all.take();
        assert_eq!(ranges.lists.iter().map(Vec::len).sum::<usize>(), 4);
        ranges.merge(ranges.clone());
        assert_eq!(ranges.different_bytes(), 12 + 20 + 15 + 1);
    }

    #[test]
    fn large_objects_count_in_full_and_absurd_ranges_end() {
        let mut ranges = ReadRanges::default();
        let (large, edge) = (5_u64 << 40, 1_u64 << 32);
        for start in (0..large).step_by(3 << 30) {
            ranges.add(hash("large"), start, (start + (3 << 30)).min(large));
        }
        ranges.add(hash("edge"), edge - 1, edge + 1);
        ranges.add(hash("edge"), edge, edge + 5);
        let all = AllRanges::default();
        all.add(ranges);
        assert_eq!(all.take().different_bytes(), large + 6);
        let mut ranges = ReadRanges::default();
        ranges.add(hash("absurd"), 1, u64::MAX);
        ranges.add(hash("absurd"), u64::MAX - 1, u64::MAX);
        let all = AllRanges::default();
        all.add(ranges);
        assert_eq!(all.take().different_bytes(), WINDOWS << WINDOW, "all but the first byte, and the last one");
    }

    #[test]
    fn too_many_ranges_are_estimated_from_some() {
        let mut ranges = ReadRanges::default();
        let large = hash("large");
        for rank in 0..50 {
            for at in 0..1_000 {
                ranges.add(hash(&format!("{rank}/{at}")), 0, 1_000 + at);
            }
            ranges.add(large, rank << 30, (rank + 1) << 30);
            ranges.limit(5_000);
        }
        let all = AllRanges::default();
        all.add(ranges);
        let ranges = all.take();
        assert!(ranges.sampling.factor() >= 8 && ranges.lists.iter().map(Vec::len).sum::<usize>() <= 5_000);
        let expected = (50_u64 << 30) + 50 * (1_000 * 1_000 + 999 * 1_000 / 2);
        let found = ranges.different_bytes() as f64;
        assert!((found / expected as f64 - 1.0).abs() < 0.25, "{found} and not {expected}");
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
