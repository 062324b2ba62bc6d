//! The pieces of a file: plain segments, and the byte sources of the formats.

use super::compress::Compressed;
use super::preset_crc::PresetPayload;
use super::segment::{Numbers, Segment};
use crate::buffer::clamp;
use crate::dataset::csv::text::CsvText;
use crate::dataset::hdf5::chunk_bytes::ChunkBytes;
use crate::dataset::hdf5::compressed_chunks::CompressedChunks;
use crate::dataset::hdf5::fixed_array::FixedArray;
use crate::dataset::jpeg::scan::Scan;
use crate::dataset::png::idat::IdatChunks;
use crate::payload::Stream;

/// A piece of a file.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    /// Bytes that are not specific to a format.
    Segment(Segment),
    /// Payload whose CRC was chosen in advance.
    Preset(Box<PresetPayload>),
    /// The IDAT chunks of a PNG image.
    IdatChunks(Box<IdatChunks>),
    /// The scan of a JPEG image.
    Scan(Box<Scan>),
    /// CSV text.
    CsvText(Box<CsvText>),
    /// Compressed data.
    Compressed(Box<Compressed>),
    /// The chunks of an HDF5 dataset.
    Hdf5Chunks(Box<ChunkBytes>),
    /// Compressed chunks of an HDF5 dataset.
    CompressedHdf5Chunks(Box<CompressedChunks>),
    /// The fixed array that indexes an HDF5 dataset's chunks.
    FixedArray(Box<FixedArray>),
}

impl Piece {
    pub(crate) fn bytes(bytes: Vec<u8>) -> Self {
        Self::Segment(Segment::bytes(bytes))
    }

    pub(crate) fn zeros(count: u64) -> Self {
        Self::Segment(Segment::Zeros(count))
    }

    pub(crate) fn payload(stream: Stream) -> Self {
        Self::Segment(Segment::Payload(stream))
    }

    pub(crate) fn numbers(numbers: Numbers) -> Self {
        Self::Segment(Segment::Numbers(numbers))
    }

    pub(crate) fn remaining(&self) -> u64 {
        match self {
            Self::Segment(segment) => segment.remaining(),
            Self::Preset(preset) => preset.remaining(),
            Self::IdatChunks(chunks) => chunks.remaining(),
            Self::Scan(scan) => scan.remaining(),
            Self::CsvText(text) => text.remaining(),
            Self::Compressed(compressed) => compressed.remaining(),
            Self::Hdf5Chunks(chunks) => chunks.remaining(),
            Self::CompressedHdf5Chunks(chunks) => chunks.remaining(),
            Self::FixedArray(array) => array.remaining(),
        }
    }

    /// Writes the next bytes and returns their number: 0 when the piece is exhausted or the buffer is empty.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> usize {
        if let Self::Segment(segment) = self {
            return segment.fill(buffer);
        }
        let count = clamp(self.remaining(), buffer.len());
        let target = &mut buffer[..count];
        match self {
            Self::Segment(_) => {}
            Self::Preset(preset) => preset.fill(target),
            Self::IdatChunks(chunks) => chunks.fill(target),
            Self::Scan(scan) => scan.fill(target),
            Self::CsvText(text) => text.fill(target),
            Self::Compressed(compressed) => compressed.fill(target),
            Self::Hdf5Chunks(chunks) => chunks.fill(target),
            Self::CompressedHdf5Chunks(chunks) => chunks.fill(target),
            Self::FixedArray(array) => array.fill(target),
        }
        count
    }
}
