//! Looking at the content of samples. Contiguous samples are compared as they pass; a chunk is kept until it is whole, decoded,
//! and its part of the sample put where it belongs, so that such a check holds a chunk and a sample.

use super::chunks::{Chunks, Range};
use super::filters::{Filters, Unpacker};
use super::options::name;
use super::source::Sparse;
use crate::check::Check;
use crate::error::Error;
use crate::layout::Layout;
use crate::payload::Stream;
use crate::scrutiny::Scrutiny;
use crate::shape::FileShape;

/// What becomes of the bytes of samples.
#[derive(Debug)]
pub(super) struct Content {
    scrutiny: Scrutiny,
    seed: u64,
    /// Payload of any of the datasets, from its first byte.
    payload: Stream,
    /// Of the range that is passing.
    check: Option<Check>,
    /// The chunk that is passing.
    packed: Vec<u8>,
    unpacker: Unpacker,
    /// The sample as far as its chunks were decoded; empty before the first one.
    plain: Vec<u8>,
    /// Address of the first of these.
    first: u64,
    /// Chunks that only the parser of the file can decode.
    foreign: Vec<(u64, Vec<u8>)>,
}

/// A sample of any dataset of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) number: u64,
    /// Bytes in one dataset.
    pub(super) bytes: u64,
}

impl Content {
    pub(super) fn new(layout: &Layout, shape: &FileShape, scrutiny: Scrutiny) -> Self {
        let (seed, payload) = (layout.payload.seed(), layout.payload.stream(shape.file, layout.element, 0));
        Self {
            scrutiny,
            seed,
            payload,
            check: None,
            packed: Vec::new(),
            unpacker: Unpacker::default(),
            plain: Vec::new(),
            first: 0,
            foreign: Vec::new(),
        }
    }

    /// Whether samples have to be found outside the metadata.
    pub(super) fn is_compared(&self) -> bool {
        self.scrutiny == Scrutiny::Payload
    }

    /// Whether chunks are decoded.
    pub(super) fn is_decoded(&self) -> bool {
        matches!(self.scrutiny, Scrutiny::Payload | Scrutiny::Full)
    }

    /// Forgets what it has of a sample.
    pub(super) fn begin(&mut self) {
        self.packed.clear();
        self.plain.clear();
        self.foreign.clear();
    }

    /// Takes bytes of a range of a sample, the first of them if `first`.
    pub(super) fn take(&mut self, range: &Range, first: bool, sample: Sample, bytes: &[u8]) -> Result<(), Error> {
        if range.chunk.is_some() {
            self.packed.extend_from_slice(bytes);
            return Ok(());
        }
        if self.scrutiny != Scrutiny::Payload {
            return Ok(());
        }
        if first {
            self.check = Some(Check::payload(self.seed, self.payload_of(sample), range.offset));
        }
        self.check.as_mut().map_or(Ok(()), |check| check.take(bytes))
    }

    fn payload_of(&self, sample: Sample) -> Stream {
        let from = sample.number.saturating_mul(sample.bytes);
        self.payload.range(from, from.saturating_add(sample.bytes))
    }

    /// A range has come whole: decodes the chunk that it is.
    pub(super) fn range_ended(&mut self, range: &Range, chunks: Option<&Chunks>, sample: Sample) -> Result<(), Error> {
        let (Some((first, left_out)), Some(chunks)) = (&range.chunk, chunks) else { return Ok(()) };
        let Some(Filters::Known(filters)) = &chunks.filters else {
            self.foreign.push((range.offset, std::mem::take(&mut self.packed)));
            return Ok(());
        };
        let broken = |found: String| malformed(range.offset, DECODABLE.to_owned(), found);
        if self.plain.is_empty() {
            self.first = range.offset;
            let bytes = usize::try_from(sample.bytes).unwrap_or(usize::MAX);
            let room = self.plain.try_reserve_exact(bytes);
            room.map_err(|error| broken(format!("a sample of {bytes} bytes: {error}")))?;
            self.plain.resize(bytes, 0);
        }
        let plain = self.unpacker.unpack(filters, *left_out, &self.packed, chunks.chunk_bytes()).map_err(broken)?;
        chunks.scatter(first, sample.number, plain, &mut self.plain);
        self.packed.clear();
        Ok(())
    }

    /// All chunks of the sample in a dataset have come: compares it, where that is wanted.
    pub(super) fn dataset_ended(
        &mut self,
        (index, chunks): (u64, &Chunks),
        sample: Sample,
        source: &Sparse,
    ) -> Result<(), Error> {
        if let (Some(Filters::Foreign(dataset)), Some((first, _))) = (&chunks.filters, self.foreign.first()) {
            self.first = *first;
            let metadata = source.with(|known| {
                let metadata = known.ranges.len();
                known.ranges.append(&mut self.foreign);
                metadata
            });
            let decoded = dataset.read_raw_rows(sample.number, 1);
            source.with(|known| known.ranges.truncate(metadata));
            self.plain = decoded.map_err(|error| malformed(self.first, DECODABLE.to_owned(), error.to_string()))?;
        }
        let plain = std::mem::take(&mut self.plain);
        if self.scrutiny != Scrutiny::Payload {
            // Its room serves the next sample.
            self.plain = plain;
            self.plain.clear();
            return Ok(());
        }
        if plain.is_empty() && sample.bytes > 0 {
            let found = "no chunk of it was written".to_owned();
            let expected = format!("sample {} in {}", sample.number, name(index));
            return Err(malformed(0, expected, found));
        }
        let at = |offset| format!("byte {offset} of sample {} in {}", sample.number, name(index));
        let compared = Check::payload(self.seed, self.payload_of(sample), 0).take(&plain);
        self.plain = plain;
        self.plain.clear();
        compared.map_err(|error| match error {
            Error::Content { offset, expected, seed, found } => {
                malformed(self.first, format!("{expected} from {}, which seed {seed} makes", at(offset)), found)
            }
            other => other,
        })
    }
}

const DECODABLE: &str = "what its filters can decode";

fn malformed(offset: u64, expected: String, found: String) -> Error {
    Error::Malformed { noun: "content of the HDF5 chunk", offset, expected, found }
}
