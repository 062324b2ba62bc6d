//! The inner loop of the payload generator, compiled once per instruction set from one source.
//!
//! Every instruction set runs the same Rust code and therefore generates the same bytes; only the vector width
//! differs.

use dlio_event::mix::{FINALIZE_1, FINALIZE_2, GAMMA};

use super::element::Element;
use super::key::Key;

/// An instruction set that the loop is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// Returns the best instruction set of this processor. The standard library caches the detection.
#[cfg(target_arch = "x86_64")]
fn best() -> Level {
    if is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
    {
        Level::Avx512
    } else if is_x86_feature_detected!("avx2") {
        Level::Avx2
    } else {
        Level::Portable
    }
}

/// Other processors have their vector instructions enabled at compile time.
#[cfg(not(target_arch = "x86_64"))]
fn best() -> Level {
    Level::Portable
}

/// Returns all levels that this processor supports.
#[cfg(test)]
pub(super) fn available() -> Vec<Level> {
    match best() {
        Level::Portable => vec![Level::Portable],
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => vec![Level::Portable, Level::Avx2],
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => vec![Level::Portable, Level::Avx2, Level::Avx512],
    }
}

/// Writes the words of a stream from word `first` on, with the best available instruction set.
pub(super) fn fill(key: Key, element: Element, first: u64, words: &mut [[u8; 8]]) {
    fill_at(best(), key, element, first, words);
}

/// Writes the words of a stream with a given instruction set, which must be available.
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "calls code compiled for detected instruction sets"))]
pub(super) fn fill_at(level: Level, key: Key, element: Element, first: u64, words: &mut [[u8; 8]]) {
    match level {
        Level::Portable => portable(key, element, first, words),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a level other than `Portable` comes from `best` or `available`, which detected its features.
        Level::Avx2 => unsafe { avx2(key, element, first, words) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx512 => unsafe { avx512(key, element, first, words) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
fn avx512(key: Key, element: Element, first: u64, words: &mut [[u8; 8]]) {
    generate(key, element, first, words);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2(key: Key, element: Element, first: u64, words: &mut [[u8; 8]]) {
    generate(key, element, first, words);
}

/// Writes the words of a stream with the instruction set that the whole program is compiled for.
pub(super) fn portable(key: Key, element: Element, first: u64, words: &mut [[u8; 8]]) {
    generate(key, element, first, words);
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "must be compiled inside each function with its own target features")]
fn generate(key: Key, element: Element, first: u64, words: &mut [[u8; 8]]) {
    match element {
        Element::Raw => each(key, first, words, |word| word),
        Element::Float16 => each(key, first, words, float16),
        Element::Bfloat16 => each(key, first, words, bfloat16),
        Element::Float32 => each(key, first, words, float32),
        Element::Float64 => each(key, first, words, float64),
        Element::Bool => each(key, first, words, |word| word & 0x0101_0101_0101_0101),
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn each(key: Key, first: u64, words: &mut [[u8; 8]], shape: impl Fn(u64) -> u64) {
    let mut counter = first.wrapping_mul(GAMMA).wrapping_add(key.start);
    for target in words {
        let mut word = (counter ^ (counter >> 30)).wrapping_mul(FINALIZE_1) ^ key.flip;
        word = (word ^ (word >> 27)).wrapping_mul(FINALIZE_2);
        *target = shape(word ^ (word >> 31)).to_le_bytes();
        counter = counter.wrapping_add(GAMMA);
    }
}

/// Converts a word to a number in [0, 1): 52 random bits behind the exponent of 1, minus 1.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn float64(word: u64) -> u64 {
    (f64::from_bits((word >> 12) | 0x3FF0_0000_0000_0000) - 1.0).to_bits()
}

/// Converts both halves of a word to numbers in [0, 1): 23 random bits behind the exponent of 1, minus 1.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn float32(word: u64) -> u64 {
    let one = |half: u64| {
        let bits = (half & 0xFFFF_FFFF) >> 9 | 0x3F80_0000;
        u64::from((f32::from_bits(bits as u32) - 1.0).to_bits())
    };
    one(word) | one(word >> 32) << 32
}

/// Converts eleven random bits to a half-precision number by way of single precision. The conversion is exact,
/// because a half has eleven significant bits.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn float16(word: u64) -> u64 {
    let one = |quarter: u64| {
        let units = (quarter & 0x7FF) as u32;
        // units / 2048; the exponent of a half is smaller by 127 - 15.
        let bits = ((units as f32 * (1.0 / 2048.0)).to_bits() >> 13).wrapping_sub(112 << 10);
        u64::from(if units == 0 { 0 } else { bits & 0x7FFF })
    };
    one(word) | one(word >> 16) << 16 | one(word >> 32) << 32 | one(word >> 48) << 48
}

/// Converts eight random bits to a brain float: the upper half of the single-precision number.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn bfloat16(word: u64) -> u64 {
    let one = |quarter: u64| {
        let units = (quarter & 0xFF) as u32;
        u64::from((units as f32 * (1.0 / 256.0)).to_bits() >> 16)
    };
    one(word) | one(word >> 16) << 16 | one(word >> 32) << 32 | one(word >> 48) << 48
}
