//! A reader of Parquet files. It reads the footer once, then the row group of each sample, and again only when a
//! sample is in another row group.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::footer::{self, Footer};
use super::options::{Options, SelectedColumns};
use super::pages::Pages;
use super::plan::{FilePlan, MAGIC};
use super::value_decoder::{self, ValueDecoder};
use crate::check::Check;
use crate::check_level::CheckLevel;
use crate::encode::Encoder;
use crate::error::Error;
use crate::error::excerpt;
use crate::layout::Layout;
use crate::mismatch::Mismatch;
use crate::need::Need;
use crate::shape::FileShape;

/// Minimum length of a file in bytes: magic at both ends, and the length of the footer.
const SMALLEST: u64 = 12;
/// Length in bytes of the footer's length field and the magic after it.
const END: u64 = 8;

/// A reader of one file.
#[derive(Debug)]
pub(crate) struct Reader {
    options: Options,
    /// Expected columns, or `None` if the file determines its columns and rows.
    columns: Option<Vec<super::schema::Column>>,
    mismatch: Mismatch,
    rows: u64,
    size: Option<u64>,
    stage: Stage,
    /// Row groups whose ranges are being read or have been read.
    window: Range<usize>,
    wanted: VecDeque<Range<u64>>,
    /// Number of bytes read of the first wanted range.
    taken: u64,
    /// What to read once the footer is known.
    target: Option<Target>,
    /// The row that was read last. A row before it, as in the next epoch, is read again.
    last: Option<u64>,
    check_level: CheckLevel,
    /// The file that this program would write, if the content is compared.
    own_file: Option<Box<OwnFile>>,
    check: Option<Check>,
    values: Option<Box<ValueDecoder>>,
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Row(u64),
    /// The footer alone.
    Footer,
}

/// The inputs from which this program would write the file.
#[derive(Debug)]
struct OwnFile {
    layout: Layout,
    file: u64,
    dims: Vec<u64>,
    samples: u64,
}

impl OwnFile {
    fn plan(&self, options: &Options) -> Result<Arc<FilePlan>, Error> {
        let shape = FileShape { file: self.file, dims: &self.dims, samples: self.samples };
        FilePlan::measured(&self.layout, options, &shape).map(Arc::new)
    }
}

#[derive(Debug)]
enum Stage {
    /// The end of the file, from offset `from` on. If it is read in two ranges, `rest` is the second part.
    Tail {
        from: u64,
        bytes: Vec<u8>,
        rest: Vec<u8>,
    },
    Ready(Arc<Footer>),
}

impl Reader {
    pub(crate) fn new(layout: &Layout, options: &Options, shape: &FileShape, check_level: CheckLevel) -> Self {
        let FileShape { file, dims, samples } = *shape;
        let own_file = || OwnFile { layout: layout.clone(), file, dims: dims.to_vec(), samples };
        Self {
            columns: (!layout.as_found).then(|| options.columns(shape.dims)),
            mismatch: layout.mismatch(shape, check_level),
            options: options.clone(),
            rows: shape.samples,
            size: None,
            stage: Stage::Tail { from: u64::MAX, bytes: Vec::new(), rest: Vec::new() },
            window: 0..0,
            wanted: VecDeque::new(),
            taken: 0,
            target: None,
            last: None,
            check_level,
            own_file: (check_level == CheckLevel::Payload).then(|| Box::new(own_file())),
            check: None,
            values: None,
            seed: layout.payload.seed(),
        }
    }

    /// Reuses the footer from a previous open of the same file, if the check level then was sufficient.
    pub(crate) fn set_footer(&mut self, footer: Arc<Footer>) {
        let known = match self.check_level {
            CheckLevel::Payload => footer.plan.is_some(),
            CheckLevel::Full => footer.values.is_some(),
            CheckLevel::Structure | CheckLevel::Checksums => true,
        };
        if known {
            self.wanted.clear();
            self.set_ready(footer);
        }
    }

    fn set_ready(&mut self, footer: Arc<Footer>) {
        self.values = footer.values.clone().map(|metadata| Box::new(ValueDecoder::new(footer.size, metadata)));
        self.stage = Stage::Ready(footer);
    }

    /// Selects the footer alone.
    pub(crate) fn aim_at_footer(&mut self) {
        if matches!(self.stage, Stage::Tail { .. }) {
            self.target = Some(Target::Footer);
        }
    }

    /// Returns the footer once it has been read.
    pub(crate) fn footer(&self) -> Option<&Arc<Footer>> {
        match &self.stage {
            Stage::Ready(footer) => Some(footer),
            Stage::Tail { .. } => None,
        }
    }

    pub(crate) fn size(&mut self, bytes: u64) -> Result<(), Error> {
        if bytes < SMALLEST {
            return Err(Error::Truncated { noun: "Parquet file", expected: SMALLEST, found: bytes });
        }
        self.size = Some(bytes);
        if matches!(self.stage, Stage::Tail { .. }) && self.wanted.is_empty() {
            let from = bytes - self.options.footer_cap.min(bytes);
            self.stage = Stage::Tail { from, bytes: room(bytes - from), rest: Vec::new() };
            self.wanted.push_back(from..bytes);
        }
        Ok(())
    }

    /// Selects a row.
    pub(crate) fn sample(&mut self, row: u64) -> Result<(), Error> {
        let Stage::Ready(footer) = &self.stage else {
            self.target = Some(Target::Row(row));
            return Ok(());
        };
        let group = footer.row_group(row).ok_or(Error::Sample { sample: row, samples: footer.rows() })?;
        let goes_on = self.last.replace(row).is_some_and(|last| last < row);
        if goes_on && self.window.contains(&group) && self.wanted.is_empty() {
            return Ok(());
        }
        let end = group.saturating_add(usize::try_from(self.options.coalesce).unwrap_or(usize::MAX));
        self.window = group..end.min(footer.row_groups());
        let mut ranges: Vec<_> = self.window.clone().flat_map(|group| footer.ranges(group).to_vec()).collect();
        footer::merge(&mut ranges, !matches!(self.options.selected, SelectedColumns::Only(_)));
        ranges.retain(|range| !range.is_empty());
        self.wanted = ranges.into();
        self.begin_range()
    }

    /// Prepares the checks for the next range.
    fn begin_range(&mut self) -> Result<(), Error> {
        self.taken = 0;
        let (Some(range), Stage::Ready(footer)) = (self.wanted.front(), &self.stage) else { return Ok(()) };
        if let Some(values) = &mut self.values {
            values.begin(range.start);
        }
        if let Some(plan) = footer.plan.clone() {
            let (group, column) = plan.chunk_at(range.start).ok_or_else(|| Error::Differs {
                noun: "start of a column chunk",
                expected: "where dataset.parquet and the seed put it".to_owned(),
                found: format!("at offset {}", range.start),
            })?;
            let encoder = Encoder::pages(0, Pages::new(plan, group, column));
            self.check = Some(Check::new(self.seed, encoder, range.start));
        }
        Ok(())
    }

    pub(crate) fn need(&self) -> Need {
        let waits = self.target.is_some() || matches!(self.stage, Stage::Ready(_));
        match self.wanted.front() {
            Some(range) if waits => Need::Bytes { offset: range.start, len: Some(range.end - range.start) },
            None if self.target.is_some() && self.size.is_none() => Need::Size,
            _ => Need::Done,
        }
    }

    pub(crate) fn chunk(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.taken += bytes.len() as u64;
        if let Stage::Tail { bytes: tail, .. } = &mut self.stage {
            tail.extend_from_slice(bytes);
            return Ok(());
        }
        if let Some(values) = &mut self.values {
            values.keep(bytes);
        }
        self.check.as_mut().map_or(Ok(()), |check| check.take(bytes))
    }

    pub(crate) fn end(&mut self) -> Result<(), Error> {
        let Some(range) = self.wanted.pop_front() else { return Ok(()) };
        let (expected, found) = (range.end, range.start.saturating_add(self.taken));
        if found < expected {
            let noun = if self.footer().is_some() { "a row group" } else { "the footer" };
            return Err(Error::Truncated { noun, expected, found });
        }
        if let Stage::Tail { from, bytes, rest } = &mut self.stage {
            let (from, mut tail) = (*from, std::mem::take(bytes));
            tail.append(rest);
            return self.tail(from, tail);
        }
        if self.wanted.is_empty()
            && let (Some(values), Stage::Ready(footer)) = (&mut self.values, &self.stage)
        {
            values.decode(self.window.clone(), footer.selected())?;
        }
        self.begin_range()
    }

    /// Parses the footer at offset `start` and compares it with the workload.
    fn parse(&self, bytes: &[u8], start: u64) -> Result<Footer, Error> {
        let selected = &self.options.selected;
        let Some(columns) = &self.columns else { return footer::parse(bytes, start, None, selected) };
        let footer = match footer::parse(bytes, start, Some(columns), selected) {
            Err(error @ Error::Differs { .. }) if self.mismatch.is_noted() => {
                // Missing columns that are to be read are an error here too.
                let footer = footer::parse(bytes, start, None, selected)?;
                self.mismatch.refuse_or_note(error)?;
                footer
            }
            parsed => parsed?,
        };
        let (own, found) = (self.rows, footer.rows());
        let error = || Error::Differs { noun: "number of rows", expected: own.to_string(), found: found.to_string() };
        match found.cmp(&own) {
            std::cmp::Ordering::Equal => {}
            std::cmp::Ordering::Less => return Err(error()),
            std::cmp::Ordering::Greater => self.mismatch.refuse_or_note(error())?,
        }
        if let Some((expected, found)) = footer.row_width_difference(columns) {
            self.mismatch.note(Error::Differs { noun: "number of values of a column in a row", expected, found });
        }
        Ok(footer)
    }

    /// Parses the end of the file. Requests the missing part of the footer, or continues with the selected row.
    fn tail(&mut self, from: u64, tail: Vec<u8>) -> Result<(), Error> {
        let size = from + tail.len() as u64;
        let malformed = |offset, expected: &str, found: String| Error::Malformed {
            noun: "end of the Parquet file",
            offset,
            expected: expected.to_owned(),
            found,
        };
        let Some((_, end)) = tail.split_last_chunk::<8>() else {
            return Err(Error::Truncated { noun: "the footer", expected: SMALLEST, found: size });
        };
        let (len, magic) = end.split_at(4);
        if magic != MAGIC {
            let hint = if magic == b"PARE" { " (an encrypted footer, which is not read)" } else { "" };
            let found = format!(
                "{}{hint}; the file is not a Parquet file, is truncated, or has bytes after its end",
                excerpt(magic)
            );
            return Err(malformed(size - 4, "\"PAR1\"", found));
        }
        let len = len.iter().rev().fold(0, |len, &byte| len << 8 | u64::from(byte));
        let Some(start) = size.checked_sub(END + len).filter(|&start| start >= MAGIC.len() as u64) else {
            let found = format!("{len} in a file of {size} bytes");
            return Err(malformed(size - END, "the length of the footer", found));
        };
        if start < from {
            let (end, rest) = if self.options.footer_again { (size - END, end_bytes(&tail)) } else { (from, tail) };
            self.stage = Stage::Tail { from: start, bytes: room(size - start), rest };
            self.wanted.push_back(start..end);
            self.taken = 0;
            return Ok(());
        }
        let bytes = &tail[(start - from) as usize..tail.len() - END as usize];
        let mut footer = self.parse(bytes, start)?;
        footer.size = size;
        footer.plan = self.own_file.as_ref().map(|own_file| own_file.plan(&self.options)).transpose()?;
        if self.check_level == CheckLevel::Full {
            footer.values = Some(value_decoder::metadata(size, from, tail)?);
        }
        self.set_ready(Arc::new(footer));
        match self.target.take() {
            Some(Target::Row(row)) => self.sample(row),
            Some(Target::Footer) | None => Ok(()),
        }
    }
}

/// Allocates a buffer for `bytes` bytes, limited to the size of any plausible footer; a longer footer must arrive
/// before memory is allocated for it.
fn room(bytes: u64) -> Vec<u8> {
    const SENSIBLE: u64 = 64 << 20;
    Vec::with_capacity(bytes.min(SENSIBLE) as usize)
}

/// Returns the length field of the footer and the magic.
fn end_bytes(tail: &[u8]) -> Vec<u8> {
    tail[tail.len().saturating_sub(END as usize)..].to_vec()
}
