//! Looking at the content of samples. Contiguous samples are compared as they pass; the chunks of a chunked sample are
//! kept until all are there and decoded by hdf5-pure, so that such a check holds the chunks of one sample.

use hdf5_pure::File;

use super::name;
use super::source::Sparse;
use crate::check::{Check, Scrutiny};
use crate::payload::Stream;
use crate::{Error, FileShape, Layout};

/// What becomes of the bytes of samples.
#[derive(Debug)]
pub(super) struct Content {
    scrutiny: Scrutiny,
    seed: u64,
    /// Payload of any of the datasets, from its first byte.
    payload: Stream,
    /// Of the range that is passing.
    check: Option<Check>,
    /// Ranges of the sample are kept and decoded.
    chunked: bool,
    kept: Vec<(u64, Vec<u8>)>,
}

/// A sample of every dataset of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) number: u64,
    /// Bytes in one dataset.
    pub(super) bytes: u64,
    pub(super) datasets: u64,
}

impl Content {
    pub(super) fn new(layout: &Layout, shape: &FileShape, scrutiny: Scrutiny) -> Self {
        let (seed, payload) = (layout.payload.seed(), layout.payload.stream(shape.file, layout.element, 0));
        Self { scrutiny, seed, payload, check: None, chunked: false, kept: Vec::new() }
    }

    /// Whether samples have to be found outside the metadata.
    pub(super) fn is_compared(&self) -> bool {
        self.scrutiny == Scrutiny::Payload
    }

    /// The file is chunked; returns whether its metadata are needed to decode samples.
    pub(super) fn set_chunked(&mut self) -> bool {
        self.chunked = self.is_decoded();
        self.chunked
    }

    /// Whether chunks are decoded.
    pub(super) fn is_decoded(&self) -> bool {
        matches!(self.scrutiny, Scrutiny::Payload | Scrutiny::Full)
    }

    /// Takes bytes of a range of a sample, the first of them if `first`.
    pub(super) fn take(&mut self, offset: u64, first: bool, sample: Sample, bytes: &[u8]) -> Result<(), Error> {
        if self.chunked {
            if first {
                self.kept.push((offset, Vec::new()));
            }
            self.kept.iter_mut().last().into_iter().for_each(|(_, kept)| kept.extend_from_slice(bytes));
            return Ok(());
        }
        if self.scrutiny != Scrutiny::Payload {
            return Ok(());
        }
        if first {
            self.check = Some(Check::payload(self.seed, self.payload_of(sample), offset));
        }
        self.check.as_mut().map_or(Ok(()), |check| check.take(bytes))
    }

    fn payload_of(&self, sample: Sample) -> Stream {
        let from = sample.number.saturating_mul(sample.bytes);
        self.payload.range(from, from.saturating_add(sample.bytes))
    }

    /// All ranges of the sample have come: decodes them, where that is wanted.
    pub(super) fn end(&mut self, sample: Sample, source: &Sparse) -> Result<(), Error> {
        if !self.chunked || self.kept.is_empty() {
            return Ok(());
        }
        let chunk = self.kept[0].0;
        let metadata = source.with(|known| {
            let metadata = known.ranges.len();
            known.ranges.append(&mut self.kept);
            metadata
        });
        let decoded = self.decode(sample, source, chunk);
        source.with(|known| known.ranges.truncate(metadata));
        decoded
    }

    fn decode(&self, sample: Sample, source: &Sparse, chunk: u64) -> Result<(), Error> {
        let malformed = |expected: String, found: String| Error::Malformed {
            noun: "content of the HDF5 chunk",
            offset: chunk,
            expected,
            found,
        };
        let broken = |error: hdf5_pure::Error| malformed("what its filters can decode".to_owned(), error.to_string());
        let file = File::from_source(source.clone()).map_err(broken)?;
        for index in 0..sample.datasets {
            let dataset = file.dataset(&name(index)).map_err(broken)?;
            let rows = dataset.read_raw_rows(sample.number, 1).map_err(broken)?;
            if self.scrutiny != Scrutiny::Payload {
                continue;
            }
            let at = |offset| format!("byte {offset} of sample {} in {}", sample.number, name(index));
            Check::payload(self.seed, self.payload_of(sample), 0).take(&rows).map_err(|error| match error {
                Error::Content { offset, expected, seed, found } => {
                    malformed(format!("{expected} from {}, which seed {seed} makes", at(offset)), found)
                }
                other => other,
            })?;
        }
        Ok(())
    }
}
