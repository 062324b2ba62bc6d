//! The entropy-coded data of a JPEG image, generated block by block.

use super::blocks::{BLOCK_TEMPLATES, BitWriter, FLAT_BITS, WORDS};
use crate::payload::Stream;

/// Number of bits by which the scan may exceed its share before a flat block compensates.
pub(super) const SLACK: u64 = 60;
/// Number of bits that must be free for any block but a flat one: the longest template, its DC difference, and
/// stuffing.
const LONGEST: u64 = 512;
/// Number of blocks generated at a time; their bits stay in the first-level cache.
const BATCH: u64 = 64;

/// An encoder of the entropy-coded data of an image.
#[derive(Debug, Clone)]
pub(crate) struct Scan {
    payload: Stream,
    /// Total number of blocks.
    count: u64,
    made: u64,
    /// Total number of bits.
    total: u64,
    share: u64,
    remainder: u64,
    /// DC value of the previous block.
    dc: i32,
    bits: BitWriter,
    /// Number of bytes in `bits` that the caller already has.
    written: usize,
    /// Number of bytes written before those in `bits`.
    passed: u64,
    left: u64,
}

impl Scan {
    pub(super) fn new(payload: Stream, count: u64, bytes: u64) -> Self {
        Self {
            payload,
            count,
            made: 0,
            total: bytes * 8,
            share: 0,
            remainder: 0,
            dc: 0,
            bits: BitWriter::new(),
            written: 0,
            passed: 0,
            left: bytes,
        }
    }

    pub(crate) fn remaining(&self) -> u64 {
        self.left
    }

    /// Writes the next bytes. `buffer` must not be longer than what remains.
    pub(crate) fn fill(&mut self, mut buffer: &mut [u8]) {
        self.left -= buffer.len() as u64;
        while !buffer.is_empty() {
            if self.written == self.bits.bytes().len() {
                self.passed += self.written as u64;
                self.bits.clear();
                self.written = 0;
                self.next_batch();
            }
            let ready = &self.bits.bytes()[self.written..];
            let count = ready.len().min(buffer.len());
            let (front, back) = buffer.split_at_mut(count);
            front.copy_from_slice(&ready[..count]);
            self.written += count;
            buffer = back;
        }
    }

    /// Returns the number of bits generated so far, including stuffing.
    fn used(&self) -> u64 {
        self.passed * 8 + self.bits.count()
    }

    fn next_batch(&mut self) {
        let mut noise = [[[0_u8; 8]; WORDS]; BATCH as usize];
        let now = (self.count - self.made).min(BATCH);
        if now == 0 {
            // Reached only if the last block did not fit; the length of the scan is kept.
            self.bits.fill_up();
            return;
        }
        self.payload.fill(noise[..now as usize].as_flattened_mut().as_flattened_mut());
        for words in &noise[..now as usize] {
            self.made += 1;
            if self.made == self.count {
                self.last_block();
            } else {
                self.block(&words.map(u64::from_le_bytes));
            }
        }
    }

    fn block(&mut self, words: &[u64; WORDS]) {
        let used = self.used();
        let needed = LONGEST + (self.count - self.made) * FLAT_BITS;
        if used > self.share + SLACK || self.total - used.min(self.total) < needed {
            self.bits.flat_block();
        } else {
            let block = BLOCK_TEMPLATES.pick(words[0] as u8, used < self.share);
            // The sum of four random bytes has a standard deviation of 9.2 quantization steps, like the mean of a
            // noise block.
            let sum: i32 = (words[0] >> 8).to_le_bytes()[..4].iter().map(|&byte| i32::from(byte)).sum();
            let dc = (sum - 510) >> 4;
            self.bits.difference(dc - self.dc);
            self.dc = dc;
            self.bits.block(block, &words[1..]);
        }
        self.share += self.total / self.count;
        self.remainder += self.total % self.count;
        if self.remainder >= self.count {
            self.remainder -= self.count;
            self.share += 1;
        }
    }

    /// Ends the scan with the last bit of its last byte.
    fn last_block(&mut self) {
        self.bits.settle();
        let room = self.total.saturating_sub(self.used());
        self.bits.exact_block(room);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::{Element, Payload};

    fn scan(count: u64, bytes: u64) -> Vec<u8> {
        let payload = Payload::new(1).stream(count, Element::Raw, u64::MAX);
        let mut scan = Scan::new(payload, count, bytes);
        let mut buffer = vec![0; bytes as usize];
        scan.fill(&mut buffer);
        assert_eq!(scan.made, count);
        buffer
    }

    #[test]
    fn a_scan_comes_out_at_its_length_with_the_last_block() {
        for count in [1, 2, 3, 63, 64, 65, 1000, 5041, 100_000] {
            let natural = (count * 3551_u64).div_ceil(100);
            for bytes in [natural, natural + 3, natural / 2 + 30, natural * 9 / 10 + 30] {
                let payload = Payload::new(1).stream(count, Element::Raw, u64::MAX);
                let mut scan = Scan::new(payload, count, bytes);
                let mut buffer = vec![0; bytes as usize];
                scan.fill(&mut buffer);
                assert_eq!(scan.made, count, "{count} blocks in {bytes} bytes");
                assert_eq!(scan.used(), bytes * 8, "{count} blocks in {bytes} bytes");
            }
        }
    }

    #[test]
    fn every_byte_of_ones_is_stuffed() {
        let bytes = scan(20_000, 20_000 * 3551 / 100);
        assert!(bytes.windows(2).all(|pair| pair[0] != 0xff || pair[1] == 0));
        assert!(bytes.contains(&0xff));
    }
}
