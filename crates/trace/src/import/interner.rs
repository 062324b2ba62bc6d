//! Numbers of object names. Most rows name an object that an earlier row has named: such a name costs its hash, one place
//! in a table and one comparison.

use std::hash::BuildHasher;

use dlio_event::ObjectId;
use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// Names that were given numbers.
#[derive(Default)]
pub(super) struct Interner {
    table: HashTable<Entry>,
    text: Vec<u8>,
    hasher: RandomState,
    /// The last name: rows of one file often follow each other.
    last: Option<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    hash: u64,
    from: usize,
    length: usize,
    id: ObjectId,
}

impl Entry {
    fn is(&self, text: &[u8], name: &[u8]) -> bool {
        self.length == name.len() && text.get(self.from..self.from + self.length) == Some(name)
    }
}

impl Interner {
    /// The number of a name; `number` gives it to one that is new.
    pub(super) fn intern(&mut self, name: &str, number: impl FnOnce(&str) -> ObjectId) -> ObjectId {
        let bytes = name.as_bytes();
        if let Some(last) = self.last.filter(|last| last.is(&self.text, bytes)) {
            return last.id;
        }
        let hash = self.hasher.hash_one(bytes);
        let known = self.table.find(hash, |entry| entry.hash == hash && entry.is(&self.text, bytes)).copied();
        let entry = known.unwrap_or_else(|| {
            let entry = Entry { hash, from: self.text.len(), length: bytes.len(), id: number(name) };
            self.text.extend_from_slice(bytes);
            *self.table.insert_unique(hash, entry, |entry| entry.hash).get()
        });
        self.last = Some(entry);
        entry.id
    }

    /// Bytes of all names.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_one_number_whatever_comes_between() {
        let mut interner = Interner::default();
        let mut next = 0;
        let mut number = |interner: &mut Interner, name: &str| {
            interner.intern(name, |_| {
                next += 1;
                ObjectId(next)
            })
        };
        for round in 0..3 {
            for i in 0..5_000 {
                let name = format!("train/img_{i}.npz");
                assert_eq!(number(&mut interner, &name), ObjectId(i + 1), "round {round}");
                assert_eq!(number(&mut interner, &name), ObjectId(i + 1));
            }
        }
        assert_eq!(number(&mut interner, ""), ObjectId(5_001));
        assert_eq!(number(&mut interner, ""), ObjectId(5_001));
    }
}
