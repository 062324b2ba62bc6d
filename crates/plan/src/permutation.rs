//! Permutations that are computed rather than stored.

use dlio_event::mix::splitmix64;

/// A permutation of `0..len` that is computed rather than stored. It is a Feistel network over the next even power of
/// two, applied repeatedly until the result is in range: fewer than four times on average. It needs no memory and has
/// random access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Permutation {
    len: u64,
    half_bits: u32,
    key: u64,
}

const ROUNDS: u64 = 6;

impl Permutation {
    pub(crate) fn new(len: u64, key: u64) -> Self {
        let bits = 64 - len.saturating_sub(1).leading_zeros();
        Self { len, half_bits: bits.div_ceil(2).max(1), key }
    }

    /// Returns the image of position `at`, which must be less than the length.
    pub(crate) fn apply(&self, at: u64) -> u64 {
        debug_assert!(at < self.len, "position {at} is outside a permutation of {}", self.len);
        let mut position = self.scramble(at);
        while position >= self.len {
            position = self.scramble(position);
        }
        position
    }

    fn scramble(&self, position: u64) -> u64 {
        let mask = (1_u64 << self.half_bits) - 1;
        let (mut left, mut right) = (position >> self.half_bits, position & mask);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ (splitmix64(self.key ^ splitmix64(right ^ (round << 56))) & mask));
        }
        left << self.half_bits | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permutation_visits_every_position_once_at_any_length() {
        for len in (1..70).chain([1000, 4096, 4097]) {
            let mut seen: Vec<u64> = (0..len).map(|at| Permutation::new(len, 42).apply(at)).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..len).collect::<Vec<_>>(), "length {len}");
        }
    }

    #[test]
    fn another_key_is_another_order() {
        let order = |key| (0..50).map(|at| Permutation::new(50, key).apply(at)).collect::<Vec<_>>();
        assert_ne!(order(1), order(2));
        assert_ne!(order(1), (0..50).collect::<Vec<_>>());
    }
}
