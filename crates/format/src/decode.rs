//! The one decoder type: asks for byte ranges, checks structure in passing, keeps the state of one open file.
//!
//! A format's decoder gets its [`Scrutiny`] when it is made. One that reads its file from front to back need not know of a
//! comparison with the payload: the check over the whole file is kept here and sees every chunk after the format did. Others (ranges of samples, compressed content) compare by themselves.

use std::sync::Arc;

use crate::check::Check;
use crate::dataset::opaque::Opaque;
use crate::dataset::{csv, hdf5, indexed, jpeg, npy, npz, parquet, png, tfrecord};
use crate::error::Error;
use crate::layout::{Layout, Options};
use crate::need::Need;
use crate::scrutiny::Scrutiny;
use crate::shape::FileShape;
use indexed::SampleIndex;
use parquet::Footer;

/// Reads one open file, sample by sample.
///
/// The loop of a reader is: [`sample`](Self::sample), then, while [`need`](Self::need) asks for bytes, read the range,
/// hand its bytes to [`chunk`](Self::chunk) in order and in pieces of any size, and call [`end`](Self::end).
#[derive(Debug)]
pub struct Decoder {
    samples: u64,
    reader: Reader,
    /// Of a file that is read from front to back.
    check: Option<Box<Check>>,
}

/// The reader of each format.
#[derive(Debug)]
enum Reader {
    Npy(Box<npy::Reader>),
    Npz(Box<npz::Archive>),
    NpzMembers(Box<npz::Members>),
    Hdf5(Box<hdf5::Reader>),
    TfRecord(Box<tfrecord::Reader>),
    Indexed(Box<indexed::Reader>),
    Csv(Box<csv::Reader>),
    Png(Box<png::Reader>),
    Jpeg(Box<jpeg::Reader>),
    Opaque(Opaque),
    Parquet(Box<parquet::Reader>),
    /// Nothing is read.
    Synthetic,
}

/// Calls the same method of whichever reader it is; `$synthetic` is the result where nothing is read.
macro_rules! each {
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
            Reader::Opaque($inner) => $call,
            Reader::Parquet($inner) => $call,
            Reader::Synthetic => $synthetic,
        }
    };
}

impl Reader {
    fn new(layout: &Layout, shape: &FileShape, scrutiny: Scrutiny) -> Self {
        if layout.opaque && scrutiny == Scrutiny::Structure {
            return Self::Opaque(Opaque::new(layout.format()));
        }
        match &layout.options {
            Options::Npz { .. } => {
                let archive = npz::Archive::new(layout, shape, scrutiny);
                if layout.numpy_reads {
                    Self::NpzMembers(Box::new(npz::Members::new(archive)))
                } else {
                    Self::Npz(Box::new(archive))
                }
            }
            Options::Npy => Self::Npy(Box::new(npy::Reader::new(layout, shape, scrutiny))),
            Options::Hdf5(options) => Self::Hdf5(Box::new(hdf5::Reader::new(layout, options, shape, scrutiny))),
            Options::TfRecord => Self::TfRecord(Box::new(tfrecord::Reader::of(layout, shape, scrutiny))),
            Options::Indexed(access) => Self::Indexed(Box::new(indexed::Reader::new(layout, *access, shape, scrutiny))),
            Options::Csv(compression) => Self::Csv(Box::new(csv::Reader::new(layout, *compression, shape, scrutiny))),
            Options::Png => Self::Png(Box::new(png::Reader::new(layout, shape, scrutiny))),
            Options::Jpeg => Self::Jpeg(Box::new(jpeg::Reader::new(layout, shape, scrutiny))),
            Options::Synthetic => Self::Synthetic,
            Options::Parquet(options) => {
                Self::Parquet(Box::new(parquet::Reader::new(layout, options, shape, scrutiny)))
            }
        }
    }
}

impl Decoder {
    /// `check`: over the whole file, for formats that are read from front to back.
    pub(crate) fn new(layout: &Layout, shape: &FileShape, scrutiny: Scrutiny, check: Option<Check>) -> Self {
        let reader = Reader::new(layout, shape, scrutiny);
        Self { samples: shape.samples, reader, check: check.map(Box::new) }
    }

    /// Tells the size of the file in bytes, where the storage knows it without reading.
    ///
    /// # Errors
    /// A size that no file of this layout can have.
    pub fn size(&mut self, bytes: u64) -> Result<(), Error> {
        match &mut self.reader {
            Reader::Csv(_) => csv::Reader::size(bytes),
            Reader::Opaque(opaque) => {
                opaque.size(bytes);
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

    /// The footer of a Parquet file, once it has been read: for [`Self::set_footer`] when the file is opened again.
    #[must_use]
    pub fn footer(&self) -> Option<Arc<Footer>> {
        match &self.reader {
            Reader::Parquet(reader) => reader.footer().cloned(),
            _ => None,
        }
    }

    /// Aims at the footer of a Parquet file alone: what [`need`](Self::need) asks for until it has come.
    pub fn aim_at_footer(&mut self) {
        if let Reader::Parquet(reader) = &mut self.reader {
            reader.aim_at_footer();
        }
    }

    /// Uses the footer that was read when the same Parquet file was open before.
    pub fn set_footer(&mut self, footer: Arc<Footer>) {
        if let Reader::Parquet(reader) = &mut self.reader {
            reader.set_footer(footer);
        }
    }

    /// Tells where the samples are, for formats with an index of offsets; without it they are taken to follow each other.
    ///
    /// # Errors
    /// The size of the file, told before, is not that of these samples.
    pub fn locate(&mut self, index: Arc<SampleIndex>) -> Result<(), Error> {
        match &mut self.reader {
            Reader::Indexed(reader) => reader.locate(index),
            _ => Ok(()),
        }
    }

    /// Whether the size of the file is not the workload's and only its index can say why: [`Self::locate`] wants it.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        matches!(&self.reader, Reader::Indexed(reader) if reader.is_in_doubt())
    }

    /// Aims at a sample of the file. Headers, a wholly read file and the position in a stream are kept.
    ///
    /// # Errors
    /// The file has no such sample.
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
            Reader::Opaque(_) | Reader::Synthetic => {}
            Reader::Parquet(reader) => reader.sample(sample)?,
        }
        Ok(())
    }

    /// What must be read next for the sample aimed at.
    #[must_use]
    pub fn need(&self) -> Need {
        each!(&self.reader, Need::Done, reader => reader.need())
    }

    /// Takes the next bytes of the range asked for.
    ///
    /// # Errors
    /// Bytes that do not belong to the format, or that differ from the workload.
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let front = match &self.reader {
            Reader::NpzMembers(members) => members.is_front(),
            Reader::Npy(reader) => reader.is_front(),
            _ => true,
        };
        each!(&mut self.reader, Ok(()), reader => reader.chunk(bytes))?;
        match &mut self.check {
            Some(check) if front => check.take(bytes),
            _ => Ok(()),
        }
    }

    /// The range asked for has ended, perhaps early because the file has.
    ///
    /// # Errors
    /// The file is truncated, or its structure does not add up.
    pub fn end(&mut self) -> Result<(), Error> {
        each!(&mut self.reader, Ok(()), reader => reader.end())
    }
}
