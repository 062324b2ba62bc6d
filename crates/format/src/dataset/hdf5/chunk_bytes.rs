//! The chunk grid of a dataset, and the bytes of its chunks. Edge chunks are stored whole, padded with zeros.

use crate::buffer::clamp;
use crate::payload::Stream;

/// The division of a dataset into chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChunkGrid {
    pub(super) extent: Vec<u64>,
    pub(super) chunk: Vec<u64>,
    /// Maximum shape to which the dataset can be extended.
    pub(super) largest: Vec<u64>,
    pub(super) itemsize: u64,
}

impl ChunkGrid {
    /// Returns whether the dataset is and remains a single chunk.
    pub(super) fn is_single(&self) -> bool {
        self.extent == self.chunk && self.extent == self.largest
    }

    /// Returns the number of chunks at the maximum shape.
    pub(super) fn entries(&self) -> u64 {
        counts(&self.largest, &self.chunk).iter().fold(1, |all, &count| all.saturating_mul(count))
    }

    pub(super) fn chunk_bytes(&self) -> u64 {
        self.chunk.iter().fold(self.itemsize, |bytes, &dim| bytes.saturating_mul(dim))
    }

    /// Returns the size of all chunks in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.chunks().saturating_mul(self.chunk_bytes())
    }

    /// Returns the number of chunks at the current shape.
    pub(super) fn chunks(&self) -> u64 {
        counts(&self.extent, &self.chunk).iter().fold(1, |all, &count| all.saturating_mul(count))
    }

    /// Returns whether an entry of the index has a chunk.
    pub(super) fn is_present(&self, entry: u64) -> bool {
        if self.extent == self.largest {
            return true;
        }
        let (all, present) = (counts(&self.largest, &self.chunk), counts(&self.extent, &self.chunk));
        digits(entry, &all).iter().zip(&present).all(|(digit, count)| digit < count)
    }
}

/// Returns the number of chunks along each axis.
fn counts(extent: &[u64], chunk: &[u64]) -> Vec<u64> {
    extent.iter().zip(chunk).map(|(extent, chunk)| extent.div_ceil(*chunk)).collect()
}

/// Returns a number in the mixed radix `counts`, last digit fastest.
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

/// An encoder of the bytes of all chunks of a dataset; the payload is in the order of the dataset's elements.
#[derive(Debug, Clone)]
pub(crate) struct ChunkBytes {
    payload: Stream,
    extent: Vec<u64>,
    chunk: Vec<u64>,
    itemsize: u64,
    bytes_per_chunk: u64,
    position: u64,
    end: u64,
}

impl ChunkBytes {
    pub(super) fn new(grid: &ChunkGrid, payload: Stream) -> Self {
        let (mut extent, mut chunk) = (grid.extent.clone(), grid.chunk.clone());
        // Axes that every chunk covers completely are merged into the axis before them.
        while let ([.., outer, inner], [.., chunk_outer, chunk_inner]) = (&mut extent[..], &mut chunk[..])
            && inner == chunk_inner
        {
            *outer *= *inner;
            *chunk_outer *= *chunk_inner;
            extent.pop();
            chunk.pop();
        }
        let (itemsize, bytes_per_chunk) = (grid.itemsize, grid.chunk_bytes());
        Self { payload, extent, chunk, itemsize, bytes_per_chunk, position: 0, end: grid.bytes() }
    }

    /// Returns an encoder of the chunks from `from` to `to`.
    pub(super) fn range(&self, from: u64, to: u64) -> Self {
        Self { position: from * self.bytes_per_chunk, end: to * self.bytes_per_chunk, ..self.clone() }
    }

    pub(crate) fn remaining(&self) -> u64 {
        self.end - self.position
    }

    /// Writes the next bytes. `buffer` must not be longer than what remains.
    pub(crate) fn fill(&mut self, mut buffer: &mut [u8]) {
        while !buffer.is_empty() {
            let (run, payload) = self.run();
            let count = clamp(run, buffer.len());
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

    /// Returns the number of contiguous bytes at the position and their offset in the payload, or `None` for zeros.
    fn run(&self) -> (u64, Option<u64>) {
        let last = self.chunk.len() - 1;
        let row_bytes = self.chunk[last] * self.itemsize;
        let (number, inside) = (self.position / self.bytes_per_chunk, self.position % self.bytes_per_chunk);
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
