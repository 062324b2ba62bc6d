//! The decoder type of the crate: it asks for byte ranges, checks the structure of what it is given, and keeps the
//! state of one open file.
//!
//! Each format's reader receives its [`CheckLevel`] when it is created. A reader that takes its file from front to
//! back needs no code for the comparison with the generated payload: [`Decoder`] holds that check and passes it every
//! chunk after the reader has accepted the chunk. Other readers (ranges of samples, compressed content) compare the
//! content themselves.

use std::sync::Arc;

use crate::check::Check;
use crate::check_level::CheckLevel;
use crate::dataset::whole_file::WholeFileReader;
use crate::dataset::{csv, hdf5, indexed, jpeg, npy, npz, parquet, png, tfrecord};
use crate::error::Error;
use crate::layout::{Layout, Options};
use crate::need::Need;
use crate::shape::FileShape;
use indexed::SampleIndex;
use parquet::Footer;

/// Reads one open file, sample by sample.
///
/// A caller selects a sample with [`sample`](Self::sample). While [`need`](Self::need) asks for bytes, the caller
/// reads that range, passes its bytes to [`chunk`](Self::chunk) in order and in pieces of any size, and then calls
/// [`end`](Self::end).
#[derive(Debug)]
pub struct Decoder {
    samples: u64,
    reader: Reader,
    /// Comparison of the whole file, for files that are read from front to back.
    check: Option<Box<Check>>,
}

/// The readers of the formats.
#[derive(Debug)]
enum Reader {
    Npy(Box<npy::Reader>),
    Npz(Box<npz::ArchiveReader>),
    NpzMembers(Box<npz::NumpyOrderReader>),
    Hdf5(Box<hdf5::Reader>),
    TfRecord(Box<tfrecord::Reader>),
    Indexed(Box<indexed::Reader>),
    Csv(Box<csv::Reader>),
    Png(Box<png::Reader>),
    Jpeg(Box<jpeg::Reader>),
    WholeFile(WholeFileReader),
    Parquet(Box<parquet::Reader>),
    /// Nothing is read.
    Synthetic,
}

/// Calls the same method of whichever reader is in use; `$synthetic` is the result where nothing is read.
macro_rules! dispatch {
    ($reader:expr, $synthetic:expr, $inner:ident => $call:expr) => {
        match $reader {
            Reader::Npy($inner) => $call,
            Reader::Npz($inner) => $call,
            Reader::NpzMembers($inner) => $call,
            Reader::Hdf5($inner) => $call,
            Reader::TfRecord($inner) => $call,
            Reader::Indexed($inner) => $call,
            Reader::Csv($inner) => $call,
            Reader::Png($inner) => $call,
            Reader::Jpeg($inner) => $call,
            Reader::WholeFile($inner) => $call,
            Reader::Parquet($inner) => $call,
            Reader::Synthetic => $synthetic,
        }
    };
}

impl Reader {
    fn new(layout: &Layout, shape: &FileShape, check_level: CheckLevel) -> Self {
        if layout.reads_whole && check_level == CheckLevel::Structure {
            return Self::WholeFile(WholeFileReader::new(layout.format()));
        }
        match &layout.options {
            Options::Npz { .. } => {
                let archive = npz::ArchiveReader::new(layout, shape, check_level);
                if layout.numpy_reads {
                    Self::NpzMembers(Box::new(npz::NumpyOrderReader::new(archive)))
                } else {
                    Self::Npz(Box::new(archive))
                }
            }
            Options::Npy => Self::Npy(Box::new(npy::Reader::new(layout, shape, check_level))),
            Options::Hdf5(options) => Self::Hdf5(Box::new(hdf5::Reader::new(layout, options, shape, check_level))),
            Options::TfRecord => Self::TfRecord(Box::new(tfrecord::Reader::of(layout, shape, check_level))),
            Options::Indexed(access) => {
                Self::Indexed(Box::new(indexed::Reader::new(layout, *access, shape, check_level)))
            }
            Options::Csv(compression) => {
                Self::Csv(Box::new(csv::Reader::new(layout, *compression, shape, check_level)))
            }
            Options::Png => Self::Png(Box::new(png::Reader::new(layout, shape, check_level))),
            Options::Jpeg => Self::Jpeg(Box::new(jpeg::Reader::new(layout, shape, check_level))),
            Options::Synthetic => Self::Synthetic,
            Options::Parquet(options) => {
                Self::Parquet(Box::new(parquet::Reader::new(layout, options, shape, check_level)))
            }
        }
    }
}

impl Decoder {
    /// Creates a decoder. `check` compares the whole file, for formats that are read from front to back.
    pub(crate) fn new(layout: &Layout, shape: &FileShape, check_level: CheckLevel, check: Option<Check>) -> Self {
        let reader = Reader::new(layout, shape, check_level);
        Self { samples: shape.samples, reader, check: check.map(Box::new) }
    }

    /// Sets the size of the file in bytes, for storage that knows it without a read.
    ///
    /// # Errors
    /// Returns an error if no file of this layout can have this size.
    pub fn size(&mut self, bytes: u64) -> Result<(), Error> {
        match &mut self.reader {
            Reader::Csv(_) => csv::Reader::size(bytes),
            Reader::WholeFile(reader) => {
                reader.size(bytes);
                Ok(())
            }
            Reader::Synthetic => Ok(()),
            Reader::Npy(reader) => reader.size(bytes),
            Reader::Npz(archive) => archive.size(bytes),
            Reader::NpzMembers(members) => members.size(bytes),
            Reader::Hdf5(reader) => reader.size(bytes),
            Reader::TfRecord(reader) => reader.size(bytes),
            Reader::Indexed(reader) => reader.size(bytes),
            Reader::Png(reader) => reader.size(bytes),
            Reader::Jpeg(reader) => reader.size(bytes),
            Reader::Parquet(reader) => reader.size(bytes),
        }
    }

    /// Returns the footer of a Parquet file once it has been read. [`Self::set_footer`] takes it when the file is
    /// opened again.
    #[must_use]
    pub fn footer(&self) -> Option<Arc<Footer>> {
        match &self.reader {
            Reader::Parquet(reader) => reader.footer().cloned(),
            _ => None,
        }
    }

    /// Selects the footer of a Parquet file instead of a sample: [`need`](Self::need) asks for bytes until the footer
    /// is complete.
    pub fn aim_at_footer(&mut self) {
        if let Reader::Parquet(reader) = &mut self.reader {
            reader.aim_at_footer();
        }
    }

    /// Reuses the footer that was read when the same Parquet file was open before.
    pub fn set_footer(&mut self, footer: Arc<Footer>) {
        if let Reader::Parquet(reader) = &mut self.reader {
            reader.set_footer(footer);
        }
    }

    /// Sets the sample index, for formats with an index of offsets. Without an index, samples are assumed to be
    /// contiguous and equal in size.
    ///
    /// # Errors
    /// Returns an error if the size of the file, set before, contradicts the index.
    pub fn locate(&mut self, index: Arc<SampleIndex>) -> Result<(), Error> {
        match &mut self.reader {
            Reader::Indexed(reader) => reader.locate(index),
            _ => Ok(()),
        }
    }

    /// Returns whether the size of the file differs from the workload's and only the index can explain it.
    /// [`Self::locate`] resolves this.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        matches!(&self.reader, Reader::Indexed(reader) if reader.is_in_doubt())
    }

    /// Selects a sample of the file. Parsed headers, a file that was read whole, and the position in a stream are
    /// kept.
    ///
    /// # Errors
    /// Returns an error if the file has no such sample.
    pub fn sample(&mut self, sample: u64) -> Result<(), Error> {
        if sample >= self.samples {
            return Err(Error::Sample { sample, samples: self.samples });
        }
        match &mut self.reader {
            Reader::Npy(reader) => reader.sample(),
            Reader::Npz(archive) => archive.sample(),
            Reader::NpzMembers(members) => members.sample(),
            Reader::Hdf5(reader) => reader.sample(sample)?,
            Reader::TfRecord(reader) => {
                if reader.sample(sample)
                    && let Some(check) = &mut self.check
                {
                    check.restart();
                }
            }
            Reader::Indexed(reader) => reader.sample(sample)?,
            Reader::Csv(reader) => reader.sample(),
            Reader::Png(reader) => reader.sample(),
            Reader::Jpeg(reader) => reader.sample(),
            Reader::WholeFile(_) | Reader::Synthetic => {}
            Reader::Parquet(reader) => reader.sample(sample)?,
        }
        Ok(())
    }

    /// Returns what must be read next for the selected sample.
    #[must_use]
    pub fn need(&self) -> Need {
        dispatch!(&self.reader, Need::Done, reader => reader.need())
    }

    /// Takes the next bytes of the requested range.
    ///
    /// # Errors
    /// Returns an error if the bytes violate the format or differ from the workload.
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let front = match &self.reader {
            Reader::NpzMembers(members) => members.is_front(),
            Reader::Npy(reader) => reader.is_front(),
            _ => true,
        };
        dispatch!(&mut self.reader, Ok(()), reader => reader.chunk(bytes))?;
        match &mut self.check {
            Some(check) if front => check.take(bytes),
            _ => Ok(()),
        }
    }

    /// Completes the requested range, which may be shorter than requested if the file has ended.
    ///
    /// # Errors
    /// Returns an error if the file is truncated or its structure is inconsistent.
    pub fn end(&mut self) -> Result<(), Error> {
        dispatch!(&mut self.reader, Ok(()), reader => reader.end())
    }
}
