//! Files that are read whole without being parsed.
//!
//! The readers of the MLPerf fork do this, and the files that its generators write as images are not images. So only
//! checks that cost nothing are made: the file has as many bytes as the storage reported, at least one, and a format
//! with a fixed beginning starts with it. Stricter checks need `decode: verify`.

use dlio_config::vocabulary::Format;

use super::npy;
use crate::error::Error;
use crate::need::Need;

/// The reader of a file that is read whole.
#[derive(Debug)]
pub(crate) struct WholeFileReader {
    beginning: &'static [u8],
    size: Option<u64>,
    seen: u64,
    read: bool,
}

impl WholeFileReader {
    pub(crate) fn new(format: Format) -> Self {
        let beginning: &[u8] = match format {
            Format::Npy => npy::MAGIC,
            Format::Npz => b"PK\x03\x04",
            Format::Hdf5 => b"\x89HDF\r\n\x1a\n",
            _ => b"",
        };
        Self { beginning, size: None, seen: 0, read: false }
    }

    pub(crate) fn size(&mut self, bytes: u64) {
        self.size = Some(bytes);
    }

    pub(crate) fn need(&self) -> Need {
        if self.read { Need::Done } else { Need::Bytes { offset: 0, len: None } }
    }

    pub(crate) fn chunk(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let begun = usize::try_from(self.seen).unwrap_or(usize::MAX);
        let expected = self.beginning.get(begun..).unwrap_or_default();
        let compared = expected.len().min(bytes.len());
        if expected[..compared] != bytes[..compared] {
            return Err(Error::Malformed {
                noun: "beginning of the file",
                offset: self.seen,
                expected: self.beginning.escape_ascii().to_string(),
                found: bytes[..compared].escape_ascii().to_string(),
            });
        }
        self.seen += bytes.len() as u64;
        Ok(())
    }

    pub(crate) fn end(&mut self) -> Result<(), Error> {
        let expected = self.size.unwrap_or(0).max(self.beginning.len() as u64).max(1);
        if self.seen < expected {
            return Err(Error::Truncated { noun: "the file", expected, found: self.seen });
        }
        self.read = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: Format, chunks: &[&[u8]], size: Option<u64>) -> Result<WholeFileReader, Error> {
        let mut reader = WholeFileReader::new(format);
        if let Some(size) = size {
            reader.size(size);
        }
        assert_eq!(reader.need(), Need::Bytes { offset: 0, len: None });
        for chunk in chunks {
            reader.chunk(chunk)?;
        }
        reader.end()?;
        Ok(reader)
    }

    #[test]
    fn a_file_is_read_from_end_to_end_once_in_pieces_of_any_size() {
        let reader = read(Format::Npz, &[b"P", b"K\x03", b"\x04anything at all"], Some(19)).expect("a file");
        assert_eq!(reader.need(), Need::Done);
        // Content that the fork writes to a JPEG file.
        read(Format::Jpeg, &[b"random bytes"], None).expect("a file");
    }

    #[test]
    fn an_empty_file_a_short_file_and_a_file_of_another_format_are_refused() {
        let told = |format, chunks: &[&[u8]], size| read(format, chunks, size).expect_err("a fault").to_string();
        assert_eq!(told(Format::Png, &[], None), "truncated: the file needs 1 bytes, but the file ends after 0");
        assert_eq!(
            told(Format::Png, &[b"12"], Some(3)),
            "truncated: the file needs 3 bytes, but the file ends after 2"
        );
        assert_eq!(
            told(Format::Npy, &[b"\x93N", b"ampy"], None),
            r"beginning of the file at offset 2: expected \x93NUMPY, found ampy"
        );
    }
}
