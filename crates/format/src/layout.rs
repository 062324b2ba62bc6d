//! The layout of a dataset's files: the configuration options that decide their bytes. This module holds data; the
//! `codec` module chooses the encoders and decoders.

use std::sync::Arc;

use dlio_config::Workload;
use dlio_config::vocabulary::{DType, Decode, Dialect, Format, VerifyBy};
use dlio_config::workload::Dataset;

use crate::check_level::CheckLevel;
use crate::dataset::access::Access;
use crate::dataset::csv::compression::Compression;
use crate::dataset::hdf5::options::{Filter as Hdf5Filter, Options as Hdf5Options};
use crate::dataset::parquet::options::Options as ParquetOptions;
use crate::encode::preset_crc::PresetCrc;
use crate::error::Error;
use crate::mismatch::{Mismatch, Mismatches};
use crate::payload::{Element, Payload};
use crate::shape::FileShape;

/// Bytes per read of a TFRecord stream unless `reader.transfer_size` is set.
const TRANSFER_SIZE: u64 = 256 * 1024;

/// A format that is written and read, with the options that only its files have.
#[derive(Debug, Clone)]
pub(crate) enum Options {
    /// Members are deflated rather than stored.
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
    /// Indexed binary files, read by ranges or through a memory map.
    Indexed(Access),
    Parquet(Arc<ParquetOptions>),
}

impl Options {
    /// Returns the options of the dataset's format.
    ///
    /// # Errors
    /// Returns an error if the format is neither written nor read, or does not support an option.
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
#[expect(clippy::struct_excessive_bools, reason = "independent properties of how files are read")]
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
    /// Files are read whole without being parsed, unless their content is asked for.
    pub(crate) reads_whole: bool,
    /// Files are read as found: shapes, element types and sample counts are not compared with the workload's.
    pub(crate) as_found: bool,
    /// Files of another shape that were read.
    mismatches: Arc<Mismatches>,
    /// Files of another shape are refused, where the format reveals the shape.
    refuses_mismatches: bool,
}

impl Layout {
    /// Returns the layout for a dataset's configuration.
    ///
    /// # Errors
    /// Returns an error for a format, element type or option that cannot be written or read.
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
            reads_whole: false,
            as_found: false,
            mismatches: Arc::default(),
            refuses_mismatches: true,
        })
    }

    /// Sets the dialect, `dlio` by default: in `dlio` all rows of a CSV file are equal, and in `mlperf` image files
    /// have one byte per pixel.
    #[must_use]
    pub fn with_dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// Sets the range size in bytes for formats that are read as a stream (`reader.transfer_size`).
    #[must_use]
    pub fn with_transfer_size(mut self, bytes: Option<u64>) -> Self {
        self.transfer_size = bytes.filter(|&bytes| bytes > 0).unwrap_or(TRANSFER_SIZE);
        self
    }

    /// Sets the method by which content is verified (`dlio_rs.verify_by`).
    #[must_use]
    pub fn with_verify_by(mut self, by: VerifyBy) -> Self {
        self.verify_by = by;
        self
    }

    /// Reads npz and npy files of known size as numpy reads them from a file: for archives first the directory and
    /// then the member with the samples, for arrays the header twice before the data.
    #[must_use]
    pub fn with_numpy_reads(mut self) -> Self {
        self.numpy_reads = true;
        self
    }

    /// Locates the samples of memory-mapped files without touching their bytes.
    #[must_use]
    pub fn with_untouched_maps(mut self) -> Self {
        if let Options::Indexed(access @ Access::Pages) = &mut self.options {
            *access = Access::View;
        }
        self
    }

    /// Reads files whole without parsing them, unless their content is asked for, as the MLPerf fork does.
    #[must_use]
    pub fn read_whole(mut self) -> Self {
        self.reads_whole = true;
        self
    }

    /// Reads files of another program as they are, whatever shapes, element types and sample counts the workload
    /// specifies.
    #[must_use]
    pub fn as_found(mut self) -> Self {
        self.as_found = true;
        self
    }

    /// Reads files of another shape than the workload's as they are, and records them.
    #[must_use]
    pub fn noting_mismatches(mut self) -> Self {
        (self.mismatches, self.refuses_mismatches) = (Arc::default(), false);
        self
    }

    /// Returns the files of another shape that readers of this layout and of its clones have read.
    #[must_use]
    pub fn mismatches(&self) -> &Mismatches {
        &self.mismatches
    }

    /// Returns whether files of another shape are refused, where the format reveals the shape.
    #[must_use]
    pub fn refuses_mismatches(&self) -> bool {
        self.refuses_mismatches
    }

    /// Returns whether reading a sample of this layout touches no byte: a view of the memory map is created and
    /// dropped.
    #[must_use]
    pub fn is_untouched(&self, decode: Decode) -> bool {
        matches!(self.options, Options::Indexed(Access::View)) && decode == Decode::None
    }

    /// Sets how the workload reads: the range size of TFRecord streams, the footers, row groups and columns of
    /// Parquet files, and the verification method.
    #[must_use]
    pub fn with_reading(mut self, workload: &Workload) -> Self {
        if let Options::Parquet(options) = &mut self.options {
            Arc::make_mut(options).read_as(workload);
        }
        self.with_transfer_size(workload.reader.transfer_size).with_verify_by(workload.dlio_rs.verify_by)
    }

    /// Returns the format.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns the size in bytes of one sample of shape `dims`, without framing; saturates.
    #[must_use]
    pub fn sample_bytes(&self, dims: &[u64]) -> u64 {
        let bytes = |dims: &[u64]| dims.iter().fold(self.dtype.itemsize(), |bytes, &dim| bytes.saturating_mul(dim));
        match &self.options {
            Options::Parquet(options) => options.sample_bytes(dims),
            Options::Hdf5(options) => bytes(&options.sample_dims(dims)).saturating_mul(options.datasets),
            _ => bytes(dims),
        }
    }

    /// Returns whether the length of a file depends only on its shape. Otherwise it depends on the content: on the
    /// digits of numbers written as text, or on how well the content compresses.
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

    /// Returns whether whole files are verified by comparison with their encoders' output. Otherwise the checksums
    /// that the format carries are verified.
    #[must_use]
    pub fn compares_files(&self) -> bool {
        self.verify_by == VerifyBy::Payload
    }

    /// Checks that files of this layout can be decoded in this way, before anything is read.
    ///
    /// # Errors
    /// Returns the reason why not, and the remedy.
    pub fn allows(&self, decode: Decode) -> Result<(), Error> {
        self.check_level(decode).map(drop)
    }

    /// Returns the check level of this layout's decoders.
    ///
    /// # Errors
    /// Returns an error if checksums are asked for and the format carries none.
    pub(crate) fn check_level(&self, decode: Decode) -> Result<CheckLevel, Error> {
        CheckLevel::new(self.format, self.verify_by, decode)
    }

    /// Returns the policy of a file's reader for another shape.
    pub(crate) fn mismatch(&self, shape: &FileShape, check_level: CheckLevel) -> Mismatch {
        Mismatch::new(&self.mismatches, self.refuses_mismatches, shape.file, check_level)
    }

    /// Returns the total size of a file's samples in bytes.
    pub(crate) fn data_bytes(&self, shape: &FileShape) -> Result<u64, Error> {
        let bytes = shape
            .dims
            .iter()
            .chain([&shape.samples])
            .try_fold(self.dtype.itemsize(), |bytes, &dim| bytes.checked_mul(dim))
            // Staying below a quarter of the address range leaves room for headers in every later sum.
            .filter(|&bytes| bytes < 1 << 62);
        bytes.ok_or_else(|| Error::Shape {
            dims: shape.dims.to_vec(),
            samples: shape.samples,
            reason: "its size in bytes exceeds 2^62".to_owned(),
        })
    }
}
