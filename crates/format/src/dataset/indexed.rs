//! Indexed binary files: the bytes of all samples, and two index files with the offset and the size of each sample.
//!
//! The index files are plain arrays of unsigned 64-bit numbers, which Megatron's readers map into memory. The arrays
//! are native-endian; this program requires a little-endian machine, which a constant asserts.
//!
//! Offsets increase through the whole file. In the reference they restart in every buffer of
//! `generation_buffer_size`, and with at most as many files as ranks every file has about 1 GiB. Both result in files
//! that cannot be read, so neither is reproduced.

use std::cmp::Ordering;
use std::sync::Arc;

use dlio_config::vocabulary::IndexFile;

use super::access::Access;
use crate::check::Check;
use crate::check_level::CheckLevel;
use crate::encode::Encoder;
use crate::encode::Piece;
use crate::encode::segment::Numbers;
use crate::error::Error;
use crate::layout::Layout;
use crate::mismatch::Mismatch;
use crate::need::Need;
use crate::payload::Stream;
use crate::shape::FileShape;

const _: () = assert!(cfg!(target_endian = "little"), "index files are native-endian");

/// Size of a number in an index file, in bytes.
const NUMBER: u64 = 8;

pub(crate) fn encoder(layout: &Layout, shape: &FileShape) -> Encoder {
    let bytes = layout.sample_bytes(shape.dims).saturating_mul(shape.samples);
    Encoder::pieces([Piece::payload(layout.payload.stream(shape.file, layout.element, bytes))])
}

pub(crate) fn index_encoder(layout: &Layout, shape: &FileShape, index: IndexFile) -> Encoder {
    let bytes = layout.sample_bytes(shape.dims);
    let (first, step) = if index == IndexFile::Sizes { (bytes, 0) } else { (0, bytes) };
    Encoder::pieces([Piece::numbers(Numbers::new(first, step, shape.samples))])
}

/// The numbers of one index file: first number, step and count while the numbers are evenly spaced, otherwise all of
/// them.
#[derive(Debug, Clone, PartialEq, Eq)]
enum IndexNumbers {
    Even { first: u64, step: u64, count: u64 },
    Listed(Vec<u64>),
}

impl IndexNumbers {
    fn push(&mut self, number: u64) {
        match self {
            IndexNumbers::Even { first, step, count } => {
                let even = match *count {
                    0 => Some((number, 0)),
                    1 => number.checked_sub(*first).map(|step| (*first, step)),
                    count => (Some(number) == at(*first, *step, count)).then_some((*first, *step)),
                };
                if let Some((new_first, new_step)) = even {
                    (*first, *step, *count) = (new_first, new_step, *count + 1);
                    return;
                }
                let mut listed: Vec<u64> = (0..*count).filter_map(|index| at(*first, *step, index)).collect();
                listed.push(number);
                *self = IndexNumbers::Listed(listed);
            }
            IndexNumbers::Listed(numbers) => numbers.push(number),
        }
    }

    fn get(&self, index: u64) -> Option<u64> {
        match self {
            IndexNumbers::Even { first, step, count } => (index < *count).then(|| at(*first, *step, index)).flatten(),
            IndexNumbers::Listed(numbers) => usize::try_from(index).ok().and_then(|index| numbers.get(index)).copied(),
        }
    }

    fn len(&self) -> u64 {
        match self {
            IndexNumbers::Even { count, .. } => *count,
            IndexNumbers::Listed(numbers) => numbers.len() as u64,
        }
    }
}

fn at(first: u64, step: u64, index: u64) -> Option<u64> {
    first.checked_add(step.checked_mul(index)?)
}

/// Offsets and sizes of the samples of one file.
///
/// Memory is O(1) for evenly spaced offsets and equal sizes, as every generated file has them, and 8 bytes per number
/// otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleIndex {
    offsets: IndexNumbers,
    sizes: IndexNumbers,
}

impl SampleIndex {
    /// Returns the offset and the size of a sample in bytes, or `None` beyond the last sample.
    #[must_use]
    pub fn get(&self, sample: u64) -> Option<(u64, u64)> {
        self.offsets.get(sample).zip(self.sizes.get(sample))
    }

    /// Returns the number of samples.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.offsets.len()
    }

    /// Returns whether the index is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A decoder of the two index files of one data file. The caller feeds each file whole, in any order, and then calls
/// [`finish`](Self::finish).
#[derive(Debug)]
pub struct IndexDecoder {
    samples: u64,
    /// More samples than the workload specifies are accepted.
    as_found: bool,
    mismatch: Mismatch,
    offsets: IndexFileReader,
    sizes: IndexFileReader,
}

/// A reader of one of the two index files.
#[derive(Debug)]
struct IndexFileReader {
    column: IndexNumbers,
    /// First bytes of a number that is not yet complete.
    rest: [u8; 8],
    position: u64,
}

impl IndexFileReader {
    fn new() -> Self {
        Self { column: IndexNumbers::Even { first: 0, step: 0, count: 0 }, rest: [0; 8], position: 0 }
    }

    fn take(&mut self, bytes: &[u8]) {
        let inside = (self.position % NUMBER) as usize;
        self.position += bytes.len() as u64;
        let mut bytes = bytes;
        if inside > 0 {
            let count = bytes.len().min(8 - inside);
            self.rest[inside..inside + count].copy_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            if inside + count < 8 {
                return;
            }
            self.column.push(u64::from_le_bytes(self.rest));
        }
        let (numbers, tail) = bytes.as_chunks::<8>();
        for number in numbers {
            self.column.push(u64::from_le_bytes(*number));
        }
        self.rest[..tail.len()].copy_from_slice(tail);
    }
}

impl IndexDecoder {
    pub(crate) fn new(layout: &Layout, shape: &FileShape) -> Self {
        Self {
            samples: shape.samples,
            as_found: layout.as_found,
            mismatch: layout.mismatch(shape, CheckLevel::Structure),
            offsets: IndexFileReader::new(),
            sizes: IndexFileReader::new(),
        }
    }

    fn file_reader(&mut self, index: IndexFile) -> (&mut IndexFileReader, &'static str) {
        match index {
            IndexFile::Sizes => (&mut self.sizes, "the index of sizes (.sz.idx)"),
            IndexFile::Offsets | IndexFile::TfRecord => (&mut self.offsets, "the index of offsets (.off.idx)"),
        }
    }

    /// Sets the size of an index file in bytes, for storage that knows it without a read.
    ///
    /// # Errors
    /// Returns an error if the size contradicts the number of samples.
    pub fn size(&mut self, index: IndexFile, bytes: u64) -> Result<(), Error> {
        let expected = self.samples.saturating_mul(NUMBER);
        let (_, noun) = self.file_reader(index);
        let whole = bytes.is_multiple_of(NUMBER) && bytes > 0;
        let differs = || Error::Differs {
            noun: "number of samples in the index",
            expected: self.samples.to_string(),
            found: (bytes / NUMBER).to_string(),
        };
        match bytes.cmp(&expected) {
            Ordering::Less if whole => Err(differs()),
            Ordering::Less => Err(Error::Truncated { noun, expected, found: bytes }),
            Ordering::Greater if self.as_found && whole => Ok(()),
            Ordering::Greater if self.mismatch.is_noted() && whole => self.mismatch.refuse_or_note(differs()),
            Ordering::Greater => Err(Error::Trailing { noun, expected, found: bytes }),
            Ordering::Equal => Ok(()),
        }
    }

    /// Takes the next bytes of an index file.
    ///
    /// # Errors
    /// Returns an error if the index has more numbers than the file has samples.
    pub fn chunk(&mut self, index: IndexFile, bytes: &[u8]) -> Result<(), Error> {
        let expected = self.samples.saturating_mul(NUMBER);
        let as_found = self.as_found || self.mismatch.is_noted();
        let (half, noun) = self.file_reader(index);
        let found = half.position + bytes.len() as u64;
        if found > expected && !as_found {
            return Err(Error::Trailing { noun, expected, found });
        }
        half.take(bytes);
        Ok(())
    }

    /// Completes an index file.
    ///
    /// # Errors
    /// Returns an error if the file is truncated.
    pub fn end(&mut self, index: IndexFile) -> Result<(), Error> {
        let position = self.file_reader(index).0.position;
        self.size(index, position)
    }

    /// Returns the sample index once both files have been read.
    ///
    /// # Errors
    /// Returns an error if an index file is missing or incomplete.
    pub fn finish(mut self) -> Result<SampleIndex, Error> {
        self.end(IndexFile::Offsets)?;
        self.end(IndexFile::Sizes)?;
        Ok(SampleIndex { offsets: self.offsets.column, sizes: self.sizes.column })
    }
}

/// Name of a number in the index of sizes, for error messages.
const SAMPLE_SIZE: &str = "size of the sample in the index (.sz.idx)";
/// Size of a memory page in bytes.
const PAGE: u64 = 4096;
/// Minimum size in bytes of a buffer that the reference's collective generator writes, approximately.
const COLLECTIVE_BUFFER: u64 = 1 << 30;

/// A reader of data files. It reads one range per sample, which the index locates if there is one.
#[derive(Debug)]
pub(crate) struct Reader {
    access: Access,
    /// Samples have the size that the index specifies.
    as_found: bool,
    mismatch: Mismatch,
    /// Size of a sample in the workload, in bytes.
    sample_bytes: u64,
    samples: u64,
    index: Option<Arc<SampleIndex>>,
    size: Option<u64>,
    aim: Option<AimedRange>,
    /// Seed and payload of the file, if its content is compared.
    payload: Option<(u64, Stream)>,
    check: Option<Check>,
}

/// The range of the selected sample.
#[derive(Debug, Clone, Copy)]
struct AimedRange {
    /// Offset of the range in bytes.
    offset: u64,
    len: u64,
    /// Number of bytes of the range that must exist.
    least: u64,
    taken: u64,
}

impl Reader {
    pub(crate) fn new(layout: &Layout, access: Access, shape: &FileShape, check_level: CheckLevel) -> Self {
        let sample_bytes = layout.sample_bytes(shape.dims);
        let payload = (check_level == CheckLevel::Payload).then(|| {
            let stream = layout.payload.stream(shape.file, layout.element, sample_bytes.saturating_mul(shape.samples));
            (layout.payload.seed(), stream)
        });
        let access = match access {
            // A check of the content uses the bytes of the map.
            Access::View if check_level != CheckLevel::Structure => Access::Pages,
            access => access,
        };
        Self {
            access,
            as_found: layout.as_found,
            mismatch: layout.mismatch(shape, check_level),
            sample_bytes,
            samples: shape.samples,
            index: None,
            size: None,
            aim: None,
            payload,
            check: None,
        }
    }

    /// Sets the sample index. A file whose length matches its index but not the workload has another shape; a file
    /// that is shorter than its index implies is truncated. Sizes are summed, because offsets may restart at 0.
    pub(crate) fn locate(&mut self, index: Arc<SampleIndex>) -> Result<(), Error> {
        let compared = self.compare(&index);
        self.index = Some(index);
        compared
    }

    fn compare(&self, index: &SampleIndex) -> Result<(), Error> {
        if !self.is_in_doubt() {
            return Ok(());
        }
        let sizes = (0..index.len()).filter_map(|sample| index.get(sample)).map(|(_, len)| len);
        let end = sizes.fold(0, u64::saturating_add);
        let (first, expected) = (index.get(0).map_or(0, |(_, len)| len), self.sample_bytes);
        if first != expected {
            let (expected, found) = (format!("{expected} bytes"), format!("{first} bytes"));
            self.mismatch.refuse_or_note(Error::Differs { noun: SAMPLE_SIZE, expected, found })?;
        }
        match self.size {
            Some(size) if size < end => Err(truncated(end, size)),
            Some(size) if size > end && !self.is_collective(size) => {
                Err(Error::Trailing { noun: "the last sample", expected: end, found: size })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn size(&mut self, bytes: u64) -> Result<(), Error> {
        self.size = Some(bytes);
        let expected = self.sample_bytes.saturating_mul(self.samples);
        if bytes == 0 && expected > 0 && !self.as_found { Err(truncated(expected, bytes)) } else { Ok(()) }
    }

    /// Returns whether the file size differs from the workload's, so that only the index can explain it.
    pub(crate) fn is_in_doubt(&self) -> bool {
        let expected = self.sample_bytes.saturating_mul(self.samples);
        !self.as_found && self.size.is_some_and(|bytes| bytes != expected && !self.is_collective(bytes))
    }

    /// Returns whether a file that is too long looks like one that the reference's ranks wrote collectively: whole
    /// buffers of samples, of which only the first are in the index.
    fn is_collective(&self, bytes: u64) -> bool {
        let least = COLLECTIVE_BUFFER.checked_rem(self.sample_bytes).map(|rest| COLLECTIVE_BUFFER - rest);
        least.is_some_and(|least| least > 0 && bytes >= least && bytes.is_multiple_of(self.sample_bytes))
    }

    pub(crate) fn sample(&mut self, sample: u64) -> Result<(), Error> {
        let (offset, len) = match &self.index {
            Some(index) => index.get(sample).ok_or(Error::Sample { sample, samples: index.len() })?,
            None => (self.sample_bytes.saturating_mul(sample), self.sample_bytes),
        };
        if len != self.sample_bytes && !self.as_found {
            let (expected, found) = (format!("{} bytes", self.sample_bytes), format!("{len} bytes"));
            self.mismatch.refuse_or_note(Error::Differs { noun: SAMPLE_SIZE, expected, found })?;
        }
        let end = offset.checked_add(len).filter(|&end| end <= self.size.unwrap_or(u64::MAX - PAGE));
        let end = end.ok_or_else(|| self.outside(sample, offset))?;
        let aim = match self.access {
            Access::Range => AimedRange { offset, len, least: len, taken: 0 },
            Access::Pages => {
                let start = offset - offset % PAGE;
                let stop = end.next_multiple_of(PAGE).min(self.size.unwrap_or(u64::MAX));
                AimedRange { offset: start, len: stop - start, least: end - start, taken: 0 }
            }
            Access::View => return Ok(()),
        };
        self.aim = (len > 0).then_some(aim);
        self.check = self.payload.as_ref().map(|(seed, stream)| {
            let stop = (aim.offset + aim.len).min(stream.remaining());
            Check::payload(*seed, stream.range(aim.offset, stop), aim.offset)
        });
        Ok(())
    }

    fn outside(&self, sample: u64, offset: u64) -> Error {
        let found = match self.size {
            Some(size) => format!("{offset}, but the data file has {size} bytes"),
            None => offset.to_string(),
        };
        Error::Malformed {
            noun: "number in the index of offsets (.off.idx)",
            offset: sample.saturating_mul(NUMBER),
            expected: format!("the offset of a sample of {} bytes inside the data file", self.sample_bytes),
            found,
        }
    }

    pub(crate) fn need(&self) -> Need {
        self.aim.map_or(Need::Done, |AimedRange { offset, len, .. }| Need::Bytes { offset, len: Some(len) })
    }

    pub(crate) fn chunk(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if let Some(aim) = &mut self.aim {
            aim.taken += bytes.len() as u64;
        }
        self.check.as_mut().map_or(Ok(()), |check| check.take(bytes))
    }

    pub(crate) fn end(&mut self) -> Result<(), Error> {
        match self.aim.take() {
            Some(AimedRange { offset, least, taken, .. }) if taken < least => {
                Err(truncated(offset + least, offset + taken))
            }
            _ => Ok(()),
        }
    }
}

fn truncated(expected: u64, found: u64) -> Error {
    Error::Truncated { noun: "data file", expected, found }
}
