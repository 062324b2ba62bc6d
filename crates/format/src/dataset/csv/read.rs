//! A reader of CSV files, which counts rows and their values. At check level `Full` it also parses every value.

use dlio_config::vocabulary::DType;

use super::super::progress::Progress;
use super::compression::Compression;
use super::decompress::Decompressor;
use crate::check_level::CheckLevel;
use crate::error::Error;
use crate::error::excerpt;
use crate::layout::Layout;
use crate::mismatch::Mismatch;
use crate::need::Need;
use crate::shape::FileShape;

/// Maximum number of characters in a number.
const VALUE_MAX: usize = 64;

/// A reader of CSV files, which reads the whole file once per open file.
#[derive(Debug)]
pub(crate) struct Reader {
    decompressor: Option<Decompressor>,
    rows: RowChecker,
    progress: Progress,
}

impl Reader {
    pub(crate) fn new(layout: &Layout, compression: Compression, shape: &FileShape, check_level: CheckLevel) -> Self {
        let parse = check_level == CheckLevel::Full;
        let decompressor = (compression != Compression::None).then(|| Decompressor::new(compression));
        let rows = RowChecker::new(layout, shape, parse);
        let mismatch = layout.mismatch(shape, check_level);
        Self { decompressor, rows: RowChecker { mismatch, ..rows }, progress: Progress::Idle }
    }

    /// Accepts any size but 0, because the rows determine the length.
    pub(crate) fn size(bytes: u64) -> Result<(), Error> {
        if bytes == 0 {
            return Err(Error::Truncated { noun: "CSV file", expected: 1, found: bytes });
        }
        Ok(())
    }

    pub(crate) fn sample(&mut self) {
        self.progress.ask();
    }

    pub(crate) fn need(&self) -> Need {
        self.progress.need()
    }

    pub(crate) fn chunk(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let rows = &mut self.rows;
        match &mut self.decompressor {
            Some(decompressor) => decompressor.take(bytes, &mut |text| rows.take(text)),
            None => rows.take(bytes),
        }
    }

    pub(crate) fn end(&mut self) -> Result<(), Error> {
        if let Some(decompressor) = &self.decompressor {
            decompressor.end()?;
        }
        self.rows.end()?;
        self.progress = Progress::Done;
        Ok(())
    }
}

/// Checks the rows of a text.
#[derive(Debug)]
struct RowChecker {
    /// Accepts any text: values, columns and rows are only counted.
    as_found: bool,
    mismatch: Mismatch,
    dtype: DType,
    columns: u64,
    wanted: u64,
    /// Number of complete rows.
    passed: u64,
    separators: u64,
    row_bytes: u64,
    /// Offset in the text.
    position: u64,
    /// Value that is not yet complete, if values are parsed.
    value: Option<Vec<u8>>,
}

impl RowChecker {
    fn new(layout: &Layout, shape: &FileShape, parse: bool) -> Self {
        Self {
            as_found: layout.as_found,
            mismatch: Mismatch::default(),
            dtype: layout.dtype,
            columns: shape.dims.iter().fold(1, |values, &dim| values.saturating_mul(dim)),
            wanted: shape.samples,
            passed: 0,
            separators: 0,
            row_bytes: 0,
            position: 0,
            value: parse.then(Vec::new),
        }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        if !self.as_found {
            self.check_characters(bytes)?;
        }
        while !bytes.is_empty() {
            let end = memchr::memchr(b'\n', bytes);
            let part = &bytes[..end.unwrap_or(bytes.len())];
            if self.passed == self.wanted && !self.as_found {
                let found = self.position + bytes.len() as u64;
                self.mismatch.refuse_or_note(Error::Trailing {
                    noun: "the last row of the CSV file",
                    expected: self.position,
                    found,
                })?;
            }
            self.part(part)?;
            if end.is_some() {
                self.end_row()?;
            }
            bytes = &bytes[part.len() + usize::from(end.is_some())..];
        }
        Ok(())
    }

    /// Takes a part of a row.
    fn part(&mut self, part: &[u8]) -> Result<(), Error> {
        if self.value.is_some() {
            for (index, field) in part.split(|&byte| byte == b',').enumerate() {
                if index > 0 {
                    self.end_value()?;
                    self.separators += 1;
                    self.position += 1;
                }
                self.gather(field)?;
                self.position += field.len() as u64;
            }
        } else {
            self.separators += memchr::memchr_iter(b',', part).count() as u64;
            self.position += part.len() as u64;
        }
        self.row_bytes += part.len() as u64;
        Ok(())
    }

    fn end_row(&mut self) -> Result<(), Error> {
        if self.value.is_some() {
            self.end_value()?;
        }
        let found = self.separators + 1;
        let short = self.row_bytes < found * 2 - 1;
        if !self.as_found && (found != self.columns || short) {
            let row = self.passed;
            let error = Error::Differs {
                noun: "number of values in a row of the CSV file",
                expected: self.columns.to_string(),
                found: format!("{} in row {row}", if short { "fewer".to_owned() } else { found.to_string() }),
            };
            // The first row determines the number of values in the others.
            if short || row > 0 {
                return Err(error);
            }
            self.mismatch.refuse_or_note(error)?;
            self.columns = found;
        }
        self.passed += 1;
        self.position += 1;
        (self.separators, self.row_bytes) = (0, 0);
        Ok(())
    }

    fn gather(&mut self, field: &[u8]) -> Result<(), Error> {
        let Some(value) = &mut self.value else { return Ok(()) };
        let room = VALUE_MAX - value.len();
        value.extend_from_slice(&field[..field.len().min(room)]);
        if field.len() > room && !self.as_found { Err(self.not_a_value()) } else { Ok(()) }
    }

    fn end_value(&mut self) -> Result<(), Error> {
        let Some(value) = &mut self.value else { return Ok(()) };
        // Values of other programs are parsed whatever the result.
        if !is_value(self.dtype, value.strip_suffix(b"\r").unwrap_or(value)) && !self.as_found {
            return Err(self.not_a_value());
        }
        value.clear();
        Ok(())
    }

    #[cold]
    fn not_a_value(&self) -> Error {
        let value = self.value.as_deref().unwrap_or_default();
        Error::Malformed {
            noun: "value of the CSV file",
            offset: self.position - (value.len() as u64).min(self.position),
            expected: format!("a number of type {}", self.dtype),
            found: excerpt(value),
        }
    }

    /// Refuses characters that do not occur in numbers.
    fn check_characters(&self, bytes: &[u8]) -> Result<(), Error> {
        // `True`, `False`, `nan`, `inf` and exponents.
        let words: &[u8] = match self.dtype {
            DType::Bool => b"TrueFals",
            DType::Float16 | DType::Float32 | DType::Float64 => b".eEnaif",
            _ => b"",
        };
        let plain = |byte: u8| {
            byte.wrapping_sub(b'0') < 10
                || byte == b','
                || byte == b'\n'
                || byte == b'-'
                || byte == b'+'
                || byte == b'\r'
        };
        let good = if words.is_empty() {
            bytes.iter().fold(true, |good, &byte| good & plain(byte))
        } else {
            bytes.iter().all(|&byte| plain(byte) || words.contains(&byte))
        };
        if good {
            return Ok(());
        }
        let at = bytes.iter().position(|&byte| !plain(byte) && !words.contains(&byte)).unwrap_or(0);
        Err(Error::Malformed {
            noun: "CSV file",
            offset: self.position + at as u64,
            expected: format!("numbers of type {}, commas and newlines", self.dtype),
            found: excerpt(&bytes[at..]),
        })
    }

    fn end(&self) -> Result<(), Error> {
        if self.as_found {
            return Ok(());
        }
        if self.row_bytes > 0 || self.passed < self.wanted && self.position == 0 {
            let expected = self.position + (self.columns.saturating_sub(self.separators + 1)).saturating_mul(2) + 1;
            return Err(Error::Truncated {
                noun: "row of the CSV file, up to its newline,",
                expected,
                found: self.position,
            });
        }
        if self.passed < self.wanted {
            return Err(Error::Differs {
                noun: "number of rows (samples) of the CSV file",
                expected: self.wanted.to_string(),
                found: self.passed.to_string(),
            });
        }
        Ok(())
    }
}

/// Returns whether a field is a number that fits the type.
fn is_value(dtype: DType, field: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(field) else { return false };
    match dtype {
        DType::Uint8 => text.parse::<u8>().is_ok(),
        DType::Uint16 => text.parse::<u16>().is_ok(),
        DType::Uint32 => text.parse::<u32>().is_ok(),
        DType::Uint64 => text.parse::<u64>().is_ok(),
        DType::Int8 => text.parse::<i8>().is_ok(),
        DType::Int16 => text.parse::<i16>().is_ok(),
        DType::Int32 => text.parse::<i32>().is_ok(),
        DType::Int64 => text.parse::<i64>().is_ok(),
        DType::Float32 => text.parse::<f32>().is_ok(),
        DType::Float64 | DType::Float16 | DType::Bfloat16 => text.parse::<f64>().is_ok(),
        DType::Bool => matches!(text, "True" | "False"),
    }
}
