//! Interning of object names, endpoint names and labels: each name is stored once, and events refer to it by number.
//!
//! Workloads have tens of millions of objects. A name therefore costs its bytes and about 16 more: each shard has one arena and a
//! table of 32-bit numbers. Lanes that open files at the same time mostly use different shards and do not wait for each other.

use std::hash::{DefaultHasher, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dlio_event::ObjectId;
use hashbrown::HashTable;

const SHARD_BITS: u32 = 6;
const SHARDS: u32 = 1 << SHARD_BITS;

/// All object names of one rank.
#[derive(Debug)]
pub(crate) struct ObjectNames {
    shards: Vec<Mutex<Shard>>,
}

#[derive(Debug, Default)]
struct Shard {
    table: HashTable<u32>,
    text: Vec<u8>,
    ends: Vec<u64>,
}

impl Shard {
    fn get(&self, local: u32) -> Option<&[u8]> {
        let at = local as usize;
        let end = usize::try_from(*self.ends.get(at)?).ok()?;
        let start = match at {
            0 => 0,
            _ => usize::try_from(self.ends[at - 1]).ok()?,
        };
        self.text.get(start..end)
    }

    fn intern(&mut self, hash: u64, name: &[u8]) -> u32 {
        let Self { table, text, ends } = self;
        let slice = |local: u32| {
            let at = local as usize;
            let start = if at == 0 { 0 } else { to_usize(ends[at - 1]) };
            &text[start..to_usize(ends[at])]
        };
        if let Some(local) = table.find(hash, |&local| slice(local) == name) {
            return *local;
        }
        let local = u32::try_from(ends.len()).unwrap_or(u32::MAX);
        table.insert_unique(hash, local, |&local| hash_of(slice(local)));
        text.extend_from_slice(name);
        ends.push(text.len() as u64);
        local
    }
}

/// Arena offsets come from `len()` of the same arena, so they always fit.
fn to_usize(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

fn hash_of(name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(name);
    hasher.finish()
}

impl ObjectNames {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    pub(crate) fn intern(&self, name: &str) -> ObjectId {
        let hash = hash_of(name.as_bytes());
        // The hash table uses the lowest and the highest bits of the hash, so the shard is chosen by bits in between.
        let shard = u32::try_from((hash >> 40) % u64::from(SHARDS)).unwrap_or(0);
        let local = lock(&self.shards[shard as usize]).intern(hash, name.as_bytes());
        match local.checked_mul(SHARDS).and_then(|base| base.checked_add(shard)) {
            Some(id) => ObjectId(id),
            None => ObjectId::NONE,
        }
    }

    /// Appends the bytes of a name. Returns false for a number that was never assigned.
    pub(crate) fn append(&self, id: ObjectId, out: &mut Vec<u8>) -> bool {
        if id == ObjectId::NONE {
            return false;
        }
        let shard = lock(&self.shards[(id.0 % SHARDS) as usize]);
        shard.get(id.0 >> SHARD_BITS).map(|name| out.extend_from_slice(name)).is_some()
    }
}

/// All names that the events of one rank refer to by number.
#[derive(Debug)]
pub(crate) struct NameTables {
    pub(crate) objects: ObjectNames,
    pub(crate) endpoints: LabelNames,
    pub(crate) tags: LabelNames,
}

impl NameTables {
    pub(crate) fn new() -> Self {
        Self { objects: ObjectNames::new(), endpoints: LabelNames::default(), tags: LabelNames::default() }
    }
}

/// Names with few different values per rank: endpoints and labels.
#[derive(Debug, Default)]
pub(crate) struct LabelNames {
    names: Mutex<Vec<String>>,
}

impl LabelNames {
    /// Returns the number of a name, or `u16::MAX`, which stands for no name, if there are too many names.
    pub(crate) fn intern(&self, name: &str) -> u16 {
        let mut names = lock(&self.names);
        let at = names.iter().position(|known| known == name).unwrap_or_else(|| {
            names.push(name.to_owned());
            names.len() - 1
        });
        u16::try_from(at).unwrap_or(u16::MAX)
    }

    /// Appends the bytes of a name. Returns false for a number that was never assigned.
    pub(crate) fn append(&self, id: u16, out: &mut Vec<u8>) -> bool {
        lock(&self.names).get(usize::from(id)).map(|name| out.extend_from_slice(name.as_bytes())).is_some()
    }
}

/// Locks a mutex even if it is poisoned: a panic elsewhere must not lose the trace, and the protected data are valid between
/// statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(names: &ObjectNames, id: ObjectId) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        names.append(id, &mut text).then_some(text)
    }

    #[test]
    fn the_same_name_always_gets_the_same_number() {
        let names = ObjectNames::new();
        let ids: Vec<ObjectId> = (0..10_000).map(|i| names.intern(&format!("train/img_{i}.npz"))).collect();
        for (i, id) in ids.iter().enumerate() {
            let name = format!("train/img_{i}.npz");
            assert_eq!(names.intern(&name), *id);
            assert_eq!(text(&names, *id), Some(name.into_bytes()));
        }
        let mut distinct = ids.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), ids.len());
    }

    #[test]
    fn the_empty_name_and_the_missing_name_differ() {
        let names = ObjectNames::new();
        let empty = names.intern("");
        assert_eq!(text(&names, empty), Some(Vec::new()));
        assert_eq!(text(&names, ObjectId::NONE), None);
    }
}
