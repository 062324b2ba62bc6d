//! Reading samples: metadata through hdf5-pure over the ranges read so far, then the ranges of the sample.
//!
//! hdf5-pure wants a source that can be read anywhere. The source here holds some ranges of the file and notes the first
//! one that is missing; that range is asked for and the parser runs again. Files of this program's own layout are recognised
//! by their first bytes and need neither parser nor retry.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use hdf5_pure::{File, FormatError, Source};

use super::content::{Content, Sample};
use super::contiguous::Plan;
use super::{dataset_shape, name};
use crate::check::Scrutiny;
use crate::error::excerpt;
use crate::{Error, FileShape, Layout, Need};

/// First range: superblock and headers of a file with few datasets.
const FIRST: u64 = 2048;
/// Shortest superblock of the versions in use.
const SUPERBLOCK: u64 = 48;
/// Later metadata are read in ranges of at least this many bytes.
const METADATA_MIN: u64 = 4096;
/// Most metadata that are read and kept while they are parsed.
const METADATA_MAX: u64 = 64 << 20;
/// Most ranges of metadata: each costs another run of the parser.
const RANGES_MAX: usize = 4096;
/// What a source says its length is before anybody knows.
const UNKNOWN_LENGTH: u64 = 1 << 62;

/// Bytes of a file that are known.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) ranges: Vec<(u64, Vec<u8>)>,
    length: Option<u64>,
    /// First range that was asked for and not known.
    missing: Option<(u64, u64)>,
}

impl Known {
    /// Copies a range, or notes what is missing of it.
    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), FormatError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let at = offset + filled as u64;
            let covering = self.ranges.iter().find(|(start, bytes)| *start <= at && at - start < bytes.len() as u64);
            let Some((start, bytes)) = covering else {
                let wanted = (buffer.len() - filled) as u64;
                self.missing.get_or_insert((at, wanted));
                return Err(FormatError::UnexpectedEof { expected: buffer.len(), available: filled });
            };
            let from = (at - start) as usize;
            let count = (bytes.len() - from).min(buffer.len() - filled);
            buffer[filled..filled + count].copy_from_slice(&bytes[from..from + count]);
            filled += count;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Sparse(Arc<Mutex<Known>>);

impl Sparse {
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Known) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Source for Sparse {
    fn len(&self) -> u64 {
        self.with(|known| known.length.unwrap_or(UNKNOWN_LENGTH))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), FormatError> {
        if offset >= UNKNOWN_LENGTH {
            return Err(FormatError::OffsetOverflow { offset, length: buffer.len() as u64 });
        }
        self.with(|known| known.read(offset, buffer))
    }

    fn read_exact_at(&self, offset: u64, len: usize) -> Result<Vec<u8>, FormatError> {
        // A corrupt file may name any length; memory is taken only for what can be there.
        if len as u64 > METADATA_MAX || offset.saturating_add(len as u64) > self.len() {
            let length = self.len();
            let end = offset.saturating_add(len as u64);
            // A known length is the end of the file: what lies behind it is missing for good.
            self.with(|known| {
                if known.length.is_some() && end > length {
                    known.missing.get_or_insert((length, end - length));
                }
            });
            let available = usize::try_from(length.saturating_sub(offset)).unwrap_or(usize::MAX);
            return Err(FormatError::UnexpectedEof { expected: len, available });
        }
        let mut buffer = vec![0; len];
        self.read_at(offset, &mut buffer)?;
        Ok(buffer)
    }
}

/// Where the samples of one dataset are.
#[derive(Debug)]
enum Place {
    /// One run of bytes per sample.
    Contiguous { address: u64, sample_bytes: u64 },
    /// Whole chunks: first sample, samples, address, stored bytes.
    Chunked(Vec<(u64, u64, u64, u64)>),
    /// Nothing outside the metadata: compact, or never written.
    Nowhere,
}

impl Place {
    fn ranges(&self, sample: u64, out: &mut VecDeque<(u64, u64)>) {
        match self {
            Place::Contiguous { address, sample_bytes } => {
                // Checked against the file's limits when the place was made.
                out.push_back((address.saturating_add(sample.saturating_mul(*sample_bytes)), *sample_bytes));
            }
            Place::Chunked(chunks) => {
                let hit = chunks.iter().filter(|(first, count, ..)| *first <= sample && sample - first < *count);
                out.extend(hit.map(|&(_, _, address, bytes)| (address, bytes)).filter(|&(_, bytes)| bytes > 0));
            }
            Place::Nowhere => {}
        }
    }

    /// End of the last byte.
    fn end(&self, samples: u64) -> u64 {
        match self {
            Place::Contiguous { address, sample_bytes } => {
                address.saturating_add(samples.saturating_mul(*sample_bytes))
            }
            Place::Chunked(chunks) => {
                chunks.iter().map(|&(_, _, address, bytes)| address.saturating_add(bytes)).max().unwrap_or(0)
            }
            Place::Nowhere => 0,
        }
    }
}

/// What the reader does next.
#[derive(Debug)]
enum Stage {
    /// Reading a range of metadata.
    Metadata { offset: u64, len: u64, bytes: Vec<u8> },
    /// Reading the ranges of the sample; this much of the first one has passed.
    Samples { taken: u64 },
}

/// Reads samples of one open file.
#[derive(Debug)]
pub(crate) struct Reader {
    /// Shape of each dataset of records.
    shape: Vec<u64>,
    itemsize: u64,
    datasets: u64,
    /// The file as this program lays it out.
    own: Option<Plan>,
    source: Sparse,
    places: Option<Vec<Place>>,
    stage: Stage,
    ranges: VecDeque<(u64, u64)>,
    aim: Option<u64>,
    content: Content,
}

impl Reader {
    pub(crate) fn new(layout: &Layout, shape: &FileShape, scrutiny: Scrutiny) -> Self {
        let own = if layout.hdf5.is_contiguous() { Plan::new(layout, shape).ok() } else { None };
        Self {
            shape: dataset_shape(layout, shape),
            itemsize: layout.dtype.itemsize(),
            datasets: layout.hdf5.datasets,
            own,
            source: Sparse::default(),
            places: None,
            stage: Stage::Metadata { offset: 0, len: FIRST, bytes: Vec::new() },
            ranges: VecDeque::new(),
            aim: None,
            content: Content::new(layout, shape, scrutiny),
        }
    }

    pub(crate) fn size(&mut self, bytes: u64) -> Result<(), Error> {
        self.source.with(|known| known.length = Some(bytes));
        if bytes == 0 {
            return Err(truncated("HDF5 superblock", SUPERBLOCK, 0));
        }
        if let Stage::Metadata { offset: 0, len, .. } = &mut self.stage {
            *len = (*len).min(bytes);
        }
        Ok(())
    }

    pub(crate) fn sample(&mut self, sample: u64) {
        self.aim = Some(sample);
        self.aim_at_ranges();
    }

    fn aim_at_ranges(&mut self) {
        if let (Some(places), Some(aim)) = (&self.places, self.aim) {
            self.stage = Stage::Samples { taken: 0 };
            self.ranges.clear();
            for place in places {
                place.ranges(aim, &mut self.ranges);
            }
        }
    }

    pub(crate) fn need(&self) -> Need {
        match &self.stage {
            _ if self.aim.is_none() => Need::Done,
            Stage::Metadata { offset, len, .. } => Need::Bytes { offset: *offset, len: Some(*len) },
            Stage::Samples { .. } => match self.ranges.front() {
                Some(&(offset, len)) => Need::Bytes { offset, len: Some(len) },
                None => Need::Done,
            },
        }
    }

    pub(crate) fn chunk(&mut self, chunk: &[u8]) -> Result<(), Error> {
        let sample = self.aimed();
        match &mut self.stage {
            Stage::Metadata { len, bytes, .. } => {
                let room = crate::encode::clamp(*len - bytes.len() as u64, chunk.len());
                bytes.extend_from_slice(&chunk[..room]);
                Ok(())
            }
            Stage::Samples { taken } => {
                let first = *taken == 0;
                *taken += chunk.len() as u64;
                let offset = self.ranges.front().map_or(0, |&(offset, _)| offset);
                self.content.take(offset, first, sample, chunk)
            }
        }
    }

    /// The sample aimed at, in every dataset.
    fn aimed(&self) -> Sample {
        let bytes = self.shape[1..].iter().fold(self.itemsize, |bytes, &dim| bytes.saturating_mul(dim));
        Sample { number: self.aim.unwrap_or(0), bytes, datasets: self.datasets }
    }

    pub(crate) fn end(&mut self) -> Result<(), Error> {
        let sample = self.aimed();
        match &mut self.stage {
            Stage::Metadata { offset, len, bytes } => {
                let (offset, asked, bytes) = (*offset, *len, std::mem::take(bytes));
                self.metadata(offset, asked, bytes)
            }
            Stage::Samples { taken } => {
                let taken = std::mem::take(taken);
                match self.ranges.pop_front() {
                    Some((offset, len)) if taken < len => Err(truncated(
                        "HDF5 dataset of records",
                        offset.saturating_add(len),
                        offset.saturating_add(taken),
                    )),
                    _ if self.ranges.is_empty() => self.content.end(sample, &self.source),
                    _ => Ok(()),
                }
            }
        }
    }

    /// A range of metadata has arrived: parses, and aims at the sample or at the next range.
    fn metadata(&mut self, offset: u64, asked: u64, bytes: Vec<u8>) -> Result<(), Error> {
        let received = bytes.len() as u64;
        if received < asked {
            self.source.with(|known| known.length = Some(offset + received));
        }
        if offset == 0
            && let Some(own) = self.own.take_if(|own| bytes.starts_with(&own.metadata))
        {
            let sample_bytes = own.record_bytes / self.shape[0].max(1);
            let start = |index| own.data_start + index * own.record_bytes;
            let places = (0..self.datasets).map(|index| Place::Contiguous { address: start(index), sample_bytes });
            return self.place(places.collect());
        }
        if offset == 0 {
            check_signature(&bytes)?;
        }
        let known = self.source.with(|known| {
            known.ranges.push((offset, bytes));
            known.missing = None;
            known.ranges.len()
        });
        let parsed = self.parse();
        let (missing, length) = self.source.with(|known| (known.missing, known.length));
        match (parsed, missing) {
            (Ok(places), _) => {
                let chunked = places.iter().any(|place| matches!(place, Place::Chunked(_)));
                if !(chunked && self.content.set_chunked()) {
                    self.source = Sparse::default();
                    self.source.with(|known| known.length = length);
                }
                self.place(places)
            }
            (Err(_), Some((offset, wanted))) if known < RANGES_MAX && wanted <= METADATA_MAX => {
                let len = wanted.max(METADATA_MIN);
                let end = length.unwrap_or(u64::MAX);
                if offset >= end {
                    return Err(truncated("HDF5 metadata", offset.saturating_add(wanted), end));
                }
                self.stage = Stage::Metadata { offset, len: len.min(end - offset), bytes: Vec::new() };
                Ok(())
            }
            (Err(error), _) => Err(error),
        }
    }

    fn place(&mut self, places: Vec<Place>) -> Result<(), Error> {
        if self.content.is_compared() && places.iter().any(|place| matches!(place, Place::Nowhere)) {
            return Err(differs("place of the records", "contiguous or chunked", "compact, or never written"));
        }
        let end = places.iter().map(|place| place.end(self.shape[0])).max().unwrap_or(0);
        if let Some(length) = self.source.with(|known| known.length).filter(|&length| length < end) {
            return Err(truncated("HDF5 dataset of records", end, length));
        }
        self.places = Some(places);
        self.aim_at_ranges();
        Ok(())
    }

    fn parse(&self) -> Result<Vec<Place>, Error> {
        let file = File::from_source(self.source.clone()).map_err(|error| malformed("HDF5 superblock", &error))?;
        let expected = file.superblock().eof_address;
        if let Some(found) = self.source.with(|known| known.length).filter(|&found| found < expected) {
            return Err(truncated("HDF5 file, as its superblock says,", expected, found));
        }
        (0..self.datasets).map(|index| self.parse_dataset(&file, &name(index))).collect()
    }

    fn parse_dataset(&self, file: &File, name: &str) -> Result<Place, Error> {
        let broken = |error: hdf5_pure::Error| malformed("HDF5 dataset of records", &error);
        let dataset = file.dataset(name).map_err(broken)?;
        let shape = dataset.shape().map_err(broken)?;
        if shape != self.shape {
            return Err(differs("shape of the dataset (samples, *record)", &self.shape, &shape));
        }
        let itemsize = dataset.element_size().map_err(broken)?;
        if itemsize != self.itemsize {
            return Err(differs("size of an element in bytes", self.itemsize, itemsize));
        }
        match dataset.layout().map_err(broken)? {
            hdf5_pure::Layout::Contiguous { address: Some(address), size } => {
                let sample_bytes = self.shape[1..].iter().fold(itemsize, |bytes, &dim| bytes.saturating_mul(dim));
                let expected = sample_bytes.saturating_mul(self.shape[0]);
                if size != expected {
                    return Err(differs("size of the dataset in bytes", expected, size));
                }
                Ok(Place::Contiguous { address, sample_bytes })
            }
            hdf5_pure::Layout::Contiguous { address: None, .. } | hdf5_pure::Layout::Compact { .. } => {
                Ok(Place::Nowhere)
            }
            hdf5_pure::Layout::Chunked { chunk_shape, .. } => {
                let samples = chunk_shape.first().copied().unwrap_or(1);
                let chunks = dataset.chunks().map_err(broken)?;
                let place = |chunk: &hdf5_pure::Chunk| {
                    (chunk.offset.first().copied().unwrap_or(0), samples, chunk.address, chunk.storage_size)
                };
                Ok(Place::Chunked(chunks.iter().map(place).collect()))
            }
            other => Err(differs("layout of the dataset", "contiguous or chunked", other)),
        }
    }
}

/// A file begins with the signature, or has it behind a user block of 512 or 1024 bytes.
fn check_signature(bytes: &[u8]) -> Result<(), Error> {
    const SIGNATURE: &[u8; 8] = b"\x89HDF\r\n\x1a\n";
    if bytes.len() < SUPERBLOCK as usize && SIGNATURE.starts_with(&bytes[..bytes.len().min(SIGNATURE.len())]) {
        return Err(truncated("HDF5 superblock", SUPERBLOCK, bytes.len() as u64));
    }
    let starts = [0, 512, 1024];
    if starts.iter().any(|&start| bytes.get(start..).is_some_and(|bytes| bytes.starts_with(SIGNATURE))) {
        return Ok(());
    }
    let (expected, found) = ("\"\\x89HDF\\r\\n\\x1a\\n\"".to_owned(), excerpt(bytes));
    Err(Error::Malformed { noun: "HDF5 signature", offset: 0, expected, found })
}

fn truncated(noun: &'static str, expected: u64, found: u64) -> Error {
    Error::Truncated { noun, expected, found }
}

fn malformed(noun: &'static str, error: &hdf5_pure::Error) -> Error {
    Error::Malformed { noun, offset: 0, expected: "what HDF5 defines".to_owned(), found: error.to_string() }
}

fn differs(noun: &'static str, expected: impl std::fmt::Debug, found: impl std::fmt::Debug) -> Error {
    Error::Differs { noun, expected: format!("{expected:?}"), found: format!("{found:?}") }
}
