//! The keys of a payload stream and the mixing function behind them.

pub(super) const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// `SplitMix64`'s finalizer.
pub(super) fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// The two keys of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    pub(super) start: u64,
    pub(super) flip: u64,
}
