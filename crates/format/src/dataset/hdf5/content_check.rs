//! Checks of the content of samples. Contiguous samples are compared as they are read. A chunk is held until it is
//! complete, decoded, and copied into the sample, so the check holds one chunk and one sample.

use super::chunks::{Chunks, Range};
use super::filters::{FilterDecoder, Filters};
use super::options::name;
use super::source::SparseSource;
use crate::check::Check;
use crate::check_level::CheckLevel;
use crate::error::Error;
use crate::layout::Layout;
use crate::payload::Stream;
use crate::shape::FileShape;

/// A check of the content of samples.
#[derive(Debug)]
pub(super) struct ContentCheck {
    check_level: CheckLevel,
    seed: u64,
    /// Payload of each dataset, from its first byte.
    payload: Stream,
    /// Comparison of the current contiguous range.
    check: Option<Check>,
    /// Stored bytes of the current chunk.
    packed: Vec<u8>,
    decoder: FilterDecoder,
    /// The sample, as far as its chunks are decoded; empty before the first chunk.
    plain: Vec<u8>,
    /// Address of the first chunk of the sample.
    first: u64,
    /// Chunks that only hdf5-pure can decode.
    foreign: Vec<(u64, Vec<u8>)>,
}

/// A sample of any dataset of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) number: u64,
    /// Size of the sample in one dataset in bytes.
    pub(super) bytes: u64,
}

impl ContentCheck {
    pub(super) fn new(layout: &Layout, shape: &FileShape, check_level: CheckLevel) -> Self {
        let (seed, payload) = (layout.payload.seed(), layout.payload.stream(shape.file, layout.element, 0));
        Self {
            check_level,
            seed,
            payload,
            check: None,
            packed: Vec::new(),
            decoder: FilterDecoder::default(),
            plain: Vec::new(),
            first: 0,
            foreign: Vec::new(),
        }
    }

    /// Returns whether samples are compared, so that they must be stored outside the metadata.
    pub(super) fn is_compared(&self) -> bool {
        self.check_level == CheckLevel::Payload
    }

    /// Returns whether chunks are decoded.
    pub(super) fn is_decoded(&self) -> bool {
        matches!(self.check_level, CheckLevel::Payload | CheckLevel::Full)
    }

    /// Drops what is held of a sample.
    pub(super) fn begin(&mut self) {
        self.packed.clear();
        self.plain.clear();
        self.foreign.clear();
    }

    /// Takes bytes of a sample's range; `first` is true for the first bytes of the range.
    pub(super) fn take(&mut self, range: &Range, first: bool, sample: Sample, bytes: &[u8]) -> Result<(), Error> {
        if range.chunk.is_some() {
            self.packed.extend_from_slice(bytes);
            return Ok(());
        }
        if self.check_level != CheckLevel::Payload {
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

    /// Completes a range: decodes its chunk.
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
        let plain = self.decoder.decode(filters, *left_out, &self.packed, chunks.chunk_bytes()).map_err(broken)?;
        chunks.scatter(first, sample.number, plain, &mut self.plain);
        self.packed.clear();
        Ok(())
    }

    /// Completes a sample's chunks in a dataset: compares the sample, if it is to be compared.
    pub(super) fn dataset_ended(
        &mut self,
        (index, chunks): (u64, &Chunks),
        sample: Sample,
        source: &SparseSource,
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
        if self.check_level != CheckLevel::Payload {
            // The buffer is reused for the next sample.
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
