//! Dictionary of a column: its different numbers, in the order of their first rows.

/// Hash table size of an empty dictionary.
const SLOTS: usize = 1 << 10;
const EMPTY: u32 = u32::MAX;

/// The different numbers of one column; the memory is reused from column to column.
#[derive(Default)]
pub(super) struct Dictionary {
    /// Hash table of indices into `values`. Its size is a power of two, and at most half of it is in use.
    slots: Vec<u32>,
    values: Vec<i64>,
    places: Vec<u32>,
}

impl Dictionary {
    /// Builds the dictionary of a column.
    pub(super) fn fill(&mut self, rows: impl Iterator<Item = i64>) {
        self.slots.clear();
        self.slots.resize(SLOTS, EMPTY);
        self.values.clear();
        self.places.clear();
        let mut last = None;
        for value in rows {
            let place = match last {
                Some((known, place)) if known == value => place,
                _ => self.place(value),
            };
            last = Some((value, place));
            self.places.push(place);
        }
    }

    fn place(&mut self, value: i64) -> u32 {
        let mut slot = self.home(value);
        loop {
            let place = self.slots[slot];
            if place == EMPTY {
                break;
            }
            if self.values[place as usize] == value {
                return place;
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        // Row groups have fewer than 2^32 rows.
        let place = u32::try_from(self.values.len()).unwrap_or(EMPTY - 1);
        self.slots[slot] = place;
        self.values.push(value);
        if self.values.len() * 2 > self.slots.len() {
            self.grow();
        }
        place
    }

    /// Returns the slot at which the search for a value begins; similar values get distant slots.
    fn home(&self, value: i64) -> usize {
        let mixed = dlio_event::mix::fibonacci(value.cast_unsigned() ^ value.cast_unsigned() >> 32);
        usize::try_from(mixed >> 32).unwrap_or(0) & (self.slots.len() - 1)
    }

    fn grow(&mut self) {
        let slots = self.slots.len() * 4;
        self.slots.clear();
        self.slots.resize(slots, EMPTY);
        for (place, value) in (0_u32..).zip(&self.values) {
            let mut slot = self.home(*value);
            while self.slots[slot] != EMPTY {
                slot = (slot + 1) & (slots - 1);
            }
            self.slots[slot] = place;
        }
    }

    /// Returns the different values.
    pub(super) fn values(&self) -> &[i64] {
        &self.values
    }

    /// Returns the index of each row's value in [`Dictionary::values`].
    pub(super) fn places(&self) -> &[u32] {
        &self.places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_refers_to_its_value_and_no_value_is_there_twice() {
        let mut dictionary = Dictionary::default();
        for distinct in [1, 3, 511, 512, 513, 40_000] {
            let rows: Vec<i64> = (0..100_000_i64).map(|i| (i * 7_919 % distinct - 5).wrapping_mul(1 << 33)).collect();
            dictionary.fill(rows.iter().copied());
            let told: Vec<i64> = dictionary.places().iter().map(|at| dictionary.values()[*at as usize]).collect();
            assert!(told == rows);
            let mut values = dictionary.values().to_vec();
            values.sort_unstable();
            values.dedup();
            assert_eq!(values.len(), dictionary.values().len());
        }
        dictionary.fill(std::iter::empty());
        assert!(dictionary.values().is_empty() && dictionary.places().is_empty());
    }
}
