//! Mixing functions and seed splitting: the source of every random number that does not come from numpy's generator.
//!
//! Invariant: every function is pure and returns the same numbers on every machine and in every version, because
//! dataset files, plans and random draws depend on them. The Mersenne Twister of numpy, which the references use, is in
//! `plan::numpy`.

/// Increment of `SplitMix64`: 2^64 divided by the golden ratio, as an odd number (Steele, Lea, Flood: "Fast Splittable
/// Pseudorandom Number Generators", OOPSLA 2014).
pub const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// First multiplier of [`finalize`].
pub const FINALIZE_1: u64 = 0xBF58_476D_1CE4_E5B9;

/// Second multiplier of [`finalize`].
pub const FINALIZE_2: u64 = 0x94D0_49BB_1331_11EB;

/// The finalizer of `SplitMix64`, which is variant 13 of David Stafford's "Better Bit Mixing" (2011). It is a bijection
/// of 64-bit words and maps 0 to 0.
#[inline]
#[must_use]
pub const fn finalize(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(FINALIZE_1);
    let word = (word ^ (word >> 27)).wrapping_mul(FINALIZE_2);
    word ^ (word >> 31)
}

/// Returns the first output of `SplitMix64` for this state: [`finalize`] of the state plus [`GAMMA`]. It is a bijection
/// of 64-bit words.
#[inline]
#[must_use]
pub const fn splitmix64(state: u64) -> u64 {
    finalize(state.wrapping_add(GAMMA))
}

/// Returns the seed of an independent stream whose name consists of several parts, such as (seed, rank, epoch). A new
/// stream for one purpose does not change any other stream.
///
/// The construction is our own: it folds the parts with [`splitmix64`] and a rotation, starting from the fractional
/// bits of √2, which are the first constant of SHA-512.
#[must_use]
pub fn split_seed(parts: &[u64]) -> u64 {
    const START: u64 = 0x6A09_E667_F3BC_C908;
    parts.iter().fold(START, |state, &part| splitmix64(state.rotate_left(23) ^ splitmix64(part)))
}

/// Fibonacci hashing (Knuth, "The Art of Computer Programming", volume 3, section 6.4): multiplies the word by an odd
/// constant. It is a bijection, and the high bits of the result depend on all bits of the word.
#[inline]
#[must_use]
pub const fn fibonacci(word: u64) -> u64 {
    word.wrapping_mul(GAMMA)
}

/// The prime of 64-bit FNV.
const FNV_PRIME: u64 = 0x0000_0100_0000_01B3;

/// Returns the 64-bit FNV-1a hash of some bytes (Fowler, Noll, Vo).
#[inline]
#[must_use]
pub fn fnv1a_64(bytes: impl IntoIterator<Item = u8>) -> u64 {
    const OFFSET: u64 = 0xCBF2_9CE4_8422_2325;
    bytes.into_iter().fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME))
}

/// Returns the 128-bit FNV-1a hash of some bytes (Fowler, Noll, Vo).
#[must_use]
pub fn fnv1a_128(bytes: &[u8]) -> u128 {
    const OFFSET: u128 = 0x6C62_272E_07BB_0142_62B8_2175_6295_C58D;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013B;
    bytes.iter().fold(OFFSET, |hash, &byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}

/// One step of FNV-1a on a whole word, followed by a rotation that spreads its high bits. The construction is our own;
/// the serialization id of PyTorch containers uses it.
#[inline]
#[must_use]
pub const fn fnv1a_rotated(state: u64, word: u64) -> u64 {
    (state ^ word).wrapping_mul(FNV_PRIME).rotate_left(31)
}

/// A 64-bit linear congruential generator with the constants of Knuth's MMIX. It is small and fast; draws use the high
/// bits because the low bits are of poor quality.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lcg64(u64);

impl Lcg64 {
    /// Returns a generator whose state is the seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Advances the generator and returns its state (64 bits).
    #[inline]
    pub fn next_state(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0
    }

    /// Returns a number from 0 up to, but not including, `limit` (at least 1), from the 31 high bits of the next state.
    #[inline]
    pub fn below(&mut self, limit: u64) -> u64 {
        (self.next_state() >> 33) % limit.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_eight(mut of: impl FnMut(u64) -> u64) -> [u64; 8] {
        std::array::from_fn(|at| of(at as u64))
    }

    #[test]
    fn the_first_eight_of_the_finalizer() {
        let expected = [
            0x0000_0000_0000_0000,
            0x5692_161D_100B_05E5,
            0xDBD2_3897_3A2B_148A,
            0x1E53_5EED_E314_28F0,
            0xB7A4_712C_7456_2914,
            0xB6BF_613D_BEBB_45DC,
            0xD177_0797_7078_336C,
            0x12AE_3023_7B17_DF14,
        ];
        assert_eq!(first_eight(finalize), expected);
    }

    #[test]
    fn the_first_eight_of_splitmix64() {
        let expected = [
            0xE220_A839_7B1D_CDAF,
            0x910A_2DEC_8902_5CC1,
            0x9758_35DE_1C97_56CE,
            0x1D0B_14E4_DB01_8FED,
            0x6E73_E372_E233_8ACA,
            0x6303_3B0C_A389_C35A,
            0xBD64_A5D9_ADEF_E000,
            0x63CB_E1E4_5932_0DD7,
        ];
        assert_eq!(first_eight(splitmix64), expected);
    }

    #[test]
    fn the_first_eight_of_seeds_of_streams() {
        let expected = [
            0xA95E_8282_9947_ED4E,
            0x44E2_A9D8_2B21_C1C0,
            0x6C93_CA3C_3F9E_2817,
            0x790C_D7EC_2911_6C17,
            0xF8C7_9536_A909_A156,
            0xEA9C_56DD_3308_2B27,
            0xAF8D_3417_B4C1_46E4,
            0x9544_5913_C528_7725,
        ];
        assert_eq!(first_eight(|part| split_seed(&[1, part])), expected);
    }

    #[test]
    fn the_first_eight_of_fibonacci_hashing() {
        let expected = [
            0x0000_0000_0000_0000,
            0x9E37_79B9_7F4A_7C15,
            0x3C6E_F372_FE94_F82A,
            0xDAA6_6D2C_7DDF_743F,
            0x78DD_E6E5_FD29_F054,
            0x1715_609F_7C74_6C69,
            0xB54C_DA58_FBBE_E87E,
            0x5384_5412_7B09_6493,
        ];
        assert_eq!(first_eight(fibonacci), expected);
    }

    #[test]
    fn the_first_eight_of_fnv1a() {
        let expected = [
            0xCBF2_9CE4_8422_2325,
            0xAF63_DC4C_8601_EC8C,
            0x089C_4407_B545_986A,
            0xE71F_A219_0541_574B,
            0xFC17_9F83_EE07_24DD,
            0x6348_C52D_7623_64A8,
            0xD80B_DA3F_BE24_4A0A,
            0x406E_4750_17AA_7737,
        ];
        assert_eq!(first_eight(|len| fnv1a_64((b'a'..=b'h').take(usize::try_from(len).unwrap()))), expected);
    }

    #[test]
    fn the_hash_of_128_bits_is_the_published_fnv1a() {
        assert_eq!(fnv1a_128(b""), 0x6C62_272E_07BB_0142_62B8_2175_6295_C58D);
        assert_eq!(fnv1a_128(b"a"), 0xD228_CB69_6F1A_8CAF_7891_2B70_4E4A_8964);
    }

    #[test]
    fn the_first_eight_of_the_rotated_fnv1a() {
        let expected = [
            0x0000_00D9_8000_0080,
            0x4000_6D99_8000_F94A,
            0x40D3_CAAC_60D9_C1EA,
            0x4902_3F75_80D1_A5F4,
            0xF21E_7B68_703B_E254,
            0x5AE0_C7D1_D2D7_01BB,
            0xA1AB_FA13_A17A_A344,
            0xB1B1_B56C_98EE_992D,
        ];
        assert_eq!(
            {
                let mut state = 1;
                first_eight(|word| {
                    state = fnv1a_rotated(state, word);
                    state
                })
            },
            expected
        );
    }

    #[test]
    fn the_first_eight_of_the_congruential_generator() {
        let expected = [
            0x2CEA_EE21_BF46_BC00,
            0xAA80_754D_1A1A_8D4F,
            0xB3C4_904A_6D27_8932,
            0xBC69_CF42_7684_6D19,
            0x377B_2FD5_6A5B_15B4,
            0x64D8_15DE_EAF2_9DF3,
            0xF66E_100D_B2D7_D206,
            0x1069_E6A5_7E06_665D,
        ];
        assert_eq!(
            {
                let mut numbers = Lcg64::new(GAMMA);
                first_eight(|_| numbers.next_state())
            },
            expected
        );
    }
}
