//! The parts of a Parquet file.

use super::page::PlainValues;
use crate::buffer::clamp;
use crate::encode::segment::Segment;
use crate::payload::Stream;

/// A part of a page or of the footer.
#[derive(Debug, Clone)]
pub(super) enum Part {
    /// Bytes that are not specific to Parquet.
    Segment(Segment),
    /// Values that differ from the payload they are generated from.
    Values(Box<PlainValues>),
}

impl Part {
    pub(super) fn bytes(bytes: Vec<u8>) -> Self {
        Self::Segment(Segment::bytes(bytes))
    }

    pub(super) fn zeros(count: u64) -> Self {
        Self::Segment(Segment::Zeros(count))
    }

    pub(super) fn payload(stream: Stream) -> Self {
        Self::Segment(Segment::Payload(stream))
    }

    pub(super) fn remaining(&self) -> u64 {
        match self {
            Self::Segment(segment) => segment.remaining(),
            Self::Values(values) => values.remaining(),
        }
    }

    /// Writes the next bytes and returns their number: 0 when the part is exhausted or the buffer is empty.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> usize {
        match self {
            Self::Segment(segment) => segment.fill(buffer),
            Self::Values(values) => {
                let count = clamp(values.remaining(), buffer.len());
                values.fill(&mut buffer[..count]);
                count
            }
        }
    }
}
