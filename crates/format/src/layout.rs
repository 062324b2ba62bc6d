//! How the files of one dataset are laid out: the options of the configuration that decide bytes, and nothing that acts on
//! them. What a layout's files are encoded and decoded with is chosen in one place, the `codec` module.

use std::sync::Arc;

use dlio_config::Workload;
use dlio_config::vocabulary::{DType, Decode, Dialect, Format, VerifyBy};
use dlio_config::workload::Dataset;

use crate::dataset::access::Access;
use crate::dataset::csv::compression::Compression;
use crate::dataset::hdf5::options::{Filter as Hdf5Filter, Options as Hdf5Options};
use crate::dataset::parquet::options::Options as ParquetOptions;
use crate::encode::preset_crc::PresetCrc;
use crate::error::Error;
use crate::mismatch::{Mismatch, Mismatches};
use crate::payload::{Element, Payload};
use crate::scrutiny::Scrutiny;
use crate::shape::FileShape;

/// Bytes per read of a TFRecord stream unless `reader.transfer_size` says otherwise.
const TRANSFER_SIZE: u64 = 256 * 1024;

/// A format that is written and read, with the options that only its files have.
#[derive(Debug, Clone)]
pub(crate) enum Options {
    /// Members are deflated, or stored.
    Npz {
        is_deflated: bool,
    },
    Npy,
    Hdf5(Arc<Hdf5Options>),
    TfRecord,
    Csv(Compression),
    Png,
    Jpeg,
    Synthetic,
    /// Indexed binary files, mapped into memory or not.
    Indexed(Access),
    Parquet(Arc<ParquetOptions>),
}

impl Options {
    /// # Errors
    /// A format that is neither written nor read, or an option that its files cannot have.
    fn new(dataset: &Dataset) -> Result<Self, Error> {
        Ok(match dataset.format {
            Format::Npz => Self::Npz { is_deflated: dataset.compression.as_deref() == Some("zip") },
            Format::Npy => Self::Npy,
            Format::Hdf5 => Self::Hdf5(Arc::new(Hdf5Options::new(dataset)?)),
            Format::TfRecord => Self::TfRecord,
            Format::Csv => Self::Csv(Compression::new(dataset)?),
            Format::Png => Self::Png,
            Format::Jpeg => Self::Jpeg,
            Format::Synthetic => Self::Synthetic,
            Format::IndexedBinary => Self::Indexed(Access::Range),
            Format::MmapIndexedBinary => Self::Indexed(Access::Pages),
            Format::Parquet => Self::Parquet(Arc::new(ParquetOptions::new(dataset)?)),
            format @ Format::Hdf5Opt => return Err(Error::Format(format)),
        })
    }
}

/// The layout of every file of a dataset.
#[derive(Debug, Clone)]
pub struct Layout {
    format: Format,
    pub(crate) options: Options,
    pub(crate) dtype: DType,
    pub(crate) element: Element,
    pub(crate) payload: Payload,
    pub(crate) preset_crc: Arc<PresetCrc>,
    pub(crate) transfer_size: u64,
    pub(crate) verify_by: VerifyBy,
    pub(crate) numpy_reads: bool,
    pub(crate) dialect: Dialect,
    /// Files are read whole, unless their content matters.
    pub(crate) opaque: bool,
    /// Files are what they are: shapes, types and numbers of samples are not compared with the workload's.
    pub(crate) as_found: bool,
    /// Files of another shape that were read as they are.
    mismatches: Arc<Mismatches>,
    /// Files of another shape are refused, where their format can tell.
    refuses_mismatches: bool,
}

impl Layout {
    /// The layout that a dataset's configuration asks for.
    ///
    /// # Errors
    /// A format, element type or option that cannot be written or read.
    pub fn new(dataset: &Dataset, payload_seed: u64) -> Result<Self, Error> {
        let (format, dtype) = (dataset.format, dataset.record_element_type);
        if format == Format::Hdf5Opt {
            return Err(Error::Format(format));
        }
        let element = Element::new(dtype).ok_or(Error::ElementType(dtype, format))?;
        Ok(Self {
            format,
            options: Options::new(dataset)?,
            dtype,
            element,
            payload: Payload::new(payload_seed),
            preset_crc: Arc::new(PresetCrc::crc32(element)),
            transfer_size: TRANSFER_SIZE,
            verify_by: VerifyBy::Payload,
            numpy_reads: false,
            dialect: Dialect::Dlio,
            opaque: false,
            as_found: false,
            mismatches: Arc::default(),
            refuses_mismatches: true,
        })
    }

    /// The same layout as a dialect means it: rows of CSV files are equal in `dlio` only, and images have one byte per pixel
    /// in `mlperf`. Without this it is `dlio`.
    #[must_use]
    pub fn with_dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// The same layout, read in ranges of this many bytes where the format is a stream (`reader.transfer_size`).
    #[must_use]
    pub fn with_transfer_size(mut self, bytes: Option<u64>) -> Self {
        self.transfer_size = bytes.filter(|&bytes| bytes > 0).unwrap_or(TRANSFER_SIZE);
        self
    }

    /// The same layout, whose content is verified by this (`dlio_rs.verify_by`).
    #[must_use]
    pub fn with_verify_by(mut self, by: VerifyBy) -> Self {
        self.verify_by = by;
        self
    }

    /// The same layout; archives and arrays whose size is known are read as numpy reads them from a file: directory first, then
    /// the member with the samples; a header twice before the file.
    #[must_use]
    pub fn with_numpy_reads(mut self) -> Self {
        self.numpy_reads = true;
        self
    }

    /// The same layout; the samples of memory-mapped files are looked up but never looked at.
    #[must_use]
    pub fn with_untouched_maps(mut self) -> Self {
        if let Options::Indexed(access @ Access::Pages) = &mut self.options {
            *access = Access::View;
        }
        self
    }

    /// The same layout, whose files are read whole and not looked into, unless their content is asked for (the MLPerf fork).
    #[must_use]
    pub fn read_whole(mut self) -> Self {
        self.opaque = true;
        self
    }

    /// The same layout for files that another program made: what they hold is read as it is, whatever shapes, element types
    /// and numbers of samples the workload names.
    #[must_use]
    pub fn as_found(mut self) -> Self {
        self.as_found = true;
        self
    }

    /// The same layout; files of another shape than the workload's are read as they are, and noted.
    #[must_use]
    pub fn noting_mismatches(mut self) -> Self {
        (self.mismatches, self.refuses_mismatches) = (Arc::default(), false);
        self
    }

    /// The files of another shape that readers of this layout and of its copies have read.
    #[must_use]
    pub fn mismatches(&self) -> &Mismatches {
        &self.mismatches
    }

    /// Whether files of another shape are refused, where their format can tell.
    #[must_use]
    pub fn refuses_mismatches(&self) -> bool {
        self.refuses_mismatches
    }

    /// Whether reading a sample of this layout touches no byte: a view of a memory map is made and dropped.
    #[must_use]
    pub fn is_untouched(&self, decode: Decode) -> bool {
        matches!(self.options, Options::Indexed(Access::View)) && decode == Decode::None
    }

    /// The same layout, read in the shapes that the workload asks for: ranges of TFRecord streams; footers, row groups and
    /// columns of Parquet; what content is verified by.
    #[must_use]
    pub fn with_reading(mut self, workload: &Workload) -> Self {
        if let Options::Parquet(options) = &mut self.options {
            Arc::make_mut(options).read_as(workload);
        }
        self.with_transfer_size(workload.reader.transfer_size).with_verify_by(workload.dlio_rs.verify_by)
    }

    /// The format.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Bytes of one sample of shape `dims`, without any framing; saturates.
    #[must_use]
    pub fn sample_bytes(&self, dims: &[u64]) -> u64 {
        let bytes = |dims: &[u64]| dims.iter().fold(self.dtype.itemsize(), |bytes, &dim| bytes.saturating_mul(dim));
        match &self.options {
            Options::Parquet(options) => options.sample_bytes(dims),
            Options::Hdf5(options) => bytes(&options.sample_dims(dims)).saturating_mul(options.datasets),
            _ => bytes(dims),
        }
    }

    /// Whether the length of a file follows from its shape alone; otherwise its content decides: the digits of numbers
    /// written as text, or how well it compresses.
    #[must_use]
    pub fn length_follows_from_shape(&self) -> bool {
        match &self.options {
            Options::Csv(_) | Options::Synthetic => false,
            Options::Npz { is_deflated } => !is_deflated,
            Options::Hdf5(options) => options.filter == Hdf5Filter::None,
            Options::Parquet(options) => !options.is_compressed(),
            Options::Npy | Options::TfRecord | Options::Png | Options::Jpeg | Options::Indexed(_) => true,
        }
    }

    /// Whether files as a whole are verified by comparing them with what their encoders make; otherwise their samples'
    /// checksums are computed.
    #[must_use]
    pub fn compares_files(&self) -> bool {
        self.verify_by == VerifyBy::Payload
    }

    /// Whether files of this layout can be decoded so; for a check before anything is read.
    ///
    /// # Errors
    /// Why not, and what to use.
    pub fn allows(&self, decode: Decode) -> Result<(), Error> {
        self.scrutiny(decode).map(drop)
    }

    /// How closely the decoders of this layout look.
    ///
    /// # Errors
    /// Checksums of a format that has none.
    pub(crate) fn scrutiny(&self, decode: Decode) -> Result<Scrutiny, Error> {
        Scrutiny::new(self.format, self.verify_by, decode)
    }

    /// What the reader of a file does if that has another shape.
    pub(crate) fn mismatch(&self, shape: &FileShape, scrutiny: Scrutiny) -> Mismatch {
        Mismatch::new(&self.mismatches, self.refuses_mismatches, shape.file, scrutiny)
    }

    /// Bytes of all samples of a file.
    pub(crate) fn data_bytes(&self, shape: &FileShape) -> Result<u64, Error> {
        let bytes = shape
            .dims
            .iter()
            .chain([&shape.samples])
            .try_fold(self.dtype.itemsize(), |bytes, &dim| bytes.checked_mul(dim))
            // Half of the address range leaves room for headers in every later sum.
            .filter(|&bytes| bytes < 1 << 62);
        bytes.ok_or_else(|| Error::Shape {
            dims: shape.dims.to_vec(),
            samples: shape.samples,
            reason: "its size in bytes exceeds 2^62".to_owned(),
        })
    }
}
