//! The Mersenne twister with numpy's seeding, and the bounded draws of numpy's `shuffle`.

const WORDS: usize = 624;
const MIDDLE: usize = 397;
/// Draws of a shuffle that are made ahead of the swaps: more than a processor keeps loads in flight.
const AHEAD: usize = 64;

/// MT19937 as `numpy.random.seed(s)` leaves it: plain integer seeding, no cached Gaussian.
#[derive(Clone)]
pub struct Mt19937 {
    key: Box<[u32; WORDS]>,
    position: usize,
    /// Second value of the last polar pair, which the next normal draw returns.
    pub(super) gauss: Option<f64>,
}

impl std::fmt::Debug for Mt19937 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mt19937").field("position", &self.position).finish_non_exhaustive()
    }
}

impl Mt19937 {
    /// The state after `numpy.random.seed(seed)`.
    #[must_use]
    pub fn new(seed: u32) -> Self {
        let mut key = Box::new([0_u32; WORDS]);
        let mut word = seed;
        key[0] = word;
        for (i, slot) in (1_u32..).zip(key.iter_mut().skip(1)) {
            word = 1_812_433_253_u32.wrapping_mul(word ^ (word >> 30)).wrapping_add(i);
            *slot = word;
        }
        Self { key, position: WORDS, gauss: None }
    }

    /// Next 32-bit word.
    pub fn word(&mut self) -> u32 {
        if self.position == WORDS {
            self.twist();
        }
        let mut word = self.key[self.position];
        self.position += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    fn twist(&mut self) {
        let key = &mut self.key;
        let mut mix = |at: usize, next: usize, middle: usize| {
            let mixed = (key[at] & 0x8000_0000) | (key[next] & 0x7fff_ffff);
            key[at] = key[middle] ^ (mixed >> 1) ^ ((mixed & 1).wrapping_neg() & 0x9908_b0df);
        };
        // The indices wrap around; three loops spare every word a division.
        (0..WORDS - MIDDLE).for_each(|at| mix(at, at + 1, at + MIDDLE));
        (WORDS - MIDDLE..WORDS - 1).for_each(|at| mix(at, at + 1, at + MIDDLE - WORDS));
        mix(WORDS - 1, 0, MIDDLE - 1);
        self.position = 0;
    }

    /// Uniform integer in `0..=max` by masked rejection; 0 consumes nothing.
    pub fn bounded(&mut self, max: u64) -> u64 {
        if max == 0 {
            return 0;
        }
        let mask = u64::MAX >> max.leading_zeros();
        loop {
            let high = if max > u64::from(u32::MAX) { u64::from(self.word()) << 32 } else { 0 };
            let value = (high | u64::from(self.word())) & mask;
            if value <= max {
                return value;
            }
        }
    }

    /// `numpy.random.shuffle` of an array or list.
    ///
    /// Draws do not depend on the items, so they are made a few ahead, and what they point to is looked at before it
    /// is swapped: those looks wait for memory together, where swaps would wait one after the other. A list of 50
    /// million is shuffled several times faster so.
    pub fn shuffle<T: Copy>(&mut self, items: &mut [T]) {
        let mut draws = [0_usize; AHEAD];
        let mut top = items.len();
        while top > 1 {
            let count = AHEAD.min(top - 1);
            for (i, draw) in (1..top).rev().zip(&mut draws) {
                // The draw is at most `i`, so it fits wherever `i` did.
                *draw = usize::try_from(self.bounded(i as u64)).unwrap_or(i);
                std::hint::black_box(items[*draw]);
            }
            for (i, &draw) in (1..top).rev().zip(&draws[..count]) {
                items.swap(i, draw);
            }
            top -= count;
        }
    }

    /// Draws what shuffling `len` items draws, without having them.
    pub fn skip_shuffle(&mut self, len: u64) {
        for i in (1..len).rev() {
            self.bounded(i);
        }
    }

    /// Uniform on [0, 1) with 53 random bits.
    pub fn double(&mut self) -> f64 {
        let high = f64::from(self.word() >> 5);
        let low = f64::from(self.word() >> 6);
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_124_shuffles_ten_numbers_as_numpy_does() {
        let mut numbers: Vec<u32> = (0..10).collect();
        Mt19937::new(124).shuffle(&mut numbers);
        assert_eq!(numbers, [6, 8, 3, 5, 4, 0, 9, 2, 7, 1]);
    }

    #[test]
    fn skipping_a_shuffle_leaves_the_state_that_shuffling_leaves() {
        let (mut skipped, mut shuffled) = (Mt19937::new(5), Mt19937::new(5));
        let mut items: Vec<u32> = (0..777).collect();
        shuffled.shuffle(&mut items);
        skipped.skip_shuffle(777);
        assert_eq!(skipped.word(), shuffled.word());
    }

    #[test]
    fn a_bound_beyond_32_bits_takes_two_words() {
        let mut generator = Mt19937::new(3);
        let (high, low) = (u64::from(generator.word()), u64::from(generator.word()));
        assert_eq!(Mt19937::new(3).bounded(u64::MAX), high << 32 | low);
    }
}
