//! Uncompressed chunks: their grid, the index that tells where they are, and their bytes, made chunk by chunk.
//!
//! As HDF5 1.14 stores them with the latest format bounds: a dataset that is one chunk has no index, any other one a fixed
//! array of addresses over its largest extent. Chunks at the edges are stored whole, with zeros behind the data.

use super::contiguous::seal;
use crate::payload::Stream;

/// Entries of a fixed array in one block; a longer one is stored in pages.
const ENTRIES_BITS: u8 = 10;
const UNDEFINED: u64 = u64::MAX;

/// How a dataset is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) extent: Vec<u64>,
    pub(super) chunk: Vec<u64>,
    /// What the dataset may be extended to.
    pub(super) largest: Vec<u64>,
    pub(super) itemsize: u64,
}

impl Grid {
    /// Whether its index is one that is written here.
    pub(super) fn is_simple(&self) -> bool {
        self.entries() <= 1 << ENTRIES_BITS
    }

    fn is_single(&self) -> bool {
        self.extent == self.chunk && self.extent == self.largest
    }

    fn entries(&self) -> u64 {
        counts(&self.largest, &self.chunk).iter().fold(1, |all, &count| all.saturating_mul(count))
    }

    pub(super) fn chunk_bytes(&self) -> u64 {
        self.chunk.iter().fold(self.itemsize, |bytes, &dim| bytes.saturating_mul(dim))
    }

    /// Bytes of all chunks.
    pub(super) fn bytes(&self) -> u64 {
        let chunks = counts(&self.extent, &self.chunk).iter().fold(1_u64, |all, &count| all.saturating_mul(count));
        chunks.saturating_mul(self.chunk_bytes())
    }

    /// The layout message of a dataset whose header ends here and whose chunks begin at `data`.
    pub(super) fn message(&self, end: u64, data: u64) -> Vec<u8> {
        let dims = || self.chunk.iter().chain([&self.itemsize]);
        let width = dims().map(|dim| (64 - dim.leading_zeros()).div_ceil(8)).max().unwrap_or(1) as usize;
        let mut body = vec![4, 2, 0, self.chunk.len() as u8 + 1, width as u8];
        body.extend(dims().flat_map(|dim| dim.to_le_bytes()[..width].to_vec()));
        if self.is_single() {
            body.push(1);
            body.extend(data.to_le_bytes());
        } else {
            body.extend([3, ENTRIES_BITS]);
            body.extend(end.to_le_bytes());
        }
        body
    }

    /// The index behind a header that ends at `end`.
    pub(super) fn index(&self, end: u64, data: u64) -> Vec<u8> {
        if self.is_single() {
            return Vec::new();
        }
        let block = end + 28;
        let mut header = b"FAHD\x00\x00\x08".to_vec();
        header.push(ENTRIES_BITS);
        header.extend(self.entries().to_le_bytes());
        header.extend(block.to_le_bytes());
        let mut entries = b"FADB\x00\x00".to_vec();
        entries.extend(end.to_le_bytes());
        let (all, present) = (counts(&self.largest, &self.chunk), counts(&self.extent, &self.chunk));
        let mut next = data;
        for number in 0..self.entries() {
            let is_present = digits(number, &all).iter().zip(&present).all(|(digit, count)| digit < count);
            let address = if is_present { next } else { UNDEFINED };
            next += if is_present { self.chunk_bytes() } else { 0 };
            entries.extend(address.to_le_bytes());
        }
        [seal(header), seal(entries)].concat()
    }
}

/// Chunks along each axis.
fn counts(extent: &[u64], chunk: &[u64]) -> Vec<u64> {
    extent.iter().zip(chunk).map(|(extent, chunk)| extent.div_ceil(*chunk)).collect()
}

/// A number in the mixed radix of these counts, the last one fastest.
fn digits(mut number: u64, counts: &[u64]) -> Vec<u64> {
    let mut digits: Vec<u64> = counts.iter().rev().map(|&count| digit(&mut number, count)).collect();
    digits.reverse();
    digits
}

fn digit(number: &mut u64, count: u64) -> u64 {
    let digit = *number % count.max(1);
    *number /= count.max(1);
    digit
}

/// The bytes of all chunks of a dataset, whose payload is in the order of its elements.
#[derive(Debug, Clone)]
pub(crate) struct Tiles {
    payload: Stream,
    extent: Vec<u64>,
    chunk: Vec<u64>,
    itemsize: u64,
    chunk_bytes: u64,
    position: u64,
    end: u64,
}

impl Tiles {
    pub(super) fn new(grid: &Grid, payload: Stream) -> Self {
        let (mut extent, mut chunk) = (grid.extent.clone(), grid.chunk.clone());
        // Axes that every chunk covers whole are part of the row before them.
        while let ([.., outer, inner], [.., chunk_outer, chunk_inner]) = (&mut extent[..], &mut chunk[..])
            && inner == chunk_inner
        {
            *outer *= *inner;
            *chunk_outer *= *chunk_inner;
            extent.pop();
            chunk.pop();
        }
        let (itemsize, chunk_bytes) = (grid.itemsize, grid.chunk_bytes());
        Self { payload, extent, chunk, itemsize, chunk_bytes, position: 0, end: grid.bytes() }
    }

    pub(crate) fn remaining(&self) -> u64 {
        self.end - self.position
    }

    /// Writes the next bytes; the buffer is no longer than what remains.
    pub(crate) fn fill(&mut self, mut buffer: &mut [u8]) {
        while !buffer.is_empty() {
            let (run, payload) = self.run();
            let count = crate::encode::clamp(run, buffer.len());
            let (front, rest) = buffer.split_at_mut(count);
            match payload {
                Some(from) => {
                    self.payload.range(from, from + count as u64).fill(front);
                }
                None => front.fill(0),
            }
            self.position += count as u64;
            buffer = rest;
        }
    }

    /// Bytes from the position on that follow each other, and where they are in the payload; zeros otherwise.
    fn run(&self) -> (u64, Option<u64>) {
        let last = self.chunk.len() - 1;
        let row_bytes = self.chunk[last] * self.itemsize;
        let (number, inside) = (self.position / self.chunk_bytes, self.position % self.chunk_bytes);
        let (row, column) = (inside / row_bytes, inside % row_bytes);
        let tile = digits(number, &counts(&self.extent, &self.chunk));
        let rows = digits(row, &self.chunk[..last]);
        let mut at = 0;
        for (axis, row) in rows.iter().enumerate() {
            let index = tile[axis] * self.chunk[axis] + row;
            if index >= self.extent[axis] {
                return (row_bytes - column, None);
            }
            at = at * self.extent[axis] + index;
        }
        let first = tile[last] * self.chunk[last];
        let present = self.chunk[last].min(self.extent[last] - first) * self.itemsize;
        if column >= present {
            return (row_bytes - column, None);
        }
        (present - column, Some((at * self.extent[last] + first) * self.itemsize + column))
    }
}
