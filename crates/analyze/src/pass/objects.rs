//! The objects of a run: known by a hash of their name, so that ten million names need no memory, with the ranges that were
//! read of each. A name is looked up in its trace when a report needs it.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

const SHARDS: u32 = 64;
/// The number of no object.
pub(crate) const NO_OBJECT: u32 = u32::MAX;

/// Where a name can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Locator {
    /// Trace, in the order of all traces.
    pub(crate) trace: u32,
    pub(crate) group: u32,
    pub(crate) row: u32,
}

/// For keys that are hashes already, or mixed well enough by one multiplication.
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

    fn write_u16(&mut self, value: u16) {
        self.write_u64(u64::from(value));
    }
}

/// A map with cheap hashing; its keys are numbers of ours.
pub(crate) type Map<K, V> = HashMap<K, V, BuildHasherDefault<Mixing>>;

/// All objects that the traces of one process name.
#[derive(Debug)]
pub(crate) struct Objects {
    shards: Vec<Mutex<Shard>>,
}

#[derive(Debug, Default)]
struct Shard {
    numbers: Map<u64, u32>,
    entries: Vec<Object>,
    /// Ranges that do not adjoin the first one: start and end.
    more: Map<u32, BTreeMap<u64, u64>>,
}

#[derive(Debug)]
struct Object {
    hash: u64,
    named_at: Locator,
    start: u64,
    end: u64,
}

/// The ranges that were read of one object, by the hash of its name.
pub(crate) type Ranges = (u64, Vec<(u64, u64)>);

impl Objects {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    fn shard(&self, number: u32) -> MutexGuard<'_, Shard> {
        self.shards[(number % SHARDS) as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a name within this process.
    pub(crate) fn number(&self, name: &str, at: Locator) -> u32 {
        let mut hasher = DefaultHasher::new();
        hasher.write(name.as_bytes());
        let hash = hasher.finish();
        let which = u32::try_from((hash >> 40) % u64::from(SHARDS)).unwrap_or(0);
        let mut shard = self.shard(which);
        let Shard { numbers, entries, .. } = &mut *shard;
        let local = match numbers.entry(hash) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(free) => {
                let local = u32::try_from(entries.len()).unwrap_or(u32::MAX);
                entries.push(Object { hash, named_at: at, start: 0, end: 0 });
                *free.insert(local)
            }
        };
        local.checked_mul(SHARDS).and_then(|base| base.checked_add(which)).unwrap_or(NO_OBJECT)
    }

    /// Notes that a range was read.
    pub(crate) fn read(&self, number: u32, start: u64, end: u64) {
        if number == NO_OBJECT || start >= end {
            return;
        }
        let mut shard = self.shard(number);
        let local = number / SHARDS;
        let Some(object) = shard.entries.get_mut(local as usize) else { return };
        if object.start == object.end {
            (object.start, object.end) = (start, end);
        } else if start <= object.end && end >= object.start {
            (object.start, object.end) = (object.start.min(start), object.end.max(end));
        } else {
            add(shard.more.entry(local).or_default(), start, end);
        }
    }

    /// Where the name of an object is, and its hash.
    pub(crate) fn named(&self, number: u32) -> Option<(u64, Locator)> {
        let shard = self.shard(number);
        shard.entries.get((number / SHARDS) as usize).map(|object| (object.hash, object.named_at))
    }

    /// Numbers are below this.
    pub(crate) fn numbers(&self) -> usize {
        let longest =
            self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).entries.len());
        longest.max().unwrap_or(0) * SHARDS as usize
    }

    /// The ranges of every object that was read.
    pub(crate) fn ranges(&self) -> Vec<Ranges> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for (local, object) in (0_u32..).zip(&shard.entries).filter(|(_, object)| object.end > object.start) {
                let mut ranges = vec![(object.start, object.end)];
                ranges.extend(shard.more.get(&local).into_iter().flatten().map(|(start, end)| (*start, *end)));
                all.push((object.hash, ranges));
            }
        }
        all
    }
}

/// Adds a range to disjoint ranges.
fn add(ranges: &mut BTreeMap<u64, u64>, mut start: u64, mut end: u64) {
    while let Some((other, upto)) = ranges.range(..=end).next_back().map(|(other, upto)| (*other, *upto)) {
        if upto < start {
            break;
        }
        ranges.remove(&other);
        (start, end) = (start.min(other), end.max(upto));
    }
    ranges.insert(start, end);
}

/// Bytes in the union of all ranges of each object, summed over the objects.
pub(crate) fn different_bytes(mut all: Vec<Ranges>) -> u64 {
    all.sort_unstable();
    let mut total = 0;
    for same in all.chunk_by(|one, other| one.0 == other.0) {
        let mut ranges: Vec<(u64, u64)> = same.iter().flat_map(|(_, ranges)| ranges).copied().collect();
        ranges.sort_unstable();
        let mut upto = 0;
        for (start, end) in ranges {
            total += end.saturating_sub(start.max(upto));
            upto = upto.max(end);
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Locator = Locator { trace: 0, group: 0, row: 0 };

    #[test]
    fn bytes_that_were_read_twice_count_once() {
        let objects = Objects::new();
        let (one, other) = (objects.number("a", AT), objects.number("b", AT));
        assert_eq!(objects.number("a", AT), one);
        for (start, end) in [(0, 10), (20, 30), (25, 40), (8, 12), (50, 60), (45, 50)] {
            objects.read(one, start, end);
        }
        objects.read(other, 5, 6);
        assert_eq!(different_bytes(objects.ranges()), 12 + 20 + 15 + 1);
        let twice = [objects.ranges(), objects.ranges()].concat();
        assert_eq!(different_bytes(twice), 48);
    }
}
