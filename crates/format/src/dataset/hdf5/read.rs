//! Reading samples: metadata through hdf5-pure over the ranges read so far, then the ranges of the sample, dataset by
//! dataset, each range as the HDF5 library reads it.
//!
//! A range that the parser misses is asked for and the parser runs again. Files of this program's own layout are recognised
//! by the bytes that are read and need neither parser nor retry.

use crate::buffer::clamp;
use std::collections::VecDeque;

use hdf5_pure::File;

use super::chunks::{Chunks, Range};
use super::content::{Content, Sample};
use super::file_plan::Plan;
use super::filters::Filters;
use super::options::{Options, name};
use super::paged::{Paged, Pages};
use super::place::Place;
use super::source::{METADATA_MAX, SIGNATURE, SUPERBLOCK, Sparse};
use crate::error::Error;
use crate::error::excerpt;
use crate::layout::Layout;
use crate::mismatch::Mismatch;
use crate::need::Need;
use crate::scrutiny::Scrutiny;
use crate::shape::FileShape;

/// Most ranges of metadata: each costs another run of the parser.
const RANGES_MAX: usize = 4096;

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
    /// Shape of each dataset of records; with `as_found`, that of the first one once it is known.
    shape: Vec<u64>,
    as_found: bool,
    mismatch: Mismatch,
    itemsize: u64,
    datasets: u64,
    /// The file as this program lays it out, as long as what was read is that.
    own: Option<Plan>,
    /// Ranges of its metadata that come next.
    own_ranges: VecDeque<(u64, u64)>,
    source: Sparse,
    /// Of the first datasets; a dataset is looked up when its turn comes.
    places: Vec<Place>,
    stage: Stage,
    ranges: VecDeque<Range>,
    aim: Option<u64>,
    /// The dataset of the sample aimed at that is read.
    dataset: u64,
    /// Chunks of its sample whose ranges were found.
    cursor: u64,
    /// The block of its index that comes next.
    block: Option<(u64, u64)>,
    content: Content,
}

impl Reader {
    pub(crate) fn new(layout: &Layout, options: &Options, shape: &FileShape, scrutiny: Scrutiny) -> Self {
        let own = if options.is_contiguous() && !layout.as_found {
            Plan::new(layout, options, shape, None, None).ok()
        } else {
            None
        };
        Self {
            shape: options.dataset_shape(shape),
            as_found: layout.as_found,
            mismatch: layout.mismatch(shape, scrutiny),
            itemsize: layout.dtype.itemsize(),
            datasets: options.datasets,
            own_ranges: own.as_ref().map(Plan::first_ranges).unwrap_or_default().into(),
            own,
            source: Sparse::default(),
            places: Vec::new(),
            stage: Stage::Metadata { offset: 0, len: SIGNATURE.len() as u64, bytes: Vec::new() },
            ranges: VecDeque::new(),
            aim: None,
            dataset: 0,
            cursor: 0,
            block: None,
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

    pub(crate) fn sample(&mut self, sample: u64) -> Result<(), Error> {
        if !self.places.is_empty() && sample >= self.shape[0] {
            return Err(Error::Sample { sample, samples: self.shape[0] });
        }
        self.aim = Some(sample);
        (self.dataset, self.cursor, self.block) = (0, 0, None);
        self.ranges.clear();
        self.content.begin();
        // Metadata may have been asked for when the aim was taken before.
        if !self.places.is_empty() {
            self.stage = Stage::Samples { taken: 0 };
            self.aim_at_ranges()?;
        }
        Ok(())
    }

    /// Goes on to the next dataset with a place and something to read, of its sample or of its index; returns whether one
    /// without a place comes first.
    fn aim_at_ranges(&mut self) -> Result<bool, Error> {
        self.stage = Stage::Samples { taken: 0 };
        while self.ranges.is_empty() && self.dataset < self.datasets {
            let (Some(place), Some(aim)) = (self.places.get(self.dataset as usize), self.aim) else { return Ok(true) };
            self.block = place.ranges(aim, self.shape[0], &mut self.cursor, &mut self.ranges);
            match self.block.filter(|_| self.ranges.is_empty()) {
                Some((offset, len)) => {
                    self.stage = Stage::Metadata { offset, len, bytes: Vec::new() };
                    return Ok(false);
                }
                None if self.ranges.is_empty() => self.next_dataset()?,
                None => {}
            }
        }
        Ok(false)
    }

    /// Nothing more of the sample is in this dataset.
    fn next_dataset(&mut self) -> Result<(), Error> {
        let sample = self.aimed();
        let chunks = self.places.get(self.dataset as usize).and_then(Place::chunks);
        if let Some(chunks) = chunks.filter(|chunks| chunks.filters.is_some()) {
            self.content.dataset_ended((self.dataset, chunks), sample, &self.source)?;
        }
        (self.dataset, self.cursor) = (self.dataset + 1, 0);
        Ok(())
    }

    pub(crate) fn need(&self) -> Need {
        match &self.stage {
            _ if self.aim.is_none() => Need::Done,
            Stage::Metadata { offset, len, .. } => Need::Bytes { offset: *offset, len: Some(*len) },
            Stage::Samples { .. } => match self.ranges.front() {
                Some(Range { offset, len, .. }) => Need::Bytes { offset: *offset, len: Some(*len) },
                None => Need::Done,
            },
        }
    }

    pub(crate) fn chunk(&mut self, chunk: &[u8]) -> Result<(), Error> {
        let sample = self.aimed();
        match &mut self.stage {
            Stage::Metadata { len, bytes, .. } => {
                let room = clamp(*len - bytes.len() as u64, chunk.len());
                bytes.extend_from_slice(&chunk[..room]);
                Ok(())
            }
            Stage::Samples { taken } => {
                let first = *taken == 0;
                let Some(range) = self.ranges.front() else { return Ok(()) };
                let own = clamp(range.wanted.saturating_sub(*taken), chunk.len());
                *taken += chunk.len() as u64;
                self.content.take(range, first, sample, &chunk[..own])
            }
        }
    }

    /// The sample aimed at, in any dataset.
    fn aimed(&self) -> Sample {
        let bytes = self.shape[1..].iter().fold(self.itemsize, |bytes, &dim| bytes.saturating_mul(dim));
        Sample { number: self.aim.unwrap_or(0), bytes }
    }

    pub(crate) fn end(&mut self) -> Result<(), Error> {
        match &mut self.stage {
            Stage::Metadata { offset, len, bytes } => {
                let (offset, asked, bytes) = (*offset, *len, std::mem::take(bytes));
                self.metadata(offset, asked, bytes)?;
            }
            Stage::Samples { taken } => {
                let taken = std::mem::take(taken);
                if let Some(range) = self.ranges.pop_front() {
                    let Range { offset, len, .. } = range;
                    if taken < len {
                        let (expected, found) = (offset.saturating_add(len), offset.saturating_add(taken));
                        return Err(truncated("HDF5 dataset of records", expected, found));
                    }
                    let chunks = self.places.get(self.dataset as usize).and_then(Place::chunks);
                    self.content.range_ended(&range, chunks, self.aimed())?;
                }
                if self.ranges.is_empty() && self.block.is_none() {
                    self.next_dataset()?;
                }
            }
        }
        if matches!(self.stage, Stage::Samples { .. }) {
            while self.aim_at_ranges()? && self.look_up()? {}
        }
        Ok(())
    }

    /// A range of metadata has arrived.
    fn metadata(&mut self, offset: u64, asked: u64, bytes: Vec<u8>) -> Result<(), Error> {
        let received = bytes.len() as u64;
        if let Some(Place::Paged(paged)) = self.places.get_mut(self.dataset as usize) {
            if received < asked {
                return Err(truncated("index of HDF5 chunks", offset.saturating_add(asked), offset + received));
            }
            paged.take(offset, bytes)?;
            self.stage = Stage::Samples { taken: 0 };
            return Ok(());
        }
        if received < asked {
            self.source.with(|known| known.length = Some(offset + received));
        }
        if offset == 0 && asked <= SUPERBLOCK {
            check_signature(&bytes, asked)?;
        }
        if let Some(own) = self.own.take_if(|own| !own.agrees(offset, &bytes)) {
            drop(own);
        } else if self.own.is_some() && received < asked {
            return Err(truncated("HDF5 metadata", offset + asked, offset + received));
        }
        self.own_ranges.pop_front();
        self.source.with(|known| known.ranges.push((offset, bytes)));
        self.stage = Stage::Samples { taken: 0 };
        self.look_up().map(|_| ())
    }

    /// Finds the place of the next dataset, or asks for metadata; returns whether it was found.
    fn look_up(&mut self) -> Result<bool, Error> {
        let index = self.places.len() as u64;
        let Some(own) = &self.own else { return self.look_up_parsed(index) };
        if let Some(&(offset, len)) = self.own_ranges.front() {
            let len =
                self.source.with(|known| known.length).map_or(len, |end| len.min(end.saturating_sub(offset)).max(1));
            self.stage = Stage::Metadata { offset, len, bytes: Vec::new() };
            return Ok(false);
        }
        let (end, length) = (own.length(), self.source.with(|known| known.length));
        match length.filter(|_| index == 0) {
            Some(found) if found < end => return Err(truncated("HDF5 file, as its superblock says,", end, found)),
            Some(found) if found > end => {
                return Err(Error::Trailing { noun: "HDF5 file, as its superblock says,", expected: end, found });
            }
            _ => {}
        }
        let sample_bytes = self.shape[1..].iter().fold(self.itemsize, |bytes, &dim| bytes.saturating_mul(dim));
        let address = own.address(index);
        self.own_ranges = own.header_ranges(index + 1).into();
        self.place(Place::Contiguous { address, sample_bytes })?;
        Ok(true)
    }

    fn look_up_parsed(&mut self, index: u64) -> Result<bool, Error> {
        let known = self.source.with(|known| {
            known.missing = None;
            known.ranges.len()
        });
        let parsed = self.parse(index);
        let (missing, length) = self.source.with(|known| (known.missing, known.length));
        let error = match (parsed, missing) {
            (Ok(place), _) => {
                self.place(place)?;
                return Ok(true);
            }
            (Err(error), None) => error,
            (Err(error), Some(missing)) => {
                let range = self.source.with(|known| known.range_for(missing));
                let end = length.unwrap_or(u64::MAX);
                match range {
                    Some((offset, len)) if offset < end && known < RANGES_MAX && len <= METADATA_MAX => {
                        let len = len.min(end - offset);
                        self.stage = Stage::Metadata { offset, len, bytes: Vec::new() };
                        return Ok(false);
                    }
                    Some((offset, len)) if offset >= end => truncated("HDF5 metadata", offset.saturating_add(len), end),
                    _ => error,
                }
            }
        };
        let first = self.source.with(|known| {
            let first = known.ranges.first().map(|(_, bytes)| bytes.clone()).unwrap_or_default();
            (!known.has_signature()).then_some(first)
        });
        Err(first.map_or(error, |bytes| no_signature(&bytes)))
    }

    fn place(&mut self, place: Place) -> Result<(), Error> {
        if self.content.is_compared() && matches!(place, Place::Nowhere) {
            return Err(differs("place of the records", "contiguous or chunked", "compact, or never written"));
        }
        let (end, length) = (place.end(self.shape[0]), self.source.with(|known| known.length));
        if let Some(length) = length.filter(|&length| length < end) {
            return Err(truncated("HDF5 dataset of records", end, length));
        }
        self.places.push(place);
        let is_foreign = |place: &Place| {
            let filters = place.chunks().and_then(|chunks| chunks.filters.as_ref());
            matches!(filters, Some(Filters::Foreign(_)))
        };
        // Nobody needs metadata after the last place, but a parser that decodes chunks.
        if self.places.len() as u64 == self.datasets && !self.places.iter().any(is_foreign) {
            self.source = Sparse::default();
            self.source.with(|known| known.length = length);
        }
        Ok(())
    }

    fn parse(&mut self, index: u64) -> Result<Place, Error> {
        let file = File::from_source(self.source.clone()).map_err(|error| malformed("HDF5 superblock", &error))?;
        let expected = file.superblock().eof_address;
        if let Some(found) = self.source.with(|known| known.length).filter(|&found| found < expected) {
            return Err(truncated("HDF5 file, as its superblock says,", expected, found));
        }
        self.parse_dataset(&file, &name(index))
    }

    /// Compares what a dataset is with what the others or the workload say; the first one may decide.
    fn compare_shape(&mut self, shape: &[u64], itemsize: u64) -> Result<(), Error> {
        let error = if shape != self.shape {
            differs("shape of the dataset (samples, *record)", &self.shape, shape)
        } else if itemsize != self.itemsize {
            differs("size of an element in bytes", self.itemsize, itemsize)
        } else {
            return Ok(());
        };
        match shape.first() {
            Some(&samples) if self.places.is_empty() && (self.as_found || self.mismatch.is_noted()) => {
                if !self.as_found {
                    self.mismatch.take(error)?;
                }
                (self.shape, self.itemsize) = (shape.to_vec(), itemsize);
                let missing = self.aim.filter(|&sample| sample >= samples);
                missing.map_or(Ok(()), |sample| Err(Error::Sample { sample, samples }))
            }
            _ => Err(error),
        }
    }

    fn parse_dataset(&mut self, file: &File, name: &str) -> Result<Place, Error> {
        let broken = |error: hdf5_pure::Error| malformed("HDF5 dataset of records", &error);
        let dataset = file.dataset(name).map_err(broken)?;
        let shape = dataset.shape().map_err(broken)?;
        let itemsize = dataset.element_size().map_err(broken)?;
        self.compare_shape(&shape, itemsize)?;
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
            hdf5_pure::Layout::Chunked { chunk_shape, index } => {
                let filters = self.content.is_decoded().then(|| Filters::of(&dataset, itemsize));
                let whole = filters.is_some() || !dataset.filters().is_empty();
                let is_fixed =
                    index == hdf5_pure::ChunkIndex::FixedArray && !matches!(filters, Some(Filters::Foreign(_)));
                let (all, largest) = (Vec::new(), largest(&dataset, &shape).map_err(broken)?);
                let mut chunks = Chunks { all, shape: chunk_shape, extent: shape, itemsize, whole, filters };
                // The header of the array is what was read last, if the places of the chunks were asked for before.
                let header = self.source.with(|known| known.ranges.last().map(|(_, bytes)| bytes.clone()));
                let array = header.filter(|_| is_fixed).and_then(|header| Pages::new(&header, &chunks, &largest));
                if let Some(array) = array {
                    return Ok(Place::Paged(Paged::new(array, chunks)));
                }
                chunks.all = dataset.chunks().map_err(broken)?.into_iter().map(Into::into).collect();
                // Indexes of the library have this order; others need not.
                chunks.all.sort_by_key(|chunk| chunk.offset.first().copied());
                Ok(Place::Chunked(chunks))
            }
            other => Err(differs("layout of the dataset", "contiguous or chunked", other)),
        }
    }
}

/// What a dataset of this shape may be extended to.
fn largest(dataset: &hdf5_pure::Dataset, shape: &[u64]) -> Result<Vec<u64>, hdf5_pure::Error> {
    let largest = dataset.maxshape()?.unwrap_or_default();
    let fixed = largest.into_iter().map(|extent| match extent {
        hdf5_pure::MaxExtent::Fixed(extent) => Some(extent),
        hdf5_pure::MaxExtent::Unlimited => None,
    });
    let fixed: Option<Vec<u64>> = fixed.collect();
    Ok(fixed.filter(|fixed| fixed.len() == shape.len()).unwrap_or_else(|| shape.to_vec()))
}

/// The first bytes: the signature, or those of a user block, at whose end it is looked for later.
fn check_signature(bytes: &[u8], asked: u64) -> Result<(), Error> {
    let found = bytes.len() as u64;
    let begins = SIGNATURE.starts_with(&bytes[..bytes.len().min(SIGNATURE.len())]);
    match (begins, found < SIGNATURE.len() as u64 || found < asked) {
        (true, true) => Err(truncated("HDF5 superblock", SUPERBLOCK, found)),
        (false, true) => Err(no_signature(bytes)),
        _ => Ok(()),
    }
}

fn no_signature(bytes: &[u8]) -> Error {
    let (expected, found) = ("\"\\x89HDF\\r\\n\\x1a\\n\"".to_owned(), excerpt(bytes));
    Error::Malformed { noun: "HDF5 signature", offset: 0, expected, found }
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
