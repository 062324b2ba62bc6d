//! Templates of coefficient blocks, and the bit writer of a scan.
//!
//! The coefficients of white noise with the values 0 to 254 are nearly normal with a standard deviation of 73.6 at
//! every frequency. Divided by the quantizers of quality 75 they have the sizes that the templates are made from.
//! Only integers are used, so that every machine generates the same blocks.

use std::sync::LazyLock;

use crate::payload::{Element, Payload};

/// Number of payload words per block: one selects the template and the DC value, the others supply the magnitude
/// bits.
pub(super) const WORDS: usize = 1 + BLOCK_WORDS;
/// Length in bits of the shortest block: no DC difference, end of block.
pub(super) const FLAT_BITS: u64 = 6;
/// Number of words in the longest template.
const BLOCK_WORDS: usize = 6;
const COUNT: usize = 256;
/// Number of templates drawn, of which those of middle length are kept.
const DRAWN: usize = 384;
/// Standard deviation of the coefficients in tenths: 73.6.
const DEVIATION: i64 = 736;

/// Luminance quantizers at quality 75, in zigzag order.
pub(super) const QUANTIZERS: [u8; 64] = [
    8, 6, 6, 7, 6, 5, 8, 7, 7, 7, 9, 9, 8, 10, 12, 20, 13, 12, 11, 11, 12, 25, 18, 19, 15, 20, 29, 26, 31, 30, 29, 26,
    28, 28, 32, 36, 46, 39, 32, 34, 44, 35, 28, 28, 40, 55, 41, 44, 48, 49, 52, 52, 52, 31, 39, 57, 61, 56, 50, 60, 46,
    51, 52, 50,
];
/// The standard Huffman table for luminance DC differences: class and number, codes of each length, symbols.
pub(super) const DC_TABLE: [u8; 29] =
    [0, 0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
/// The standard Huffman table for luminance AC coefficients.
pub(super) const AC_TABLE: [u8; 179] = [
    0x10, 0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7d, 0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21,
    0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71, 0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1,
    0x15, 0x52, 0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72, 0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27,
    0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53,
    0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76,
    0x77, 0x78, 0x79, 0x7a, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98,
    0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9,
    0xba, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda,
    0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9,
    0xfa,
];
/// Symbol of sixteen zeros, and symbol of the end of a block, whose code is 1010.
const ZEROS: u8 = 0xf0;
const END_OF_BLOCK: u8 = 0;
/// Codes of AC symbols without a run, by number of magnitude bits: code and its length in bits.
const PLAIN: [(u64, u32); 6] = [(0b00, 2), (0b01, 2), (0b100, 3), (0b1011, 4), (0b1_1010, 5), (0b111_1000, 7)];

/// The AC coefficients of a block: its bits from the top of the first word on, and the mask of its magnitude bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockTemplate {
    fixed: [u64; BLOCK_WORDS],
    free: [u64; BLOCK_WORDS],
    bits: u32,
}

/// The templates of every image.
pub(super) static BLOCK_TEMPLATES: LazyLock<BlockTemplates> = LazyLock::new(BlockTemplates::new);

/// The block templates, shorter ones first, and the codes of DC differences.
#[derive(Debug)]
pub(super) struct BlockTemplates {
    blocks: Vec<BlockTemplate>,
    dc: [(u16, u8); 12],
}

impl BlockTemplates {
    fn new() -> Self {
        let codes = codes(&AC_TABLE);
        let mut noise = Payload::new(0x4a46_4946).stream(0, Element::Raw, u64::MAX);
        let mut drawn: Vec<BlockTemplate> = std::iter::repeat_with(|| {
            let mut block = BlockTemplate { fixed: [0; BLOCK_WORDS], free: [0; BLOCK_WORDS], bits: 0 };
            block.draw(&codes, || {
                let mut bytes = [0; 24];
                noise.fill(&mut bytes);
                // The sum of twelve uniform numbers is nearly normal with a standard deviation of 65,536.
                bytes.as_chunks::<2>().0.iter().map(|&pair| i64::from(u16::from_le_bytes(pair))).sum::<i64>()
                    - 6 * 65_535
            });
            block
        })
        .filter(|block| block.bits as usize <= BLOCK_WORDS * 64)
        .take(DRAWN)
        .collect();
        drawn.sort_by_key(|block| block.bits);
        let surplus = (DRAWN - COUNT) / 2;
        let blocks = drawn[surplus..surplus + COUNT].to_vec();
        let mut dc = [(0, 0); 12];
        for (symbol, code, length) in codes_of(&DC_TABLE) {
            dc[usize::from(symbol)] = (code, length);
        }
        Self { blocks, dc }
    }

    /// Returns a template from the longer or the shorter half.
    pub(super) fn pick(&self, number: u8, longer: bool) -> &BlockTemplate {
        let half = if longer { COUNT / 2 } else { 0 };
        &self.blocks[half + usize::from(number) % (COUNT / 2)]
    }
}

/// Returns the symbols of a Huffman table with their codes and code lengths.
fn codes_of(table: &[u8]) -> impl Iterator<Item = (u8, u16, u8)> {
    let mut code = 0_u16;
    let mut length = 1;
    let mut of_length = 0;
    table[17..].iter().map(move |&symbol| {
        while of_length == table[length] {
            (length, of_length, code) = (length + 1, 0, code << 1);
        }
        let this = code;
        (code, of_length) = (code + 1, of_length + 1);
        (symbol, this, length as u8)
    })
}

fn codes(table: &[u8]) -> [(u16, u8); 256] {
    let mut codes = [(0, 0); 256];
    for (symbol, code, length) in codes_of(table) {
        codes[usize::from(symbol)] = (code, length);
    }
    codes
}

impl BlockTemplate {
    /// Draws 63 coefficients.
    fn draw(&mut self, codes: &[(u16, u8); 256], mut normal: impl FnMut() -> i64) {
        let mut run = 0;
        for quantizer in &QUANTIZERS[1..] {
            let step = i64::from(*quantizer) * 10 * 65_536;
            // Rounded to the nearest step.
            let value = (normal() * DEVIATION * 2 + step).div_euclid(step * 2);
            if value == 0 {
                run += 1;
                continue;
            }
            while run >= 16 {
                self.code(codes, ZEROS);
                run -= 16;
            }
            let size = value.unsigned_abs().ilog2() + 1;
            self.code(codes, run << 4 | size as u8);
            self.put(0, (1 << size) - 1, size);
            run = 0;
        }
        if run > 0 {
            self.code(codes, END_OF_BLOCK);
        }
    }

    fn code(&mut self, codes: &[(u16, u8); 256], symbol: u8) {
        let (code, length) = codes[usize::from(symbol)];
        self.put(u64::from(code), 0, u32::from(length));
    }

    /// Appends bits. If the block gets too long, only counts them.
    fn put(&mut self, fixed: u64, free: u64, count: u32) {
        for bit in (0..count).rev() {
            let (word, shift) = ((self.bits / 64) as usize, 63 - self.bits % 64);
            if word < BLOCK_WORDS {
                self.fixed[word] |= (fixed >> bit & 1) << shift;
                self.free[word] |= (free >> bit & 1) << shift;
            }
            self.bits += 1;
        }
    }
}

/// The bit writer of a scan, which stuffs a zero byte after every byte 0xff.
#[derive(Debug, Clone)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits that do not yet fill a byte, from the top on.
    held: u64,
    holds: u32,
}

impl BitWriter {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), held: 0, holds: 0 }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Returns the number of bits written since the last `clear`, including those held then.
    pub(super) fn count(&self) -> u64 {
        self.bytes.len() as u64 * 8 + u64::from(self.holds)
    }

    /// Appends the lowest `count` bits of `bits`, 1 to 64; all other bits must be zero.
    #[inline]
    fn put(&mut self, bits: u64, count: u32) {
        let room = 64 - self.holds;
        if count < room {
            self.held |= bits << (room - count);
            self.holds += count;
            return;
        }
        let over = count - room;
        self.push(self.held | bits >> over);
        self.held = if over == 0 { 0 } else { bits << (64 - over) };
        self.holds = over;
    }

    #[inline]
    fn push(&mut self, word: u64) {
        const ONES: u64 = 0x0101_0101_0101_0101;
        // A byte of the complement is zero where the word has a byte 0xff.
        if (!word).wrapping_sub(ONES) & word & (ONES << 7) == 0 {
            self.bytes.extend_from_slice(&word.to_be_bytes());
        } else {
            word.to_be_bytes().into_iter().for_each(|byte| self.push_byte(byte));
        }
    }

    #[cold]
    fn push_byte(&mut self, byte: u8) {
        self.bytes.push(byte);
        if byte == 0xff {
            self.bytes.push(0);
        }
    }

    /// Writes the held bits as bytes, except for the last seven at most.
    pub(super) fn settle(&mut self) {
        while self.holds >= 8 {
            self.push_byte((self.held >> 56) as u8);
            self.held <<= 8;
            self.holds -= 8;
        }
    }

    /// Appends the difference between a DC value and the previous one: its size, then its magnitude.
    #[inline]
    pub(super) fn difference(&mut self, difference: i32) {
        let size = 32 - difference.unsigned_abs().leading_zeros();
        let (code, length) = BLOCK_TEMPLATES.dc[size as usize];
        // A negative value is decremented and written without its sign.
        let value = (difference - i32::from(difference < 0)).cast_unsigned() & ((1 << size) - 1);
        self.put(u64::from(code) << size | u64::from(value), u32::from(length) + size);
    }

    /// Appends the coefficients of a template with these magnitude bits.
    #[inline]
    pub(super) fn block(&mut self, block: &BlockTemplate, noise: &[u64]) {
        let mut left = block.bits;
        for ((fixed, free), noise) in block.fixed.iter().zip(&block.free).zip(noise) {
            let word = fixed | free & noise;
            if left <= 64 {
                self.put(word >> (64 - left), left);
                return;
            }
            self.put(word, 64);
            left -= 64;
        }
    }

    /// Appends a block without detail, equal to the previous block's DC value.
    pub(super) fn flat_block(&mut self) {
        self.put(0b00_1010, FLAT_BITS as u32);
    }

    /// Appends a block without a DC difference that takes exactly `room` bits, up to seven of them as padding of the
    /// last byte. Its magnitude bits are zeros, so it contains no byte 0xff.
    pub(super) fn exact_block(&mut self, room: u64) {
        let mut left = room.saturating_sub(FLAT_BITS);
        self.put(0b00, 2);
        for slot in (1..=62_u64).rev() {
            let size_of = |plain: usize| u64::from(PLAIN[plain].1) + plain as u64 + 1;
            let fitting = (0..PLAIN.len()).filter(|&plain| size_of(plain) <= left);
            let share = left.div_ceil(slot);
            let Some(plain) = fitting.min_by_key(|&plain| size_of(plain).abs_diff(share)) else { break };
            let (code, _) = PLAIN[plain];
            self.put(code << (plain + 1), size_of(plain) as u32);
            left -= size_of(plain);
        }
        self.put(0b1010, 4);
        let padding = left.min(7) as u32;
        if padding > 0 {
            self.put((1 << padding) - 1, padding);
        }
        self.settle();
    }

    /// Appends fill bytes, which may precede any marker.
    pub(super) fn fill_up(&mut self) {
        self.bytes.resize(self.bytes.len() + 64, 0xff);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_both_halves_lie_on_either_side_of_pillows_mean() {
        let blocks = BlockTemplates::new();
        let mean =
            |part: &[BlockTemplate]| part.iter().map(|block| f64::from(block.bits)).sum::<f64>() / part.len() as f64;
        let (shorter, longer) = blocks.blocks.split_at(COUNT / 2);
        // 35.53 bytes, minus about 7.5 bits of DC and 1.1 bits of stuffing.
        let wanted = 35.53 * 8.0 - 8.6;
        assert!(mean(shorter) + 3.0 < wanted && wanted + 3.0 < mean(longer), "{} {}", mean(shorter), mean(longer));
        assert!(blocks.blocks[COUNT - 1].bits - blocks.blocks[0].bits < 60);
    }

    #[test]
    fn half_of_the_bits_of_a_block_are_payload() {
        let blocks = BlockTemplates::new();
        let free: u32 = blocks.blocks.iter().flat_map(|block| block.free).map(u64::count_ones).sum();
        let all: u32 = blocks.blocks.iter().map(|block| block.bits).sum();
        assert!(free * 10 > all * 4, "{free} of {all}");
    }

    #[test]
    fn codes_are_the_usual_ones() {
        let ac = codes(&AC_TABLE);
        assert_eq!((ac[0x01], ac[0x00], ac[0xf0]), ((0, 2), (0b1010, 4), (0b111_1111_1001, 11)));
        for (plain, &(code, length)) in PLAIN.iter().enumerate() {
            assert_eq!(ac[plain + 1], (code as u16, length as u8));
        }
        assert_eq!(BlockTemplates::new().dc[0], (0, 2));
        assert_eq!(BlockTemplates::new().dc[11], (0b1_1111_1110, 9));
    }

    #[test]
    fn a_last_block_takes_any_room() {
        for room in 6..700 {
            for held in 0..8 {
                let mut bits = BitWriter::new();
                if held > 0 {
                    bits.put((1 << held) - 1, held);
                }
                let total = u64::from(held) + room;
                if total % 8 != 0 {
                    continue;
                }
                bits.exact_block(room);
                assert_eq!(bits.bytes().len() as u64 * 8, total, "{room} bits behind {held}");
                assert_eq!(bits.holds, 0);
            }
        }
    }
}
