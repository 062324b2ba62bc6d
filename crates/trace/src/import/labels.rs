//! Numbers of names with few different values: threads, endpoints, clients. Consecutive rows mostly repeat a handful of them, so
//! recent names are found by their last bytes, without a hash.

use std::collections::HashMap;

use dlio_event::mix::fibonacci;
use foldhash::fast::RandomState;

/// Number of recent names that are found without a hash.
const RECENT: usize = 64;

/// A table of names and their numbers.
pub(super) struct Labels {
    recent: Vec<Option<(Box<str>, u32)>>,
    all: HashMap<Box<str>, u32, RandomState>,
}

impl Default for Labels {
    fn default() -> Self {
        Self { recent: vec![None; RECENT], all: HashMap::default() }
    }
}

impl Labels {
    /// Returns the number of a name. For a new name, `number` makes one from the count of known names.
    pub(super) fn get<E>(&mut self, name: &str, number: impl FnOnce(usize) -> Result<u32, E>) -> Result<u32, E> {
        let place = place(name.as_bytes());
        if let Some((known, number)) = &self.recent[place]
            && **known == *name
        {
            return Ok(*number);
        }
        let number = if let Some(number) = self.all.get(name) {
            *number
        } else {
            let number = number(self.all.len())?;
            self.all.insert(name.into(), number);
            number
        };
        self.recent[place] = Some((name.into(), number));
        Ok(number)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Returns a recent name's slot, computed from its length and its last bytes, in which names of one kind differ.
fn place(name: &[u8]) -> usize {
    let end = name
        .last_chunk::<8>()
        .map_or_else(|| name.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), |end| u64::from_le_bytes(*end));
    let mixed = fibonacci(end ^ name.len() as u64);
    usize::try_from(mixed >> 58).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_numbers_while_they_push_each_other_out() {
        let mut labels = Labels::default();
        let number = |next: usize| u32::try_from(next).map_err(drop);
        for round in 0..3 {
            for i in 0..5_000_u32 {
                let name = if i == 0 { String::new() } else { format!("thread-{i}") };
                assert_eq!(labels.get(&name, number), Ok(i), "round {round}");
                assert_eq!(labels.get(&name, number), Ok(i));
            }
        }
        assert_eq!(labels.len(), 5_000);
        assert_eq!(labels.get("no more", |_| Err("full")), Err("full"));
        assert_eq!(labels.len(), 5_000);
    }
}
