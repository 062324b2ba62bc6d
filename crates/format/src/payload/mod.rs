//! Payload bytes: seeded, seekable, unique per file and position, and incompressible.
//!
//! A stream is a counter put through `SplitMix64`'s finalizer, with a second key mixed in half way. Word `i` of a file
//! depends on (seed, file, `i`) alone, so any range can be made without the ones before it, on any rank and with any
//! instruction set. Within a file no two words are equal, because the finalizer is a bijection of the counter; across
//! files the two keys (128 bits) differ.

mod element;
mod kernel;
mod key;

use crate::buffer::clamp;
use key::{GAMMA, Key, mix};

pub use element::Element;

/// The payload of a whole data set: a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    seed: u64,
}

impl Payload {
    /// The payload of `dlio_rs.payload_seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The seed.
    pub(crate) fn seed(self) -> u64 {
        self.seed
    }

    fn key(self, file: u64) -> Key {
        let start = mix(mix(self.seed.wrapping_add(GAMMA)) ^ mix(file.wrapping_add(0xD1B5_4A32_D192_ED03)));
        Key { start, flip: mix(start ^ 0x8CB9_2BA7_2F3D_8DD7) ^ mix(file ^ 0xAEF1_7502_108E_F2D9) }
    }

    /// The first `len` bytes of a file's stream.
    #[must_use]
    pub fn stream(self, file: u64, element: Element, len: u64) -> Stream {
        Stream { key: self.key(file), element, position: 0, end: len }
    }

    /// A number that belongs to a file but to no position of its stream.
    #[must_use]
    pub fn number(self, file: u64) -> u64 {
        let key = self.key(file);
        mix(key.flip.wrapping_add(GAMMA) ^ mix(key.start))
    }
}

/// A range of a file's payload, produced from front to back.
#[derive(Debug, Clone)]
pub struct Stream {
    key: Key,
    element: Element,
    position: u64,
    end: u64,
}

impl Stream {
    /// The same stream from byte `from` to byte `to`.
    #[must_use]
    pub fn range(&self, from: u64, to: u64) -> Self {
        Self { position: from, end: to, ..self.clone() }
    }

    /// Bytes that are still to come.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.end.saturating_sub(self.position)
    }

    /// Writes the next bytes over the front of `buffer`, as many as fit and remain, and returns their number.
    pub fn fill(&mut self, buffer: &mut [u8]) -> usize {
        let count = clamp(self.remaining(), buffer.len());
        let buffer = &mut buffer[..count];
        let mut first = self.position / 8;
        let inside = (self.position % 8) as usize;
        let mut rest = buffer;
        if inside != 0 {
            let head = rest.len().min(8 - inside);
            let (front, back) = rest.split_at_mut(head);
            front.copy_from_slice(&self.word(first)[inside..inside + head]);
            rest = back;
            first += 1;
        }
        let (words, tail) = rest.as_chunks_mut::<8>();
        kernel::fill(self.key, self.element, first, words);
        if !tail.is_empty() {
            let length = tail.len();
            tail.copy_from_slice(&self.word(first + words.len() as u64)[..length]);
        }
        self.position += count as u64;
        count
    }

    fn word(&self, index: u64) -> [u8; 8] {
        let mut word = [[0; 8]];
        kernel::portable(self.key, self.element, index, &mut word);
        word[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ELEMENTS: [Element; 6] =
        [Element::Raw, Element::Float16, Element::Float32, Element::Float64, Element::Bool, Element::Bfloat16];

    fn bytes(seed: u64, file: u64, element: Element, len: usize) -> Vec<u8> {
        let mut buffer = vec![0; len];
        assert_eq!(Payload::new(seed).stream(file, element, len as u64).fill(&mut buffer), len);
        buffer
    }

    #[test]
    fn every_instruction_set_makes_the_same_bytes() {
        let key = Payload::new(3).key(4);
        for element in ELEMENTS {
            for words in [1, 7, 64, 1000] {
                let mut expected = vec![[0; 8]; words];
                kernel::portable(key, element, 11, &mut expected);
                for level in kernel::available() {
                    let mut found = vec![[0; 8]; words];
                    kernel::fill_at(level, key, element, 11, &mut found);
                    assert_eq!(found, expected, "{level:?} {element:?} {words} words");
                }
            }
        }
    }

    #[test]
    fn the_fingerprint_of_the_payload_has_not_changed() {
        let fingerprints: Vec<u32> =
            ELEMENTS.iter().map(|&element| crate::crc::crc32(&bytes(1, 2, element, 100_003))).collect();
        assert_eq!(fingerprints, FINGERPRINTS);
    }

    const FINGERPRINTS: [u32; 6] =
        [3_644_605_368, 318_212_120, 1_067_225_070, 3_495_918_313, 3_044_035_718, 825_639_975];

    #[test]
    fn a_stream_read_in_odd_pieces_is_the_same_stream() {
        for element in ELEMENTS {
            let whole = bytes(9, 9, element, 5000);
            for piece in [1, 3, 8, 13, 999] {
                let mut stream = Payload::new(9).stream(9, element, 5000);
                let mut buffer = vec![0; piece];
                let mut joined = Vec::new();
                loop {
                    let count = stream.fill(&mut buffer);
                    if count == 0 {
                        break;
                    }
                    joined.extend_from_slice(&buffer[..count]);
                }
                assert!(joined == whole, "{element:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn no_block_repeats_within_a_file_or_across_files_or_seeds() {
        let mut seen = std::collections::HashSet::new();
        for (seed, file) in [(0, 0), (0, 1), (1, 0), (1, 1), (u64::MAX, 7)] {
            for block in bytes(seed, file, Element::Raw, 64 * 1024).chunks(64) {
                assert!(seen.insert(block.to_vec()), "seed {seed} file {file}");
            }
        }
    }

    #[test]
    fn raw_bytes_are_evenly_spread() {
        let data = bytes(5, 5, Element::Raw, 1 << 20);
        let mut counts = [0_i64; 256];
        for byte in data {
            counts[byte as usize] += 1;
        }
        // 4096 expected each; six standard deviations are 384.
        assert!(counts.iter().all(|count| (count - 4096).abs() < 400), "{counts:?}");
    }

    #[test]
    fn floats_are_uniform_between_zero_and_one() {
        let doubles: Vec<f64> =
            bytes(1, 1, Element::Float64, 80_000).as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b)).collect();
        let singles: Vec<f64> = bytes(1, 1, Element::Float32, 80_000)
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&b| f64::from(f32::from_le_bytes(b)))
            .collect();
        let halves: Vec<f64> = bytes(1, 1, Element::Float16, 80_000)
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&b| half(u16::from_le_bytes(b)))
            .collect();
        let brains: Vec<f64> = bytes(1, 1, Element::Bfloat16, 80_000)
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&b| f64::from(f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)))
            .collect();
        for values in [doubles, singles, halves, brains] {
            assert!(values.iter().all(|value| (0.0..1.0).contains(value)));
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            assert!((mean - 0.5).abs() < 0.01, "mean {mean}");
        }
        assert!(bytes(1, 1, Element::Bool, 1000).iter().all(|&byte| byte < 2));
    }

    /// A finite half-precision number.
    fn half(bits: u16) -> f64 {
        let exponent = i32::from(bits >> 10 & 31);
        let mantissa = f64::from(bits & 1023) / 1024.0;
        let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
        sign * if exponent == 0 { mantissa * 2_f64.powi(-14) } else { (1.0 + mantissa) * 2_f64.powi(exponent - 15) }
    }
}
