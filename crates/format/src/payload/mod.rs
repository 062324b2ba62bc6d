//! Payload bytes: seeded, seekable, unique per file and position, and incompressible.
//!
//! A stream is a counter passed through the finalizer of `SplitMix64`, with a second key mixed in half way. Word `i`
//! of a file depends on (seed, file, `i`) alone, so any range can be generated without the bytes before it, on any
//! rank and with any instruction set. No two words of a file are equal, because the finalizer is a bijection of the
//! counter. The keys of different files (128 bits) differ.

mod element;
mod kernel;
mod key;

use dlio_event::mix::{GAMMA, finalize, splitmix64};

use crate::buffer::clamp;
use key::Key;

pub use element::Element;

/// The payload generator of a whole dataset, defined by a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    seed: u64,
}

impl Payload {
    /// Creates the generator for `dlio_rs.payload_seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Returns the seed.
    pub(crate) fn seed(self) -> u64 {
        self.seed
    }

    fn key(self, file: u64) -> Key {
        let start = finalize(splitmix64(self.seed) ^ finalize(file.wrapping_add(0xD1B5_4A32_D192_ED03)));
        Key { start, flip: finalize(start ^ 0x8CB9_2BA7_2F3D_8DD7) ^ finalize(file ^ 0xAEF1_7502_108E_F2D9) }
    }

    /// Returns the first `len` bytes of a file's stream.
    #[must_use]
    pub fn stream(self, file: u64, element: Element, len: u64) -> Stream {
        Stream { key: self.key(file), element, position: 0, end: len }
    }

    /// Returns a number that belongs to a file but to no position of its stream.
    #[must_use]
    pub fn number(self, file: u64) -> u64 {
        let key = self.key(file);
        finalize(key.flip.wrapping_add(GAMMA) ^ finalize(key.start))
    }
}

/// A range of a file's payload, generated from front to back.
#[derive(Debug, Clone)]
pub struct Stream {
    key: Key,
    element: Element,
    position: u64,
    end: u64,
}

impl Stream {
    /// Returns the part of the stream from byte `from` to byte `to`.
    #[must_use]
    pub fn range(&self, from: u64, to: u64) -> Self {
        Self { position: from, end: to, ..self.clone() }
    }

    /// Returns the number of bytes that remain.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.end.saturating_sub(self.position)
    }

    /// Writes as many of the next bytes as fit into `buffer` and remain, and returns their number.
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

    /// What is changed here changes the content of every file.
    #[test]
    #[expect(clippy::too_many_lines, reason = "a table of numbers")]
    fn the_first_eight_words_of_each_kind_of_element() {
        let words = |element| -> Vec<u64> {
            let bytes = bytes(7, 3, element, 64);
            bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect()
        };
        assert_eq!(
            words(Element::Raw),
            [
                12_374_063_650_394_193_846,
                5_434_331_814_913_825_686,
                10_244_033_004_051_307_362,
                10_086_067_941_699_374_003,
                12_794_341_799_666_812_797,
                8_205_602_227_205_908_669,
                542_260_926_526_315_723,
                10_418_537_945_800_715_819
            ]
        );
        assert_eq!(
            words(Element::Float16),
            [
                3_995_310_040_068_209_590,
                3_950_848_736_142_571_308,
                4_191_225_887_995_999_940,
                4_030_775_990_206_740_326,
                3_618_699_647_540_804_477,
                3_711_031_789_546_384_872,
                4_289_181_048_298_551_499,
                3_220_136_471_042_341_419
            ]
        );
        assert_eq!(
            words(Element::Float32),
            [
                4_551_935_808_846_406_524,
                4_510_026_531_582_973_364,
                4_543_615_374_875_286_298,
                4_542_998_325_511_418_442,
                4_553_577_525_735_859_468,
                4_531_677_083_755_285_664,
                4_391_238_061_284_732_124,
                4_544_297_037_723_230_510
            ]
        );
        assert_eq!(
            words(Element::Float64),
            [
                4_604_217_242_812_070_454,
                4_598_978_584_580_907_700,
                4_603_177_188_785_535_842,
                4_603_100_057_407_434_312,
                4_604_422_456_752_144_976,
                4_601_684_903_342_911_688,
                4_584_130_048_385_397_568,
                4_603_262_396_276_624_420
            ]
        );
        assert_eq!(
            words(Element::Bool),
            [
                72_340_168_543_109_376,
                72_058_693_566_333_184,
                1_103_823_438_080,
                72_058_693_566_333_185,
                72_057_594_037_928_193,
                72_058_693_549_621_249,
                72_058_693_566_332_929,
                1_103_806_660_609
            ]
        );
        assert_eq!(
            words(Element::Bfloat16),
            [
                4_555_741_390_399_684_406,
                4_527_313_336_870_256_406,
                4_478_899_361_708_457_668,
                4_573_474_365_464_919_859,
                4_543_636_832_500_334_330,
                4_566_719_567_325_511_485,
                4_541_386_407_086_669_643,
                4_545_888_426_175_643_180
            ]
        );
        let numbers: Vec<u64> = (0..8).map(|file| Payload::new(7).number(file)).collect();
        assert_eq!(
            numbers,
            [
                14_949_066_975_222_609_298,
                8_742_023_628_218_715_520,
                5_813_553_503_221_429_381,
                9_343_226_077_482_896_824,
                435_179_980_698_267_545,
                1_596_834_358_196_844_847,
                8_251_535_943_058_737_279,
                14_885_561_289_924_683_979
            ]
        );
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

    /// Returns the value of a finite half-precision number.
    fn half(bits: u16) -> f64 {
        let exponent = i32::from(bits >> 10 & 31);
        let mantissa = f64::from(bits & 1023) / 1024.0;
        let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
        sign * if exponent == 0 { mantissa * 2_f64.powi(-14) } else { (1.0 + mantissa) * 2_f64.powi(exponent - 15) }
    }
}
