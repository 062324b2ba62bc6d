//! The text of a CSV file.

use dlio_config::vocabulary::DType;

use super::number;
use crate::buffer::Batch;
use crate::payload::Stream;

/// Number of values generated at a time.
const BATCH: u64 = 1024;
/// An encoder of the text of a file.
#[derive(Debug, Clone)]
pub(crate) struct CsvText {
    dtype: DType,
    payload: Stream,
    /// Bytes of payload in a row.
    row: u64,
    repeated: bool,
    rows: u64,
    /// Offset in the row's payload of the next value.
    column: u64,
    out: Batch,
    left: u64,
}

impl CsvText {
    /// Creates the text of `rows` rows. `payload` is that of the whole file; if `repeated` is true, the first row's
    /// payload is used for all rows.
    pub(super) fn new(dtype: DType, payload: Stream, rows: u64, repeated: bool) -> Self {
        let row = payload.remaining() / rows.max(1);
        let text = Self { dtype, payload, row, repeated, rows, column: 0, out: Batch::default(), left: 0 };
        let left = text.measure();
        Self { left, ..text }
    }

    /// Returns the length of the whole text in bytes.
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

    /// Writes the next bytes. `buffer` must not be longer than what remains.
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
