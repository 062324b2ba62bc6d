//! Compressed chunks. The size of a compressed chunk is known only after compression, but the metadata in front of
//! the chunks contains it. The chunks are therefore compressed when an encoder is created, to measure them. Up to 4
//! MiB the result is kept; larger datasets are compressed again while they are written. Memory is one chunk, and four
//! bytes per chunk.

use std::sync::Arc;

use flate2::{Compress, Compression, FlushCompress};

use super::chunk_bytes::{ChunkBytes, ChunkGrid};
use super::lzf;
use super::options::Filter;

/// Number of compressed bytes that are kept from the measurement.
const KEPT_MAX: usize = 4 << 20;
/// Filter numbers, and the flag that a filter may be skipped for chunks that it does not make smaller.
const GZIP: u16 = 1;
const LZF: u16 = 32_000;
const OPTIONAL: u16 = 1;
/// Versions of h5py's LZF filter and of LZF, as h5py writes them.
const LZF_VERSION: u32 = 4;
const LZF_METHOD: u32 = 0x0105;

/// A compressor that processes one chunk after another.
struct ChunkCompressor {
    plain_chunks: ChunkBytes,
    plain: Vec<u8>,
    packed: Vec<u8>,
    is_packed: bool,
    table: lzf::Table,
    deflate: Option<Box<Compress>>,
    /// Second byte of zlib's header, which encodes the level.
    flags: u8,
}

impl ChunkCompressor {
    fn new(plain_chunks: ChunkBytes, filter: Filter, chunk_bytes: u64) -> Self {
        let deflate = match filter {
            Filter::Gzip(level) => Some(Box::new(Compress::new(Compression::new(level), true))),
            _ => None,
        };
        let flags = match filter {
            Filter::Gzip(0..=1) => 0x01,
            Filter::Gzip(2..=5) => 0x5E,
            Filter::Gzip(7..) => 0xDA,
            _ => 0x9C,
        };
        Self {
            flags,
            plain_chunks,
            plain: vec![0; chunk_bytes as usize],
            packed: Vec::new(),
            is_packed: false,
            table: lzf::Table::new(),
            deflate,
        }
    }

    /// Compresses the next chunk.
    fn next(&mut self) {
        self.plain_chunks.fill(&mut self.plain);
        self.is_packed = match &mut self.deflate {
            Some(deflate) => pack(deflate, self.flags, &self.plain, &mut self.packed),
            None => lzf::compress(&self.plain, &mut self.table, &mut self.packed),
        };
    }

    /// Returns the chunk as stored.
    fn stored(&self) -> &[u8] {
        if self.is_packed { &self.packed } else { &self.plain }
    }
}

/// Compresses to a zlib stream with zlib's own header. Returns `false` if the compressor failed, which is not
/// expected.
fn pack(deflate: &mut Compress, flags: u8, input: &[u8], output: &mut Vec<u8>) -> bool {
    deflate.reset();
    output.clear();
    // Room for blocks that are stored uncompressed.
    output.reserve(input.len() + input.len() / 1000 + 64);
    let status = deflate.compress_vec(input, output, FlushCompress::Finish);
    if let Some(byte) = output.get_mut(1) {
        *byte = flags;
    }
    matches!(status, Ok(flate2::Status::StreamEnd))
}

impl Filter {
    /// Returns the body of the message that describes the filter, or `None` without a filter.
    pub(super) fn message(self, chunk_bytes: u64) -> Option<Vec<u8>> {
        // Version, number of filters.
        let mut body = vec![2, 1];
        let mut put = |values: &[u16]| body.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let values = match self {
            Filter::None => return None,
            Filter::Gzip(level) => {
                put(&[GZIP, OPTIONAL, 1]);
                vec![level]
            }
            Filter::Lzf => {
                // Filters that are not part of the library have a name.
                put(&[LZF, 4, OPTIONAL, 3]);
                body.extend(b"lzf\0");
                vec![LZF_VERSION, LZF_METHOD, chunk_bytes as u32]
            }
        };
        body.extend(values.into_iter().flat_map(u32::to_le_bytes));
        Some(body)
    }
}

/// The measurements of a dataset's chunks.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    filter: Filter,
    chunk_bytes: u64,
    /// Stored size of each chunk in bytes.
    sizes: Arc<[u32]>,
    /// All compressed chunks, if they are small.
    kept: Option<Arc<[u8]>>,
}

impl Measured {
    /// Compresses and measures all chunks.
    pub(super) fn new(grid: &ChunkGrid, plain_chunks: &ChunkBytes, filter: Filter) -> Self {
        let chunk_bytes = grid.chunk_bytes();
        let count = grid.chunks();
        let mut compressor = ChunkCompressor::new(plain_chunks.clone(), filter, chunk_bytes);
        let (mut sizes, mut kept) = (Vec::with_capacity(count as usize), Some(Vec::new()));
        for _ in 0..count {
            compressor.next();
            let packed = compressor.stored();
            sizes.push(packed.len() as u32);
            match &mut kept {
                Some(bytes) if bytes.len() + packed.len() <= KEPT_MAX => bytes.extend_from_slice(packed),
                _ => kept = None,
            }
        }
        Self { filter, chunk_bytes, sizes: sizes.into(), kept: kept.map(Into::into) }
    }

    /// Returns the stored size of a chunk in bytes, and whether the filter was skipped.
    pub(super) fn chunk(&self, number: u64) -> (u64, bool) {
        let size = u64::from(self.sizes.get(number as usize).copied().unwrap_or(0));
        // LZF is skipped for chunks that it does not make smaller; deflate never is.
        (size, self.filter == Filter::Lzf && size == self.chunk_bytes)
    }

    fn bytes(&self, from: u64, to: u64) -> u64 {
        self.sizes[from as usize..to as usize].iter().map(|&size| u64::from(size)).sum()
    }

    /// Returns an encoder of the chunks from `from` to `to` as stored.
    pub(super) fn range(&self, plain_chunks: &ChunkBytes, from: u64, to: u64) -> CompressedChunks {
        let skipped = self.kept.as_ref().map_or(0, |_| self.bytes(0, from) as usize);
        let (measured, plain_chunks, left) = (self.clone(), plain_chunks.clone(), self.bytes(from, to));
        CompressedChunks { measured, plain_chunks, compressor: None, next: from, end: to, cursor: skipped, left }
    }
}

/// An encoder of a run of compressed chunks, which compresses them again unless they were kept.
pub(crate) struct CompressedChunks {
    measured: Measured,
    /// Chunks of the whole dataset.
    plain_chunks: ChunkBytes,
    /// Compressor at the next chunk, or `None` before its first byte.
    compressor: Option<Box<ChunkCompressor>>,
    next: u64,
    end: u64,
    /// Number of bytes already written of the next chunk, or of all kept chunks.
    cursor: usize,
    left: u64,
}

impl std::fmt::Debug for CompressedChunks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompressedChunks").field("next", &self.next).field("left", &self.left).finish_non_exhaustive()
    }
}

/// A compressor cannot be cloned, so the clone compresses the current chunk again.
impl Clone for CompressedChunks {
    fn clone(&self) -> Self {
        let Self { measured, plain_chunks, compressor: _, next, end, cursor, left } = self;
        let (measured, plain_chunks) = (measured.clone(), plain_chunks.clone());
        Self { measured, plain_chunks, compressor: None, next: *next, end: *end, cursor: *cursor, left: *left }
    }
}

impl CompressedChunks {
    pub(crate) fn remaining(&self) -> u64 {
        self.left
    }

    /// Writes the next bytes. `buffer` must not be longer than what remains.
    pub(crate) fn fill(&mut self, mut buffer: &mut [u8]) {
        self.left -= buffer.len() as u64;
        if let Some(kept) = &self.measured.kept {
            buffer.copy_from_slice(&kept[self.cursor..self.cursor + buffer.len()]);
            self.cursor += buffer.len();
            return;
        }
        while !buffer.is_empty() {
            let Measured { filter, chunk_bytes, .. } = self.measured;
            let compressor = self.compressor.get_or_insert_with(|| {
                let mut compressor =
                    ChunkCompressor::new(self.plain_chunks.range(self.next, self.end), filter, chunk_bytes);
                compressor.next();
                Box::new(compressor)
            });
            let ready = &compressor.stored()[self.cursor..];
            let count = ready.len().min(buffer.len());
            let (front, back) = buffer.split_at_mut(count);
            front.copy_from_slice(&ready[..count]);
            self.cursor += count;
            buffer = back;
            if self.cursor == compressor.stored().len() {
                (self.next, self.cursor) = (self.next + 1, 0);
                if self.next == self.end {
                    self.compressor = None;
                } else {
                    compressor.next();
                }
            }
        }
    }
}
