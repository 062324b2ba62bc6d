//! A reader of HDF5 samples. hdf5-pure parses the metadata from the ranges read so far; then the reader reads the
//! ranges of the sample, dataset by dataset, each range as the HDF5 library reads it.
//!
//! If the parser needs a range that is missing, the reader requests it and runs the parser again. Files with this
//! program's own layout are recognised by their bytes and need neither the parser nor repeated runs.

use crate::buffer::clamp;
use std::collections::VecDeque;

use hdf5_pure::File;

use super::chunks::{Chunks, Range};
use super::content_check::{ContentCheck, Sample};
use super::file_plan::FilePlan;
use super::filters::Filters;
use super::options::{Options, name};
use super::paged_index::{PagedArray, PagedChunks};
use super::source::{METADATA_MAX, SIGNATURE, SUPERBLOCK, SparseSource};
use super::storage_layout::StorageLayout;
use crate::check_level::CheckLevel;
use crate::error::Error;
use crate::error::excerpt;
use crate::layout::Layout;
use crate::mismatch::Mismatch;
use crate::need::Need;
use crate::shape::FileShape;

/// Maximum number of metadata ranges; each costs another run of the parser.
const RANGES_MAX: usize = 4096;

/// What the reader reads next.
#[derive(Debug)]
enum Stage {
    /// A range of metadata.
    Metadata { offset: u64, len: u64, bytes: Vec<u8> },
    /// The ranges of the sample; `taken` bytes of the first range have been read.
    Samples { taken: u64 },
}

/// A reader of the samples of one open file.
#[derive(Debug)]
pub(crate) struct Reader {
    /// Shape of each dataset of records; with `as_found`, that of the first dataset once it is known.
    shape: Vec<u64>,
    as_found: bool,
    mismatch: Mismatch,
    itemsize: u64,
    datasets: u64,
    /// The file as this program lays it out, as long as the bytes read agree with it.
    own: Option<FilePlan>,
    /// Ranges of its metadata that remain to be read.
    own_ranges: VecDeque<(u64, u64)>,
    source: SparseSource,
    /// Storage layouts of the first datasets; the layout of a dataset is determined when it is needed.
    layouts: Vec<StorageLayout>,
    stage: Stage,
    ranges: VecDeque<Range>,
    aim: Option<u64>,
    /// The dataset that is being read for the selected sample.
    dataset: u64,
    /// Number of the sample's chunks in that dataset whose ranges are known.
    cursor: u64,
    /// Range of the next index block to read.
    block: Option<(u64, u64)>,
    content: ContentCheck,
}

impl Reader {
    pub(crate) fn new(layout: &Layout, options: &Options, shape: &FileShape, check_level: CheckLevel) -> Self {
        let own = if options.is_contiguous() && !layout.as_found {
            FilePlan::new(layout, options, shape, None, None).ok()
        } else {
            None
        };
        Self {
            shape: options.dataset_shape(shape),
            as_found: layout.as_found,
            mismatch: layout.mismatch(shape, check_level),
            itemsize: layout.dtype.itemsize(),
            datasets: options.datasets,
            own_ranges: own.as_ref().map(FilePlan::first_ranges).unwrap_or_default().into(),
            own,
            source: SparseSource::default(),
            layouts: Vec::new(),
            stage: Stage::Metadata { offset: 0, len: SIGNATURE.len() as u64, bytes: Vec::new() },
            ranges: VecDeque::new(),
            aim: None,
            dataset: 0,
            cursor: 0,
            block: None,
            content: ContentCheck::new(layout, shape, check_level),
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
        if !self.layouts.is_empty() && sample >= self.shape[0] {
            return Err(Error::Sample { sample, samples: self.shape[0] });
        }
        self.aim = Some(sample);
        (self.dataset, self.cursor, self.block) = (0, 0, None);
        self.ranges.clear();
        self.content.begin();
        // Metadata may already have been requested for a previously selected sample.
        if !self.layouts.is_empty() {
            self.stage = Stage::Samples { taken: 0 };
            self.queue_ranges()?;
        }
        Ok(())
    }

    /// Continues to the next dataset that has ranges to read, of its sample or of its index. Returns whether a
    /// dataset with an unknown layout comes first.
    fn queue_ranges(&mut self) -> Result<bool, Error> {
        self.stage = Stage::Samples { taken: 0 };
        while self.ranges.is_empty() && self.dataset < self.datasets {
            let (Some(place), Some(aim)) = (self.layouts.get(self.dataset as usize), self.aim) else { return Ok(true) };
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

    /// Completes the current dataset of the sample and continues with the next.
    fn next_dataset(&mut self) -> Result<(), Error> {
        let sample = self.aimed();
        let chunks = self.layouts.get(self.dataset as usize).and_then(StorageLayout::chunks);
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

    /// Returns the selected sample, which has the same size in every dataset.
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
                    let chunks = self.layouts.get(self.dataset as usize).and_then(StorageLayout::chunks);
                    self.content.range_ended(&range, chunks, self.aimed())?;
                }
                if self.ranges.is_empty() && self.block.is_none() {
                    self.next_dataset()?;
                }
            }
        }
        if matches!(self.stage, Stage::Samples { .. }) {
            while self.queue_ranges()? && self.locate_next_dataset()? {}
        }
        Ok(())
    }

    /// Takes a complete range of metadata.
    fn metadata(&mut self, offset: u64, asked: u64, bytes: Vec<u8>) -> Result<(), Error> {
        let received = bytes.len() as u64;
        if let Some(StorageLayout::Paged(paged)) = self.layouts.get_mut(self.dataset as usize) {
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
        self.locate_next_dataset().map(|_| ())
    }

    /// Determines the storage layout of the next dataset, or requests metadata. Returns whether the layout was
    /// determined.
    fn locate_next_dataset(&mut self) -> Result<bool, Error> {
        let index = self.layouts.len() as u64;
        let Some(own) = &self.own else { return self.locate_by_parsing(index) };
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
        self.add_layout(StorageLayout::Contiguous { address, sample_bytes })?;
        Ok(true)
    }

    fn locate_by_parsing(&mut self, index: u64) -> Result<bool, Error> {
        let known = self.source.with(|known| {
            known.missing = None;
            known.ranges.len()
        });
        let parsed = self.parse(index);
        let (missing, length) = self.source.with(|known| (known.missing, known.length));
        let error = match (parsed, missing) {
            (Ok(place), _) => {
                self.add_layout(place)?;
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

    fn add_layout(&mut self, layout: StorageLayout) -> Result<(), Error> {
        if self.content.is_compared() && matches!(layout, StorageLayout::NoRanges) {
            return Err(differs("place of the records", "contiguous or chunked", "compact, or never written"));
        }
        let (end, length) = (layout.end(self.shape[0]), self.source.with(|known| known.length));
        if let Some(length) = length.filter(|&length| length < end) {
            return Err(truncated("HDF5 dataset of records", end, length));
        }
        self.layouts.push(layout);
        let is_foreign = |place: &StorageLayout| {
            let filters = place.chunks().and_then(|chunks| chunks.filters.as_ref());
            matches!(filters, Some(Filters::Foreign(_)))
        };
        // Metadata are no longer needed after the last layout, except by hdf5-pure for decoding chunks.
        if self.layouts.len() as u64 == self.datasets && !self.layouts.iter().any(is_foreign) {
            self.source = SparseSource::default();
            self.source.with(|known| known.length = length);
        }
        Ok(())
    }

    fn parse(&mut self, index: u64) -> Result<StorageLayout, Error> {
        let file = File::from_source(self.source.clone()).map_err(|error| malformed("HDF5 superblock", &error))?;
        let expected = file.superblock().eof_address;
        if let Some(found) = self.source.with(|known| known.length).filter(|&found| found < expected) {
            return Err(truncated("HDF5 file, as its superblock says,", expected, found));
        }
        self.parse_dataset(&file, &name(index))
    }

    /// Compares a dataset with the other datasets or the workload. The first dataset may determine the shape.
    fn compare_shape(&mut self, shape: &[u64], itemsize: u64) -> Result<(), Error> {
        let error = if shape != self.shape {
            differs("shape of the dataset (samples, *record)", &self.shape, shape)
        } else if itemsize != self.itemsize {
            differs("size of an element in bytes", self.itemsize, itemsize)
        } else {
            return Ok(());
        };
        match shape.first() {
            Some(&samples) if self.layouts.is_empty() && (self.as_found || self.mismatch.is_noted()) => {
                if !self.as_found {
                    self.mismatch.refuse_or_note(error)?;
                }
                (self.shape, self.itemsize) = (shape.to_vec(), itemsize);
                let missing = self.aim.filter(|&sample| sample >= samples);
                missing.map_or(Ok(()), |sample| Err(Error::Sample { sample, samples }))
            }
            _ => Err(error),
        }
    }

    fn parse_dataset(&mut self, file: &File, name: &str) -> Result<StorageLayout, Error> {
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
                Ok(StorageLayout::Contiguous { address, sample_bytes })
            }
            hdf5_pure::Layout::Contiguous { address: None, .. } | hdf5_pure::Layout::Compact { .. } => {
                Ok(StorageLayout::NoRanges)
            }
            hdf5_pure::Layout::Chunked { chunk_shape, index } => {
                let filters = self.content.is_decoded().then(|| Filters::of(&dataset, itemsize));
                let whole = filters.is_some() || !dataset.filters().is_empty();
                let is_fixed =
                    index == hdf5_pure::ChunkIndex::FixedArray && !matches!(filters, Some(Filters::Foreign(_)));
                let (all, largest) = (Vec::new(), largest(&dataset, &shape).map_err(broken)?);
                let mut chunks = Chunks { all, shape: chunk_shape, extent: shape, itemsize, whole, filters };
                // The header of the array is the last range that was read, if the chunk layout was parsed before.
                let header = self.source.with(|known| known.ranges.last().map(|(_, bytes)| bytes.clone()));
                let array = header.filter(|_| is_fixed).and_then(|header| PagedArray::new(&header, &chunks, &largest));
                if let Some(array) = array {
                    return Ok(StorageLayout::Paged(PagedChunks::new(array, chunks)));
                }
                chunks.all = dataset.chunks().map_err(broken)?.into_iter().map(Into::into).collect();
                // The library's indexes have this order; those of other programs may not.
                chunks.all.sort_by_key(|chunk| chunk.offset.first().copied());
                Ok(StorageLayout::Chunked(chunks))
            }
            other => Err(differs("layout of the dataset", "contiguous or chunked", other)),
        }
    }
}

/// Returns the maximum shape of a dataset with this shape.
fn largest(dataset: &hdf5_pure::Dataset, shape: &[u64]) -> Result<Vec<u64>, hdf5_pure::Error> {
    let largest = dataset.maxshape()?.unwrap_or_default();
    let fixed = largest.into_iter().map(|extent| match extent {
        hdf5_pure::MaxExtent::Fixed(extent) => Some(extent),
        hdf5_pure::MaxExtent::Unlimited => None,
    });
    let fixed: Option<Vec<u64>> = fixed.collect();
    Ok(fixed.filter(|fixed| fixed.len() == shape.len()).unwrap_or_else(|| shape.to_vec()))
}

/// Checks the first bytes: the signature, or a user block, after which the signature is searched for later.
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
