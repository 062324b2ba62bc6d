//! The Mersenne Twister with numpy's seeding, and the bounded draws of numpy's `shuffle`.

use super::prefetch::prefetch;

const WORDS: usize = 624;
const MIDDLE: usize = 397;
/// Draws of a shuffle that are made before the swaps, so that memory accesses can be prefetched.
const AHEAD: usize = 1024;

/// MT19937 in the state after `numpy.random.seed(s)`: seeded with a plain integer, without a cached Gaussian.
#[derive(Clone)]
pub struct Mt19937 {
    key: Box<[u32; WORDS]>,
    /// The tempered words of the state; those from `position` on have not been drawn yet.
    words: Box<[u32; WORDS]>,
    position: usize,
    /// Second value of the latest polar pair, which the next normal draw returns.
    pub(super) gauss: Option<f64>,
}

impl std::fmt::Debug for Mt19937 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mt19937").field("position", &self.position).finish_non_exhaustive()
    }
}

impl Mt19937 {
    /// Returns the state after `numpy.random.seed(seed)`.
    #[must_use]
    pub fn new(seed: u32) -> Self {
        let mut key = Box::new([0_u32; WORDS]);
        let mut word = seed;
        key[0] = word;
        for (i, slot) in (1_u32..).zip(key.iter_mut().skip(1)) {
            word = 1_812_433_253_u32.wrapping_mul(word ^ (word >> 30)).wrapping_add(i);
            *slot = word;
        }
        Self { key, words: Box::new([0; WORDS]), position: WORDS, gauss: None }
    }

    /// Returns the next 32-bit word.
    pub fn word(&mut self) -> u32 {
        if self.position == WORDS {
            self.twist();
        }
        let word = self.words[self.position];
        self.position += 1;
        word
    }

    /// Computes the next words, all at once. The compiler vectorizes these loops.
    fn twist(&mut self) {
        let key = &mut self.key;
        let mut mix = |at: usize, next: usize, middle: usize| {
            let mixed = (key[at] & 0x8000_0000) | (key[next] & 0x7fff_ffff);
            key[at] = key[middle] ^ (mixed >> 1) ^ ((mixed & 1).wrapping_neg() & 0x9908_b0df);
        };
        // Indices wrap around. Three loops avoid a division per word.
        (0..WORDS - MIDDLE).for_each(|at| mix(at, at + 1, at + MIDDLE));
        (WORDS - MIDDLE..WORDS - 1).for_each(|at| mix(at, at + 1, at + MIDDLE - WORDS));
        mix(WORDS - 1, 0, MIDDLE - 1);
        for (word, key) in self.words.iter_mut().zip(self.key.iter()) {
            let mut tempered = *key;
            tempered ^= tempered >> 11;
            tempered ^= (tempered << 7) & 0x9d2c_5680;
            tempered ^= (tempered << 15) & 0xefc6_0000;
            *word = tempered ^ (tempered >> 18);
        }
        self.position = 0;
    }

    /// Draws a uniform integer from `0..=max` by masked rejection; a maximum of 0 consumes nothing.
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

    /// Shuffles like `numpy.random.shuffle` of an array or list.
    ///
    /// Draws do not depend on the items. They are made one block ahead, and the items are prefetched while the
    /// preceding block is swapped; otherwise every swap of a long list would wait for memory.
    pub fn shuffle<T: Copy>(&mut self, items: &mut [T]) {
        let mut top = items.len();
        while top > 1 << 32 {
            let i = top - 1;
            items.swap(i, usize::try_from(self.bounded(i as u64)).unwrap_or(i));
            top -= 1;
        }
        let (mut now, mut next) = ([0; AHEAD + 1], [0; AHEAD + 1]);
        let mut count = self.draw_block(top, &mut now);
        while count > 0 {
            let after = self.draw_block(top - count, &mut next);
            let targets = now[..count].iter().zip(next[..after].iter().map(Some).chain(std::iter::repeat(None)));
            for (i, (&target, ahead)) in (0..top).rev().zip(targets) {
                if let Some(&ahead) = ahead {
                    prefetch(items, ahead as usize);
                }
                items.swap(i, target as usize);
            }
            top -= count;
            count = after;
            std::mem::swap(&mut now, &mut next);
        }
    }

    /// Consumes the draws of a shuffle of `len` items without the items.
    pub fn skip_shuffle(&mut self, len: u64) {
        let mut top = len;
        while top > 1 << 32 {
            self.bounded(top - 1);
            top -= 1;
        }
        let mut draws = [0; AHEAD + 1];
        let mut top = usize::try_from(top).unwrap_or(usize::MAX);
        while top > 1 {
            top -= self.draw_block(top, &mut draws);
        }
    }

    /// Draws the indices of the next swaps of a shuffle with `top` (at most 2³²) items left, and returns their number.
    ///
    /// Rejections cannot be predicted, so the code has no branch for them: the next word overwrites a rejected one.
    fn draw_block(&mut self, top: usize, block: &mut [u32; AHEAD + 1]) -> usize {
        let count = top.saturating_sub(1).min(AHEAD);
        let mut drawn = 0;
        while drawn < count {
            // The highest bit of the bound, and therefore the mask, is constant within this loop.
            let mut bound = u32::try_from(top - 1 - drawn).unwrap_or(u32::MAX);
            let mask = u32::MAX >> bound.leading_zeros();
            let end = count.min(drawn + (bound - (mask >> 1)) as usize);
            while drawn < end {
                if self.position == WORDS {
                    self.twist();
                }
                // At most as many words as draws are taken, so that no word is wasted.
                let take = (WORDS - self.position).min(end - drawn);
                for word in &self.words[self.position..self.position + take] {
                    let value = word & mask;
                    block[drawn] = value;
                    let accepted = value <= bound;
                    drawn += usize::from(accepted);
                    bound -= u32::from(accepted);
                }
                self.position += take;
            }
        }
        count
    }

    /// Draws a uniform number from [0, 1) with 53 random bits.
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

    /// One draw per swap, as in numpy.
    fn step_by_step(generator: &mut Mt19937, items: &mut [u32]) {
        for i in (1..items.len()).rev() {
            let draw = generator.bounded(i as u64);
            items.swap(i, usize::try_from(draw).unwrap());
        }
    }

    #[test]
    fn shuffling_in_blocks_gives_and_leaves_what_shuffling_one_by_one_does() {
        for len in [0, 1, 2, 3, 624, 1023, 1024, 1025, 1026, 2049, 4096, 65_537] {
            let (mut blocks, mut steps) = (Mt19937::new(len), Mt19937::new(len));
            let mut shuffled: Vec<u32> = (0..len).collect();
            let mut expected = shuffled.clone();
            blocks.shuffle(&mut shuffled);
            step_by_step(&mut steps, &mut expected);
            assert_eq!((shuffled, blocks.word()), (expected, steps.word()), "{len} items");
        }
    }

    #[test]
    fn a_million_numbers_end_where_numpy_leaves_them() {
        // numpy 2.4: numpy.random.seed(42); a = numpy.arange(1_000_003); numpy.random.shuffle(a)
        let mut numbers: Vec<u32> = (0..1_000_003).collect();
        let mut generator = Mt19937::new(42);
        generator.shuffle(&mut numbers);
        assert_eq!(
            [numbers[0], numbers[1], numbers[500_000], numbers[1_000_002]],
            [631_113, 902_788, 821_383, 121_958]
        );
        let weighted = numbers
            .iter()
            .zip(1_u64..)
            .fold(0_u64, |sum, (&number, place)| sum.wrapping_add(u64::from(number).wrapping_mul(place)));
        assert_eq!((weighted, generator.word()), (249_959_147_004_737_728, 1_081_597_082));
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
