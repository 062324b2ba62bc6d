//! The one decoder type: asks for byte ranges, checks structure in passing, keeps the state of one open file.
//!
//! A format's decoder gets its [`Scrutiny`] when it is made. One that reads its file from front to back need not know of a
//! comparison with the payload: the check over the whole file is kept here and sees every chunk after the format did. Others (ranges of samples, compressed content) compare by themselves.

use std::sync::Arc;

use dlio_config::vocabulary::Format;

use crate::check::{Check, Scrutiny};
use crate::npy::Whole;
use crate::opaque::Opaque;
use crate::parquet::Footer;
use crate::{Error, FileShape, Layout, SampleIndex, csv, hdf5, indexed, jpeg, npz, parquet, png, tfrecord};

/// What a decoder wants read next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A range of the file.
    Bytes {
        /// First byte.
        offset: u64,
        /// Number of bytes; `None`: to the end of the file.
        len: Option<u64>,
    },
    /// The size of the file ([`Decoder::size`]): its end must be read first, and the storage did not tell where that is.
    Size,
    /// Nothing: the sample aimed at has been read.
    Done,
}

/// Reads one open file, sample by sample.
///
/// The loop of a reader is: [`sample`](Self::sample), then, while [`need`](Self::need) asks for bytes, read the range,
/// hand its bytes to [`chunk`](Self::chunk) in order and in pieces of any size, and call [`end`](Self::end).
#[derive(Debug)]
pub struct Decoder {
    samples: u64,
    kind: Kind,
    /// Of a file that is read from front to back.
    check: Option<Box<Check>>,
}

#[derive(Debug)]
enum Kind {
    Npy(Box<Whole>),
    Npz(Box<npz::Archive>),
    NpzMembers(Box<npz::Members>),
    Hdf5(Box<hdf5::Reader>),
    TfRecord(Box<tfrecord::Reader>),
    Indexed(Box<indexed::Reader>),
    Csv(Box<csv::Reader>),
    Png(Box<png::Reader>),
    Jpeg(Box<jpeg::Reader>),
    /// Nothing is read.
    Synthetic,
    Opaque(Opaque),
    Parquet(Box<parquet::Reader>),
}

impl Decoder {
    /// `check`: over the whole file, for formats that are read from front to back.
    pub(crate) fn new(layout: &Layout, shape: &FileShape, scrutiny: Scrutiny, check: Option<Check>) -> Self {
        let kind = match layout.format() {
            format if layout.opaque && scrutiny == Scrutiny::Structure => Kind::Opaque(Opaque::new(format)),
            Format::Npz if layout.numpy_reads => {
                let archive = npz::Archive::new(layout, shape, scrutiny);
                Kind::NpzMembers(Box::new(npz::Members::new(archive)))
            }
            Format::Npz => Kind::Npz(Box::new(npz::Archive::new(layout, shape, scrutiny))),
            Format::Hdf5 => Kind::Hdf5(Box::new(hdf5::Reader::new(layout, shape, scrutiny))),
            Format::TfRecord => Kind::TfRecord(Box::new(tfrecord::Reader::of(layout, shape, scrutiny))),
            Format::IndexedBinary | Format::MmapIndexedBinary => {
                Kind::Indexed(Box::new(indexed::Reader::new(layout, shape, scrutiny)))
            }
            Format::Csv => Kind::Csv(Box::new(csv::Reader::new(layout, shape, scrutiny))),
            Format::Png => Kind::Png(Box::new(png::Reader::new(layout, shape, scrutiny))),
            Format::Jpeg => Kind::Jpeg(Box::new(jpeg::Reader::new(layout, shape, scrutiny))),
            Format::Synthetic => Kind::Synthetic,
            Format::Parquet => Kind::Parquet(Box::new(parquet::Reader::new(layout, &layout.parquet, shape, scrutiny))),
            // `Layout::new` lets no other format through.
            _ => Kind::Npy(Box::new(Whole::new(layout, shape, scrutiny))),
        };
        Self { samples: shape.samples, kind, check: check.map(Box::new) }
    }

    /// Tells the size of the file in bytes, where the storage knows it without reading.
    ///
    /// # Errors
    /// A size that no file of this layout can have.
    pub fn size(&mut self, bytes: u64) -> Result<(), Error> {
        match &mut self.kind {
            Kind::Npy(whole) => whole.size(bytes),
            Kind::Npz(archive) => archive.size(bytes),
            Kind::NpzMembers(members) => members.size(bytes),
            Kind::Hdf5(reader) => reader.size(bytes),
            Kind::TfRecord(reader) => reader.size(bytes),
            Kind::Indexed(reader) => reader.size(bytes),
            Kind::Csv(_) => csv::Reader::size(bytes),
            Kind::Png(reader) => reader.size(bytes),
            Kind::Jpeg(reader) => reader.size(bytes),
            Kind::Synthetic => Ok(()),
            Kind::Opaque(opaque) => {
                opaque.size(bytes);
                Ok(())
            }
            Kind::Parquet(reader) => reader.size(bytes),
        }
    }

    /// The footer of a Parquet file, once it has been read: for [`Self::set_footer`] when the file is opened again.
    #[must_use]
    pub fn footer(&self) -> Option<Arc<Footer>> {
        match &self.kind {
            Kind::Parquet(reader) => reader.footer().cloned(),
            _ => None,
        }
    }

    /// Aims at the footer of a Parquet file alone: what [`need`](Self::need) asks for until it has come.
    pub fn aim_at_footer(&mut self) {
        if let Kind::Parquet(reader) = &mut self.kind {
            reader.aim_at_footer();
        }
    }

    /// Uses the footer that was read when the same Parquet file was open before.
    pub fn set_footer(&mut self, footer: Arc<Footer>) {
        if let Kind::Parquet(reader) = &mut self.kind {
            reader.set_footer(footer);
        }
    }

    /// Tells where the samples are, for formats with an index of offsets; without it they are taken to follow each other.
    ///
    /// # Errors
    /// The size of the file, told before, is not that of these samples.
    pub fn locate(&mut self, index: Arc<SampleIndex>) -> Result<(), Error> {
        match &mut self.kind {
            Kind::Indexed(reader) => reader.locate(index),
            _ => Ok(()),
        }
    }

    /// Whether the size of the file is not the workload's and only its index can say why: [`Self::locate`] wants it.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        matches!(&self.kind, Kind::Indexed(reader) if reader.is_in_doubt())
    }

    /// Aims at a sample of the file. Headers, a wholly read file and the position in a stream are kept.
    ///
    /// # Errors
    /// The file has no such sample.
    pub fn sample(&mut self, sample: u64) -> Result<(), Error> {
        if sample >= self.samples {
            return Err(Error::Sample { sample, samples: self.samples });
        }
        match &mut self.kind {
            Kind::Npy(whole) => whole.sample(),
            Kind::Npz(archive) => archive.sample(),
            Kind::NpzMembers(members) => members.sample(),
            Kind::Hdf5(reader) => reader.sample(sample)?,
            Kind::TfRecord(reader) => {
                if reader.sample(sample)
                    && let Some(check) = &mut self.check
                {
                    check.restart();
                }
            }
            Kind::Indexed(reader) => reader.sample(sample)?,
            Kind::Csv(reader) => reader.sample(),
            Kind::Png(reader) => reader.sample(),
            Kind::Jpeg(reader) => reader.sample(),
            Kind::Opaque(_) | Kind::Synthetic => {}
            Kind::Parquet(reader) => reader.sample(sample)?,
        }
        Ok(())
    }

    /// What must be read next for the sample aimed at.
    #[must_use]
    pub fn need(&self) -> Need {
        match &self.kind {
            Kind::Npy(whole) => whole.need(),
            Kind::Npz(archive) => archive.need(),
            Kind::NpzMembers(members) => members.need(),
            Kind::Hdf5(reader) => reader.need(),
            Kind::TfRecord(reader) => reader.need(),
            Kind::Indexed(reader) => reader.need(),
            Kind::Csv(reader) => reader.need(),
            Kind::Png(reader) => reader.need(),
            Kind::Jpeg(reader) => reader.need(),
            Kind::Synthetic => Need::Done,
            Kind::Opaque(opaque) => opaque.need(),
            Kind::Parquet(reader) => reader.need(),
        }
    }

    /// Takes the next bytes of the range asked for.
    ///
    /// # Errors
    /// Bytes that do not belong to the format, or that differ from the workload.
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let front = match &self.kind {
            Kind::NpzMembers(members) => members.is_front(),
            Kind::Npy(whole) => whole.is_front(),
            _ => true,
        };
        match &mut self.kind {
            Kind::Npy(whole) => whole.chunk(bytes),
            Kind::Npz(archive) => archive.chunk(bytes),
            Kind::NpzMembers(members) => members.chunk(bytes),
            Kind::Hdf5(reader) => reader.chunk(bytes),
            Kind::TfRecord(reader) => reader.chunk(bytes),
            Kind::Indexed(reader) => reader.chunk(bytes),
            Kind::Csv(reader) => reader.chunk(bytes),
            Kind::Png(reader) => reader.chunk(bytes),
            Kind::Jpeg(reader) => reader.chunk(bytes),
            Kind::Synthetic => Ok(()),
            Kind::Opaque(opaque) => opaque.chunk(bytes),
            Kind::Parquet(reader) => reader.chunk(bytes),
        }?;
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
        match &mut self.kind {
            Kind::Npy(whole) => whole.end(),
            Kind::Npz(archive) => archive.end(),
            Kind::NpzMembers(members) => members.end(),
            Kind::Hdf5(reader) => reader.end(),
            Kind::TfRecord(reader) => reader.end(),
            Kind::Indexed(reader) => reader.end(),
            Kind::Csv(reader) => reader.end(),
            Kind::Png(reader) => reader.end(),
            Kind::Jpeg(reader) => reader.end(),
            Kind::Synthetic => Ok(()),
            Kind::Opaque(opaque) => opaque.end(),
            Kind::Parquet(reader) => reader.end(),
        }
    }
}
