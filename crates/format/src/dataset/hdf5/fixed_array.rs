//! The chunk index of a dataset, as HDF5 1.14 stores it with the latest format bounds. A dataset with a single chunk
//! has no index. Any other dataset has a fixed array of addresses over its maximum shape, with pages if the array is
//! long. The array is generated page by page.

use super::chunk_bytes::ChunkGrid;
use super::compressed_chunks::Measured;
use super::header::{UNDEFINED, with_checksum};
use crate::buffer::Batch;

/// Binary logarithm of the number of entries in a page; a shorter array has no pages.
const PAGE_BITS: u8 = 10;
const PAGE: u64 = 1 << PAGE_BITS;
pub(super) const HEADER_BYTES: u64 = 28;
/// Length in bytes of signature, version, client and header address.
const PREFIX_BYTES: u64 = 14;
const CHECKSUM_BYTES: u64 = 4;

/// A run of chunks that are contiguous in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChunkRun {
    pub(super) address: u64,
    pub(super) first: u64,
    /// Number of the first chunk after the run.
    pub(super) end: u64,
}

/// The index of a chunk grid.
#[derive(Debug, Clone)]
pub(super) struct Index {
    grid: ChunkGrid,
    measured: Option<Measured>,
}

impl Index {
    pub(super) fn new(grid: &ChunkGrid, measured: Option<&Measured>) -> Self {
        Self { grid: grid.clone(), measured: measured.cloned() }
    }

    /// Returns the stored size of a chunk in bytes.
    pub(super) fn stored(&self, chunk: u64) -> u64 {
        self.measured.as_ref().map_or(self.grid.chunk_bytes(), |measured| measured.chunk(chunk).0)
    }

    /// Returns the width in bytes of a chunk's stored size: one more than its plain size needs.
    fn size_width(&self) -> usize {
        (1 + (self.grid.chunk_bytes().max(1).ilog2() as usize + 8) / 8).min(8)
    }

    fn entry_bytes(&self) -> u64 {
        // Address; for compressed chunks also the size and the mask of skipped filters.
        8 + if self.measured.is_some() { self.size_width() as u64 + 4 } else { 0 }
    }

    fn pages(&self) -> u64 {
        let entries = self.grid.entries();
        if entries > PAGE { entries.div_ceil(PAGE) } else { 0 }
    }

    /// Returns the length of the array in bytes.
    pub(super) fn array_bytes(&self) -> u64 {
        let pages = self.pages();
        PREFIX_BYTES
            + pages.div_ceil(8)
            + CHECKSUM_BYTES * (1 + pages)
            + self.grid.entries().saturating_mul(self.entry_bytes())
    }

    /// Returns the body of the layout message, with the address of the index or of the only chunk.
    pub(super) fn message(&self, address: u64) -> Vec<u8> {
        let dims = || self.grid.chunk.iter().chain([&self.grid.itemsize]);
        let width = dims().map(|dim| (64 - dim.leading_zeros()).div_ceil(8)).max().unwrap_or(1) as usize;
        let single = self.measured.as_ref().filter(|_| self.grid.is_single());
        // Version, chunked, whether the only chunk is compressed, axes.
        let mut body = vec![4, 2, if single.is_some() { 2 } else { 0 }, self.grid.chunk.len() as u8 + 1, width as u8];
        body.extend(dims().flat_map(|dim| dim.to_le_bytes()[..width].to_vec()));
        if let Some(measured) = single {
            let (size, is_plain) = measured.chunk(0);
            body.push(1);
            body.extend(size.to_le_bytes());
            body.extend(u32::from(is_plain).to_le_bytes());
        } else if self.grid.is_single() {
            body.push(1);
        } else {
            body.extend([3, PAGE_BITS]);
        }
        body.extend(address.to_le_bytes());
        body
    }

    /// Returns the client id: 1 for compressed chunks, 0 for others.
    fn client(&self) -> u8 {
        u8::from(self.measured.is_some())
    }

    /// Returns the header of the array.
    pub(super) fn header(&self, array: u64) -> Vec<u8> {
        let mut bytes = b"FAHD\0".to_vec();
        bytes.extend([self.client(), self.entry_bytes() as u8, PAGE_BITS]);
        bytes.extend(self.grid.entries().to_le_bytes());
        bytes.extend(array.to_le_bytes());
        with_checksum(bytes)
    }

    /// Returns the encoder of the array.
    pub(super) fn array(&self, header: u64, runs: &[ChunkRun]) -> FixedArray {
        let mut prefix = b"FADB\0".to_vec();
        prefix.push(self.client());
        prefix.extend(header.to_le_bytes());
        let left = self.array_bytes();
        let mut array = FixedArray {
            index: self.clone(),
            runs: runs.to_vec(),
            entry: 0,
            next: (0, runs.first().map_or(0, |run| run.address), 0),
            out: Batch::default(),
            left,
        };
        if self.pages() == 0 {
            array.entries(self.grid.entries(), &mut prefix);
        } else {
            let mut flags = vec![0_u8; self.pages().div_ceil(8) as usize];
            for page in (0..self.pages()).filter(|&page| self.page_is_used(page)) {
                flags[page as usize / 8] |= 0x80 >> (page % 8);
            }
            prefix.extend(flags);
        }
        array.out = Batch::new(with_checksum(prefix));
        array
    }

    /// Returns whether a page contains a chunk; the library does not write other pages.
    fn page_is_used(&self, page: u64) -> bool {
        let end = ((page + 1) * PAGE).min(self.grid.entries());
        (page * PAGE..end).any(|entry| self.grid.is_present(entry))
    }
}

/// An encoder of a fixed array.
#[derive(Debug, Clone)]
pub(crate) struct FixedArray {
    index: Index,
    runs: Vec<ChunkRun>,
    /// Number of the next entry.
    entry: u64,
    next: (u64, u64, usize),
    out: Batch,
    left: u64,
}

impl FixedArray {
    pub(crate) fn remaining(&self) -> u64 {
        self.left
    }

    /// Writes the next bytes. `buffer` must not be longer than what remains.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) {
        self.left -= buffer.len() as u64;
        let mut out = std::mem::take(&mut self.out);
        out.fill(buffer, |out| self.next_page(out));
        self.out = out;
    }

    fn next_page(&mut self, page: &mut Vec<u8>) {
        let count = PAGE.min(self.index.grid.entries() - self.entry);
        let is_used = self.index.page_is_used(self.entry / PAGE);
        if is_used {
            self.entries(count, page);
            *page = with_checksum(std::mem::take(page));
        } else {
            self.entry += count;
            page.resize((count * self.index.entry_bytes() + CHECKSUM_BYTES) as usize, 0);
        }
    }

    fn entries(&mut self, count: u64, out: &mut Vec<u8>) {
        let width = self.index.size_width();
        for entry in self.entry..self.entry + count {
            let is_present = self.index.grid.is_present(entry);
            let (chunk, address, run) = self.next;
            out.extend(if is_present { address.to_le_bytes() } else { UNDEFINED });
            if let Some(measured) = &self.index.measured {
                let (size, is_plain) = if is_present { measured.chunk(chunk) } else { (0, false) };
                out.extend_from_slice(&size.to_le_bytes()[..width]);
                out.extend(u32::from(is_plain).to_le_bytes());
            }
            if is_present {
                self.next = match self.runs.get(run + 1) {
                    Some(following) if following.first == chunk + 1 => (chunk + 1, following.address, run + 1),
                    _ => (chunk + 1, address + self.index.stored(chunk), run),
                };
            }
        }
        self.entry += count;
    }
}
