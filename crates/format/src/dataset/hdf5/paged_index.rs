//! Fixed arrays with pages, which index datasets of more than 1024 chunks. The HDF5 library reads a page when it
//! needs the address of a chunk in it, so pages are requested between the chunks of a sample.

use std::collections::{BTreeMap, VecDeque};

use super::chunks::{Chunk, Chunks, Range};
use super::lookup3::checksum;
use super::source::METADATA_MAX;
use crate::buffer::little_endian;
use crate::error::Error;
use crate::error::excerpt;

const HEADER_BYTES: usize = 28;
/// Length in bytes of signature, version, client and header address.
const PREFIX_BYTES: u64 = 14;
const CHECKSUM_BYTES: u64 = 4;
/// Length in bytes of an address, and of the mask of skipped filters.
const ADDRESS_BYTES: u64 = 8;
const MASK_BYTES: u64 = 4;
/// Maximum width of a chunk size in bytes.
const SIZE_BYTES_MAX: u64 = 8;

/// A fixed array with pages, as its header describes it.
#[derive(Debug)]
pub(super) struct PagedArray {
    /// Number of chunks along each axis, at the current and at the maximum shape.
    counts: Vec<u64>,
    largest: Vec<u64>,
    address: u64,
    entries: u64,
    entry_bytes: u64,
    page_bits: u32,
    is_filtered: bool,
}

/// A fixed array and the chunks that it locates.
#[derive(Debug)]
pub(super) struct PagedChunks {
    pub(super) chunks: Chunks,
    array: PagedArray,
    /// Bit mask of the initialized pages, which is read first.
    used: Option<Vec<u8>>,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl PagedArray {
    /// Returns the array of this header, if it has pages and matches the dataset; `largest` is the dataset's maximum
    /// shape.
    pub(super) fn new(header: &[u8], chunks: &Chunks, largest: &[u64]) -> Option<Self> {
        let (body, sum) = header.get(..HEADER_BYTES)?.split_at_checked(HEADER_BYTES - 4)?;
        let [b'F', b'A', b'H', b'D', 0, client @ 0..=1, entry_bytes, page_bits @ 0..64, numbers @ ..] = body else {
            return None;
        };
        let (entries, address) = (little_endian(numbers, 0, 8)?, little_endian(numbers, 8, 8)?);
        let count = |extent: &[u64]| -> Vec<u64> {
            extent.iter().zip(&chunks.shape).map(|(extent, chunk)| extent.div_ceil((*chunk).max(1))).collect()
        };
        let (counts, largest) = (count(&chunks.extent), count(largest));
        let all = largest.iter().try_fold(1_u64, |all, &count| all.checked_mul(count));
        let is_filtered = *client == 1;
        let rest = u64::from(*entry_bytes).checked_sub(ADDRESS_BYTES)?;
        let fits = if is_filtered { (MASK_BYTES + 1..=MASK_BYTES + SIZE_BYTES_MAX).contains(&rest) } else { rest == 0 };
        let is_paged = entries > 1 << page_bits;
        if !fits || !is_paged || all != Some(entries) || sum != checksum(body).to_le_bytes() {
            return None;
        }
        let (entry_bytes, page_bits) = (u64::from(*entry_bytes), u32::from(*page_bits));
        let pages = Self { counts, largest, address, entries, entry_bytes, page_bits, is_filtered };
        // A corrupt header may contain any size; a block is held in memory while it is read.
        (pages.prefix_bytes().max(pages.range(0).1) <= METADATA_MAX).then_some(pages)
    }

    fn page(&self) -> u64 {
        1 << self.page_bits
    }

    fn prefix_bytes(&self) -> u64 {
        PREFIX_BYTES + self.entries.div_ceil(self.page()).div_ceil(8) + CHECKSUM_BYTES
    }

    /// Returns the range of a page: (offset, length) in bytes.
    fn range(&self, page: u64) -> (u64, u64) {
        let bytes = |entries: u64| entries.saturating_mul(self.entry_bytes).saturating_add(CHECKSUM_BYTES);
        let before = page.saturating_mul(bytes(self.page()));
        let entries = self.page().min(self.entries - (page << self.page_bits).min(self.entries));
        (self.address.saturating_add(self.prefix_bytes()).saturating_add(before), bytes(entries))
    }
}

impl PagedChunks {
    pub(super) fn new(array: PagedArray, chunks: Chunks) -> Self {
        Self { chunks, array, used: None, pages: BTreeMap::new() }
    }

    /// Adds the ranges of a sample from its chunk `cursor` on, up to a chunk whose address is in a block of the array
    /// that has not been read. Returns the range of that block.
    pub(super) fn ranges(&self, sample: u64, cursor: &mut u64, out: &mut VecDeque<Range>) -> Option<(u64, u64)> {
        let row = sample / self.chunks.shape[0].max(1);
        let inner = self.array.counts[1..].iter().fold(1_u64, |all, &count| all.saturating_mul(count));
        while *cursor < inner {
            let Some(used) = &self.used else { return Some((self.array.address, self.array.prefix_bytes())) };
            let (entry, offset) = self.chunk(row, *cursor);
            let page = entry >> self.array.page_bits;
            let is_used = used.get((page / 8) as usize).is_some_and(|byte| byte & (0x80 >> (page % 8)) != 0);
            if is_used {
                let Some(bytes) = self.pages.get(&page) else { return Some(self.array.range(page)) };
                if let Some((address, stored, left_out)) = self.entry(bytes, entry & (self.array.page() - 1)) {
                    self.chunks.add(&Chunk { offset, address, stored, left_out }, sample, out);
                }
            }
            *cursor += 1;
        }
        None
    }

    /// Returns the entry of chunk `number` in a row of chunks, and the first element of that chunk.
    fn chunk(&self, row: u64, mut number: u64) -> (u64, Vec<u64>) {
        let mut offset = vec![0; self.array.counts.len()];
        for axis in (1..self.array.counts.len()).rev() {
            offset[axis] = number % self.array.counts[axis].max(1);
            number /= self.array.counts[axis].max(1);
        }
        offset[0] = row;
        let entry = offset.iter().zip(&self.array.largest).fold(0_u64, |entry, (index, count)| entry * count + index);
        offset.iter_mut().zip(&self.chunks.shape).for_each(|(index, chunk)| *index *= chunk);
        (entry, offset)
    }

    /// Returns the address, the stored size in bytes and the skipped filters of a page's entry, or `None` if there is
    /// no such chunk.
    fn entry(&self, page: &[u8], entry: u64) -> Option<(u64, u64, u32)> {
        let at = (entry * self.array.entry_bytes) as usize;
        let address = little_endian(page, at, 8).filter(|&address| address != u64::MAX)?;
        if !self.array.is_filtered {
            return Some((address, self.chunks.chunk_bytes(), 0));
        }
        let width = (self.array.entry_bytes - ADDRESS_BYTES - MASK_BYTES) as usize;
        let (stored, left_out) =
            (little_endian(page, at + 8, width)?, little_endian(page, at + 8 + width, MASK_BYTES as usize)?);
        Some((address, stored, u32::try_from(left_out).ok()?))
    }

    /// Takes a block of the array.
    pub(super) fn take(&mut self, offset: u64, mut bytes: Vec<u8>) -> Result<(), Error> {
        let is_prefix = self.used.is_none();
        let body = bytes.len().saturating_sub(CHECKSUM_BYTES as usize);
        let sum = checksum(&bytes[..body]).to_le_bytes();
        let is_whole = bytes[body..] == sum && (!is_prefix || bytes.starts_with(b"FADB\0"));
        if !is_whole {
            let (expected, found) = (format!("a block with checksum {}", excerpt(&sum)), excerpt(&bytes[body..]));
            return Err(Error::Malformed { noun: "index of HDF5 chunks", offset, expected, found });
        }
        bytes.truncate(body);
        if is_prefix {
            self.used = Some(bytes.split_off(PREFIX_BYTES as usize));
        } else {
            let before = offset.saturating_sub(self.array.range(0).0);
            self.pages.insert(before / self.array.range(0).1.max(1), bytes);
        }
        Ok(())
    }
}
