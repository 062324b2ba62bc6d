//! CSV as pandas writes it: one row per sample, no header, no index; `,` between values and a newline behind each row.
//!
//! In dialect `dlio` all rows of a file are equal, as in the reference. The length of the text depends on the values, so an
//! encoder makes it twice, once to measure (a row of integers is measured without being written); it holds a thousand
//! values. The compressions of pandas stream through `squeeze`; the file name does not show them.

mod number;
mod read;
mod unpack;

use dlio_config::vocabulary::{DType, Dialect, Format};
use dlio_config::workload::Dataset;

use crate::encode::{Batch, Piece};
use crate::npz::Member;
use crate::payload::Stream;
use crate::squeeze::{self, Method};
use crate::{Encoder, Error, FileShape, Layout, npz};

pub(crate) use read::Reader;

/// Values made at a time.
const BATCH: u64 = 1024;
/// The member of a zip archive; readers take the only one that there is.
const MEMBER: &str = "records.csv";

/// How the text is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Packing {
    #[default]
    None,
    Gzip,
    Zip,
    Zstd,
    Bzip2,
    Xz,
}

impl Packing {
    pub(crate) fn new(dataset: &Dataset) -> Result<Self, Error> {
        match dataset.compression.as_deref() {
            _ if dataset.format != Format::Csv => Ok(Self::None),
            None | Some("none") => Ok(Self::None),
            Some("gzip") => Ok(Self::Gzip),
            Some("zip") => Ok(Self::Zip),
            Some("zstd") => Ok(Self::Zstd),
            Some("bz2") => Ok(Self::Bzip2),
            Some("xz") => Ok(Self::Xz),
            Some(word) => Err(Error::Option {
                option: format!("dataset.compression: {word}"),
                reason: "CSV files are not written or read so, also not by the reference; use gzip, zip, zstd, bz2, xz or none"
                    .to_owned(),
            }),
        }
    }
}

pub(crate) fn encoder(layout: &Layout, shape: &FileShape) -> Result<Encoder, Error> {
    let text = Text::new(layout, shape)?;
    let plain = Encoder::pieces([Piece::Text(Box::new(text))]);
    Ok(match layout.packing {
        Packing::None => plain,
        Packing::Gzip => {
            let packed = squeeze::squeeze(&plain, Method::Deflate);
            // Deflate, no name, no time, unknown system; behind the data checksum and length.
            let head = b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec();
            let tail = [packed.crc.to_le_bytes(), (plain.len() as u32).to_le_bytes()].concat();
            Encoder::pieces([Piece::bytes(head), packed.piece, Piece::bytes(tail)])
        }
        Packing::Zstd => Encoder::pieces([squeeze::squeeze(&plain, Method::Zstd).piece]),
        Packing::Bzip2 => Encoder::pieces([squeeze::squeeze(&plain, Method::Bzip2).piece]),
        Packing::Xz => Encoder::pieces([squeeze::squeeze(&plain, Method::Xz).piece]),
        Packing::Zip => {
            let packed = squeeze::squeeze(&plain, Method::Deflate);
            let member = Member::deflated(MEMBER, packed.crc, plain.len(), packed.bytes);
            let local = member.local();
            let end = local.len() as u64 + packed.bytes;
            Encoder::pieces([Piece::bytes(local), packed.piece, Piece::bytes(npz::directory(&[member], end))])
        }
    })
}

/// The text of a file.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    dtype: DType,
    payload: Stream,
    /// Bytes of payload in a row, and whether every row is made of the same.
    row: u64,
    repeated: bool,
    rows: u64,
    /// Where in its row the next value is.
    column: u64,
    out: Batch,
    left: u64,
}

impl Text {
    fn new(layout: &Layout, shape: &FileShape) -> Result<Self, Error> {
        let all = layout.data_bytes(shape)?;
        let repeated = layout.dialect == Dialect::Dlio;
        let row = all / shape.samples.max(1);
        let payload = layout.payload.stream(shape.file, layout.element, all);
        let text = Self {
            dtype: layout.dtype,
            payload,
            row,
            repeated,
            rows: shape.samples,
            column: 0,
            out: Batch::default(),
            left: 0,
        };
        let left = text.measure();
        Ok(Self { left, ..text })
    }

    /// Bytes of the whole text.
    fn measure(&self) -> u64 {
        let rows = if self.repeated { self.rows.min(1) } else { self.rows };
        let mut payload = self.payload.range(0, self.row * rows);
        let mut values = vec![0; (BATCH * self.dtype.itemsize()) as usize];
        let mut scratch = Vec::new();
        let mut bytes = 0;
        loop {
            match payload.fill(&mut values) {
                0 => break,
                count => bytes += number::length(self.dtype, &values[..count], &mut scratch),
            }
        }
        if self.repeated { bytes * self.rows } else { bytes }
    }

    pub(crate) fn remaining(&self) -> u64 {
        self.left
    }

    /// Writes the next bytes; the buffer is no longer than what remains.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) {
        self.left -= buffer.len() as u64;
        let mut out = std::mem::take(&mut self.out);
        out.fill(buffer, |out| self.next_batch(out));
        self.out = out;
    }

    fn next_batch(&mut self, out: &mut Vec<u8>) {
        let mut values = [0; BATCH as usize * 8];
        let bytes = (BATCH * self.dtype.itemsize()).min(self.row - self.column) as usize;
        self.payload.fill(&mut values[..bytes]);
        number::append(self.dtype, &values[..bytes], out);
        self.column += bytes as u64;
        if self.column == self.row {
            self.column = 0;
            if let Some(separator) = out.last_mut() {
                *separator = b'\n';
            }
            if self.repeated {
                self.payload = self.payload.range(0, self.row);
            }
        }
    }
}
