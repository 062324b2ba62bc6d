//! The plan of a Parquet file, which is written from front to back: pages in order, the footer last, one page in
//! memory.
//!
//! The length of plain pages can be computed, so the length of the file is known before its first byte. The length of
//! compressed pages depends on their content: the file is compressed once to measure it and again to write it. Only
//! the lengths of the column chunks depend on the content, 16 bytes each, which the footer contains anyway.

use super::options::{Codec, Options};
use super::page::{self, PageEncoding, PageFrame, PlainValues};
use super::part::Part;
use super::schema::{Column, Values, arrow_schema};
use super::thrift::{self, Writer};
use crate::error::Error;
use crate::layout::Layout;
use crate::payload::{Element, Stream};
use crate::shape::FileShape;

pub(super) const MAGIC: &[u8; 4] = b"PAR1";

/// Lengths of a column chunk in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ColumnChunk {
    /// Length of the dictionary page, or 0 without one.
    dictionary: u64,
    /// Length of all pages as stored.
    stored: u64,
    /// Length of all pages before compression.
    plain: u64,
}

/// The layout of all row groups with the same number of rows.
#[derive(Debug)]
pub(super) struct RowGroup {
    pub(super) rows: u64,
    /// Column chunks without compression.
    chunks: Vec<ColumnChunk>,
    /// Total length of the chunks in bytes.
    stored: u64,
}

/// The plan of a file: everything that its pages and its footer are generated from.
#[derive(Debug)]
pub(super) struct FilePlan {
    pub(super) columns: Vec<Column>,
    pub(super) codec: Codec,
    rows: u64,
    group_size: u64,
    full: RowGroup,
    last: RowGroup,
    /// Compressed column chunks: all columns of the first row group, then those of the next.
    measured: Vec<ColumnChunk>,
    payload: Stream,
    /// Offset in bytes of each column's payload within that of its row group.
    starts: Vec<u64>,
    stride: u64,
    arrow: String,
}

impl FilePlan {
    fn new(layout: &Layout, options: &Options, shape: &FileShape) -> Result<Self, Error> {
        let refuse = |reason: &str| Error::Shape {
            dims: shape.dims.to_vec(),
            samples: shape.samples,
            reason: reason.to_owned(),
        };
        let columns = options.columns(shape.dims);
        let group_size = options.row_group_size.min(shape.samples).max(1);
        let too_wide = || refuse("a page of one row has more than 2 GiB");
        let group = |rows| RowGroup::new(&columns, rows).ok_or_else(too_wide);
        let (mut starts, mut stride) = (Vec::new(), 0_u64);
        for column in &columns {
            starts.push(stride);
            let bytes = group_size.checked_mul(column.per_row()).and_then(|values| column.values.payload(values));
            let bytes = bytes.and_then(|bytes| bytes.checked_next_multiple_of(8));
            let next = bytes.and_then(|bytes| stride.checked_add(bytes)).filter(|&stride| stride < 1 << 62);
            stride = next.ok_or_else(|| refuse("a row group has more than 2^62 bytes"))?;
        }
        let groups = shape.samples / group_size;
        let total = stride.checked_mul(groups + 1).filter(|&bytes| bytes < 1 << 60);
        let total = total.ok_or_else(|| refuse("it has more than 2^60 bytes"))?;
        Ok(Self {
            codec: options.codec,
            rows: shape.samples,
            group_size,
            full: group(group_size)?,
            last: group(shape.samples % group_size)?,
            measured: Vec::new(),
            payload: layout.payload.stream(shape.file, Element::Raw, total),
            starts,
            stride,
            arrow: arrow_schema(&columns),
            columns,
        })
    }

    /// Creates the plan of a file, including the lengths of its compressed chunks.
    pub(super) fn measured(layout: &Layout, options: &Options, shape: &FileShape) -> Result<Self, Error> {
        let mut plan = Self::new(layout, options, shape)?;
        if plan.codec != Codec::None {
            plan.measure();
        }
        Ok(plan)
    }

    /// Returns the row group and the column whose chunk begins at byte `offset` of the file.
    pub(super) fn chunk_at(&self, offset: u64) -> Option<(u64, usize)> {
        let mut start = MAGIC.len() as u64;
        let mut group = 0;
        if self.measured.is_empty() {
            group = (offset.checked_sub(start)? / self.full.stored.max(1)).min(self.rows / self.group_size);
            start += group * self.full.stored;
        }
        while group < self.groups() && start + self.group_stored(group) <= offset {
            start += self.group_stored(group);
            group += 1;
        }
        for (column, chunk) in self.chunks(group).iter().enumerate() {
            if start == offset && group < self.groups() {
                return Some((group, column));
            }
            start += chunk.stored;
        }
        None
    }

    pub(super) fn refuse(&self, shape: &FileShape, reason: &str) -> Error {
        Error::Shape { dims: shape.dims.to_vec(), samples: self.rows, reason: reason.to_owned() }
    }

    pub(super) fn groups(&self) -> u64 {
        self.rows.div_ceil(self.group_size)
    }

    pub(super) fn group(&self, group: u64) -> &RowGroup {
        if (group + 1).saturating_mul(self.group_size) <= self.rows { &self.full } else { &self.last }
    }

    pub(super) fn chunks(&self, group: u64) -> &[ColumnChunk] {
        let from = group as usize * self.columns.len();
        self.measured.get(from..from + self.columns.len()).unwrap_or(&self.group(group).chunks)
    }

    pub(super) fn group_stored(&self, group: u64) -> u64 {
        if self.measured.is_empty() {
            return self.group(group).stored;
        }
        self.chunks(group).iter().map(|chunk| chunk.stored).sum()
    }

    /// Returns the payload of a chunk for a range of rows of the row group.
    fn payload(&self, group: u64, column: usize, rows: std::ops::Range<u64>) -> Stream {
        let (values, per_row) = (self.columns[column].values, self.columns[column].per_row());
        // These products are parts of those that were checked for the whole file.
        let bytes = |row: u64| values.payload(row * per_row).unwrap_or(0);
        let start = group * self.stride + self.starts[column];
        self.payload.range(start + bytes(rows.start), start + bytes(rows.end))
    }

    /// Measures every compressed chunk.
    fn measure(&mut self) {
        let mut measured = Vec::with_capacity(self.groups() as usize * self.columns.len());
        for group in 0..self.groups() {
            for (index, column) in self.columns.iter().enumerate() {
                let rows = self.group(group).rows;
                let encoding = PageEncoding::of(column, rows);
                let mut chunk = self.group(group).chunks[index];
                chunk.dictionary = self.dictionary(column, encoding).map_or(0, |(page, _)| page.len() as u64);
                chunk.stored = chunk.dictionary;
                let step = page::rows_per_page(column, encoding);
                let mut row = 0;
                while row < rows {
                    let end = rows.min(row + step);
                    chunk.stored += self.compressed_page(group, index, row..end).len() as u64;
                    row = end;
                }
                measured.push(chunk);
            }
        }
        self.measured = measured;
    }

    pub(super) fn dictionary(&self, column: &Column, encoding: PageEncoding) -> Option<(Vec<u8>, u64)> {
        match (encoding, column.values) {
            (PageEncoding::Dictionary, Values::Widened { signed, .. }) => {
                Some(page::dictionary(signed, |plain| self.codec.compress(plain)))
            }
            _ => None,
        }
    }

    /// Returns the parts of one data page, without compression.
    pub(super) fn page(&self, group: u64, index: usize, rows: std::ops::Range<u64>) -> [Part; 3] {
        let column = &self.columns[index];
        let encoding = PageEncoding::of(column, self.group(group).rows);
        let payload = self.payload(group, index, rows.clone());
        // The same frame was created when the file was planned.
        let Some(frame) = PageFrame::new(column, encoding, rows.end - rows.start) else {
            return [Part::zeros(0), Part::zeros(0), Part::zeros(0)];
        };
        let values = match (encoding, column.values) {
            (PageEncoding::Dictionary, _) | (_, Values::Raw(_) | Values::Bits) => Part::payload(payload),
            (PageEncoding::Plain, values) => Part::Values(Box::new(PlainValues::new(values, payload, frame.body))),
        };
        let mut head = Vec::new();
        if self.codec == Codec::None {
            head = page::data_header(&frame, encoding, frame.len());
        }
        head.extend_from_slice(&frame.head);
        [Part::bytes(head), values, Part::zeros(frame.pad)]
    }

    /// Returns one compressed data page with its header.
    pub(super) fn compressed_page(&self, group: u64, index: usize, rows: std::ops::Range<u64>) -> Vec<u8> {
        let column = &self.columns[index];
        let encoding = PageEncoding::of(column, self.group(group).rows);
        let Some(frame) = PageFrame::new(column, encoding, rows.end - rows.start) else { return Vec::new() };
        let mut parts = self.page(group, index, rows);
        let mut plain = vec![0; parts.iter().map(Part::remaining).sum::<u64>() as usize];
        let mut rest = &mut plain[..];
        for part in &mut parts {
            while part.remaining() > 0 {
                let count = part.fill(rest);
                rest = &mut rest[count..];
            }
        }
        let body = self.codec.compress(plain);
        let mut page = page::data_header(&frame, encoding, body.len() as u64);
        page.extend(body);
        page
    }

    /// Returns the part of the footer before the row groups.
    pub(super) fn footer_head(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut w = Writer::new(&mut out);
        w.i32(1, 2);
        let elements = 1 + self.columns.iter().map(Column::elements).sum::<u64>();
        let list = w.list(2, thrift::STRUCT, elements);
        thrift::structure(list, |w| {
            w.i32(3, 0);
            w.text(4, "schema");
            w.i32(5, i32::try_from(self.columns.len()).unwrap_or(i32::MAX));
        });
        for column in &self.columns {
            column.write(list);
        }
        w.i64(3, self.rows);
        w.list(4, thrift::STRUCT, self.groups());
        out
    }

    /// Returns the metadata of the row group whose first byte is at `offset`.
    pub(super) fn group_meta(&self, group: u64, offset: u64) -> Vec<u8> {
        let mut out = Vec::new();
        let rows = self.group(group).rows;
        let chunks = self.chunks(group);
        thrift::structure(&mut out, |w| {
            let list = w.list(1, thrift::STRUCT, chunks.len() as u64);
            let mut start = offset;
            for (column, chunk) in self.columns.iter().zip(chunks) {
                self.chunk_meta(list, (column, chunk), start, rows);
                start += chunk.stored;
            }
            w.i64(2, chunks.iter().map(|chunk| chunk.plain).sum());
            w.i64(3, rows);
            w.i64(5, offset);
            w.i64(6, chunks.iter().map(|chunk| chunk.stored).sum());
            if let Ok(ordinal) = i16::try_from(group) {
                w.i16(7, ordinal);
            }
        });
        out
    }

    fn chunk_meta(&self, out: &mut Vec<u8>, (column, chunk): (&Column, &ColumnChunk), start: u64, rows: u64) {
        let encoding = PageEncoding::of(column, rows);
        thrift::structure(out, |w| {
            w.i64(2, 0);
            w.inner(3, |w| {
                w.i32(1, column.physical());
                let encodings: &[i32] = match encoding {
                    PageEncoding::Plain => &[page::PLAIN, page::RLE],
                    PageEncoding::Dictionary => &[page::PLAIN, page::RLE, page::RLE_DICTIONARY],
                };
                let list = w.list(2, thrift::I32, encodings.len() as u64);
                for &encoding in encodings {
                    thrift::varint(list, thrift::zigzag(encoding.into()));
                }
                let path = column.path();
                let list = w.list(3, thrift::BINARY, path.len() as u64);
                for name in path {
                    thrift::text(list, name);
                }
                w.i32(4, self.codec.number());
                w.i64(5, rows * column.per_row());
                w.i64(6, chunk.plain);
                w.i64(7, chunk.stored);
                w.i64(9, start + chunk.dictionary);
                // The field is also written without a dictionary page, with the offset of the first data page: the
                // MLPerf fork compares it with a number without checking that it is set. Readers take the smaller of
                // both offsets.
                w.i64(11, start);
            });
        });
    }

    /// Returns the part of the footer after the row groups.
    pub(super) fn footer_tail(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut w = Writer::after(&mut out, 4);
        let list = w.list(5, thrift::STRUCT, 1);
        thrift::structure(list, |w| {
            w.text(1, "ARROW:schema");
            w.text(2, &self.arrow);
        });
        w.text(6, concat!("dlio-rs version ", env!("CARGO_PKG_VERSION")));
        out.push(0);
        out
    }
}

impl RowGroup {
    /// Creates the layout of `rows` rows, or returns `None` if a page would be too long.
    fn new(columns: &[Column], rows: u64) -> Option<Self> {
        let mut chunks = Vec::new();
        for column in columns {
            let encoding = PageEncoding::of(column, rows);
            let step = page::rows_per_page(column, encoding);
            let mut chunk = ColumnChunk::default();
            if let (PageEncoding::Dictionary, Values::Widened { signed, .. }) = (encoding, column.values) {
                (chunk.dictionary, chunk.plain) = {
                    let (page, plain) = page::dictionary(signed, |plain| plain);
                    (page.len() as u64, plain)
                };
            }
            let page = |rows| {
                let frame = PageFrame::new(column, encoding, rows)?;
                Some(page::data_header(&frame, encoding, frame.len()).len() as u64 + frame.len())
            };
            if rows / step > 0 {
                chunk.plain = page(step)?.checked_mul(rows / step)?.checked_add(chunk.plain)?;
            }
            if !rows.is_multiple_of(step) {
                chunk.plain = page(rows % step)?.checked_add(chunk.plain)?;
            }
            chunk.stored = chunk.plain;
            chunks.push(chunk);
        }
        let stored = chunks.iter().try_fold(0_u64, |sum, chunk| sum.checked_add(chunk.stored));
        Some(Self { rows, stored: stored.filter(|&stored| stored < 1 << 62)?, chunks })
    }
}
