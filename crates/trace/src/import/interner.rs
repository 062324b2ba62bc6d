//! Interning of object names. Most rows name a known object, and the cost of a lookup is the wait for memory. Names are therefore
//! looked up in groups: the processor fetches the slots of all names while it compares the first.

use std::hash::BuildHasher;

use dlio_event::ObjectId;
use foldhash::fast::RandomState;

/// Size of an empty hash table, a power of two.
const SLOTS: usize = 1 << 10;
/// Bytes before a name in the arena: its length and its number.
const HEAD: usize = 8;
/// Alignment of names in the arena, bytes.
const STEP: usize = 8;

/// A table of names, and the names whose numbers are to be looked up.
pub(super) struct Interner {
    /// Hash table. A slot is 0, or combines the upper half of a hash with the index of the name in `arena`, plus one. At most
    /// half of the slots are in use.
    slots: Vec<u64>,
    used: usize,
    /// Length, number and text of each name.
    arena: Vec<u8>,
    hasher: RandomState,
    waiting: Vec<Waiting>,
    /// Texts of the waiting names.
    text: Vec<u8>,
}

/// A name whose number is to be looked up.
struct Waiting {
    row: usize,
    hash: u64,
    from: usize,
    to: usize,
    /// Contents of the hash table and the arena at the expected position of the name.
    slot: u64,
    head: [u32; 2],
}

impl Default for Interner {
    fn default() -> Self {
        Self {
            slots: vec![0; SLOTS],
            used: 0,
            arena: Vec::new(),
            hasher: RandomState::default(),
            waiting: Vec::new(),
            text: Vec::new(),
        }
    }
}

impl Interner {
    /// Adds a row's name to the waiting names.
    pub(super) fn add(&mut self, name: &str, row: usize) {
        let last = self.waiting.last().map(|last| (last.hash, last.from, last.to));
        // Consecutive rows often have the same name.
        let known = last.filter(|(_, from, to)| self.text.get(*from..*to) == Some(name.as_bytes()));
        let (hash, from, to) = known.unwrap_or_else(|| {
            let from = self.text.len();
            self.text.extend_from_slice(name.as_bytes());
            (self.hasher.hash_one(name.as_bytes()), from, self.text.len())
        });
        self.waiting.push(Waiting { row, hash, from, to, slot: 0, head: [0; 2] });
    }

    /// Looks up all waiting names in order and passes each row and number to `assign`; `number` makes the number of a new name.
    pub(super) fn resolve(
        &mut self,
        mut number: impl FnMut(&str) -> ObjectId,
        mut assign: impl FnMut(usize, ObjectId),
    ) {
        let mask = self.slots.len() - 1;
        for name in &mut self.waiting {
            name.slot = self.slots[home(name.hash, mask)];
        }
        for name in &mut self.waiting {
            if tag(name.slot) == tag(name.hash) {
                name.head = place(name.slot).map_or([0; 2], |at| head(&self.arena, at));
            }
        }
        let (waiting, text) = (std::mem::take(&mut self.waiting), std::mem::take(&mut self.text));
        for name in &waiting {
            let bytes = &text[name.from..name.to];
            let guess = place(name.slot).filter(|_| tag(name.slot) == tag(name.hash));
            let id = match guess.filter(|at| is(&self.arena, *at, name.head[0], bytes)) {
                Some(_) => ObjectId(name.head[1]),
                None => self.find(name.hash, bytes, &mut number),
            };
            assign(name.row, id);
        }
        (self.waiting, self.text) = (waiting, text);
        self.waiting.clear();
        self.text.clear();
    }

    fn find(&mut self, hash: u64, name: &[u8], number: impl FnOnce(&str) -> ObjectId) -> ObjectId {
        let mask = self.slots.len() - 1;
        let mut slot = home(hash, mask);
        while let Some(at) = place(self.slots[slot]) {
            let [length, id] = head(&self.arena, at);
            if tag(self.slots[slot]) == tag(hash) && is(&self.arena, at, length, name) {
                return ObjectId(id);
            }
            slot = (slot + 1) & mask;
        }
        let id = number(std::str::from_utf8(name).unwrap_or_default());
        let at = self.arena.len();
        let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
        self.arena.extend_from_slice(&length.to_le_bytes());
        self.arena.extend_from_slice(&id.0.to_le_bytes());
        self.arena.extend_from_slice(name);
        self.arena.resize(self.arena.len().next_multiple_of(STEP), 0);
        self.slots[slot] = tag(hash) << 32 | (at / STEP + 1) as u64;
        self.used += 1;
        if self.used * 2 > self.slots.len() {
            self.grow();
        }
        id
    }

    fn grow(&mut self) {
        let slots = vec![0; self.slots.len() * 4];
        let mask = slots.len() - 1;
        let old = std::mem::replace(&mut self.slots, slots);
        for entry in old {
            let Some(at) = place(entry) else { continue };
            let length = head(&self.arena, at)[0] as usize;
            let hash = self.hasher.hash_one(&self.arena[at + HEAD..at + HEAD + length]);
            let mut slot = home(hash, mask);
            while self.slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            self.slots[slot] = entry;
        }
    }

    /// Returns the size of all names, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.arena.len()
    }
}

/// Returns the slot at which the search for a hash begins.
fn home(hash: u64, mask: usize) -> usize {
    usize::try_from(hash & u64::from(u32::MAX)).unwrap_or(0) & mask
}

/// Returns the part of a hash that is stored in its slot.
fn tag(word: u64) -> u64 {
    word >> 32
}

/// Returns the index in the arena of a slot's name; `None` if the slot is free.
fn place(slot: u64) -> Option<usize> {
    let at = usize::try_from(slot & u64::from(u32::MAX)).unwrap_or(0);
    at.checked_sub(1).map(|at| at * STEP)
}

/// Returns the length and the number of a name.
fn head(arena: &[u8], at: usize) -> [u32; 2] {
    let bytes = arena.get(at..).and_then(|rest| rest.first_chunk::<HEAD>()).copied().unwrap_or_default();
    let word = u64::from_le_bytes(bytes);
    [word & u64::from(u32::MAX), word >> 32].map(|half| u32::try_from(half).unwrap_or(0))
}

fn is(arena: &[u8], at: usize, length: u32, name: &[u8]) -> bool {
    length as usize == name.len() && arena.get(at + HEAD..at + HEAD + name.len()) == Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_one_number_whatever_comes_between() {
        let mut interner = Interner::default();
        let (mut next, mut told, mut expected) = (0, Vec::new(), Vec::new());
        for name in (0..3).flat_map(|_| (0..10_003).map(|i: u32| i / 2)).chain([5_002, 5_002, 0]) {
            let text = if name == 5_001 { String::new() } else { format!("train/img_{name}.npz") };
            interner.add(&text, expected.len());
            expected.push(text);
            if expected.len() % 100 == 0 {
                let number = |name: &str| {
                    assert_eq!(name.is_empty(), next == 5_001, "new names in their order");
                    next += 1;
                    ObjectId(next)
                };
                interner.resolve(number, |row, id| told.push((row, id)));
            }
        }
        interner.resolve(|_| ObjectId(5_003), |row, id| told.push((row, id)));
        assert_eq!(told.len(), expected.len());
        let mut numbers = std::collections::HashMap::new();
        for (place, ((row, id), name)) in told.iter().zip(&expected).enumerate() {
            assert_eq!(*row, place);
            assert_eq!(numbers.entry(name).or_insert(*id), id, "{name}");
        }
        let distinct: std::collections::HashSet<_> = numbers.values().collect();
        assert_eq!(distinct.len(), numbers.len());
    }
}
