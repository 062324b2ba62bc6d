//! How the files of one data set are laid out: the options of the configuration that decide bytes.

use std::sync::Arc;

use dlio_config::Workload;
use dlio_config::vocabulary::{DType, Decode, Dialect, Format, IndexFile, VerifyBy};
use dlio_config::workload::Dataset;

use crate::check::{Check, Comparison, Scrutiny};
use crate::crc::Seal;
use crate::mismatch::Mismatches;
use crate::payload::{Element, Payload};
use crate::{
    Decoder, Encoder, Error, Footer, IndexDecoder, csv, hdf5, indexed, jpeg, npy, npz, parquet, png, synthetic,
    tfrecord,
};

/// Bytes per read of a TFRecord stream unless `reader.transfer_size` says otherwise.
const TRANSFER_SIZE: u64 = 256 * 1024;

/// Formats that are written and read.
const FORMATS: &[Format] = &[
    Format::Npz,
    Format::Npy,
    Format::Hdf5,
    Format::TfRecord,
    Format::Csv,
    Format::Png,
    Format::Jpeg,
    Format::Synthetic,
    Format::IndexedBinary,
    Format::MmapIndexedBinary,
    Format::Parquet,
];

/// The layout of every file of a data set.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent properties of how files are read")]
pub struct Layout {
    format: Format,
    pub(crate) dtype: DType,
    pub(crate) element: Element,
    pub(crate) payload: Payload,
    pub(crate) seal: Arc<Seal>,
    pub(crate) hdf5: Arc<hdf5::Options>,
    pub(crate) transfer_size: u64,
    pub(crate) verify_by: VerifyBy,
    pub(crate) numpy_reads: bool,
    pub(crate) mapped: indexed::Access,
    pub(crate) dialect: Dialect,
    pub(crate) packing: csv::Packing,
    /// npz members are deflated.
    pub(crate) deflated: bool,
    /// Files are read whole, unless their content matters.
    pub(crate) opaque: bool,
    pub(crate) parquet: Arc<parquet::Options>,
    /// Files are what they are: shapes, types and numbers of samples are not compared with the workload's.
    pub(crate) as_found: bool,
    /// Where files of another shape are noted, which are read as they are; `None`: they are refused.
    pub(crate) mismatches: Arc<Mismatches>,
    /// Files of another shape are refused, where their format can tell.
    pub(crate) refuses_mismatches: bool,
}

/// The shape of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileShape<'a> {
    /// Combined number of the file (train files, then evaluation files): decides its payload.
    pub file: u64,
    /// Shape of one sample.
    pub dims: &'a [u64],
    /// Samples in the file.
    pub samples: u64,
}

impl Layout {
    /// The layout that a data set's configuration asks for.
    ///
    /// # Errors
    /// A format, element type or option that cannot be written or read.
    pub fn new(dataset: &Dataset, payload_seed: u64) -> Result<Self, Error> {
        let format = dataset.format;
        if !FORMATS.contains(&format) {
            return Err(Error::Format(format));
        }
        let dtype = dataset.record_element_type;
        let element = Element::new(dtype).ok_or(Error::ElementType(dtype, format))?;
        let hdf5 = match format {
            Format::Hdf5 => hdf5::Options::new(dataset)?,
            _ => hdf5::Options::default(),
        };
        let parquet = match format {
            Format::Parquet => parquet::Options::new(dataset)?,
            _ => parquet::Options::default(),
        };
        Ok(Self {
            format,
            dtype,
            element,
            payload: Payload::new(payload_seed),
            seal: Arc::new(Seal::new(element)),
            hdf5: Arc::new(hdf5),
            transfer_size: TRANSFER_SIZE,
            verify_by: VerifyBy::Payload,
            numpy_reads: false,
            parquet: Arc::new(parquet),
            mapped: match format {
                Format::MmapIndexedBinary => indexed::Access::Pages,
                _ => indexed::Access::Range,
            },
            dialect: Dialect::Dlio,
            packing: csv::Packing::new(dataset)?,
            deflated: format == Format::Npz && dataset.compression.as_deref() == Some("zip"),
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
        if self.format == Format::MmapIndexedBinary {
            self.mapped = indexed::Access::View;
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

    /// Samples from `sample` on that one request brings, in a file with this footer: those of its row group and of the row
    /// groups that are read with it.
    #[must_use]
    pub fn request_samples(&self, footer: &Footer, sample: u64) -> u64 {
        self.parquet.request_rows(footer, sample)
    }

    /// Whether reading a sample of this layout touches no byte: a view of a memory map is made and dropped.
    #[must_use]
    pub fn is_untouched(&self, decode: Decode) -> bool {
        self.mapped == indexed::Access::View && decode == Decode::None
    }

    /// The same layout, read in the shapes that the workload asks for: ranges of TFRecord streams; footers, row groups and
    /// columns of Parquet; what content is verified by.
    #[must_use]
    pub fn with_reading(mut self, workload: &Workload) -> Self {
        if self.format == Format::Parquet {
            Arc::make_mut(&mut self.parquet).read_as(workload);
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
        match self.format {
            Format::Parquet => self.parquet.sample_bytes(dims),
            Format::Hdf5 => bytes(&self.hdf5.sample_dims(dims)).saturating_mul(self.hdf5.datasets),
            _ => bytes(dims),
        }
    }

    /// The encoder of one file.
    ///
    /// # Errors
    /// A shape that the format cannot hold.
    pub fn encoder(&self, shape: &FileShape) -> Result<Encoder, Error> {
        self.data_bytes(shape)?;
        match self.format {
            Format::Csv => csv::encoder(self, shape),
            Format::Png => png::encoder(self, shape),
            Format::Jpeg => jpeg::encoder(self, shape),
            Format::Synthetic => Ok(synthetic::encoder(shape)),
            Format::Npy => npy::encoder(self, shape),
            Format::Npz => npz::encoder(self, shape),
            Format::Hdf5 => hdf5::encoder(self, shape),
            Format::TfRecord => tfrecord::encoder(self, shape),
            Format::IndexedBinary | Format::MmapIndexedBinary => Ok(indexed::encoder(self, shape)),
            Format::Parquet => parquet::encoder(self, &self.parquet, shape),
            Format::Hdf5Opt => Err(Error::Format(self.format)),
        }
    }

    /// Whether the length of a file follows from its shape alone; otherwise its content decides: the digits of numbers
    /// written as text, or how well it compresses.
    #[must_use]
    pub fn length_follows_from_shape(&self) -> bool {
        match self.format {
            Format::Csv | Format::Synthetic => false,
            Format::Npz => !self.deflated,
            Format::Hdf5 => self.hdf5.filter == hdf5::Filter::None,
            Format::Parquet => !self.parquet.is_compressed(),
            _ => true,
        }
    }

    /// The encoders of the index files that go with a data file, in the order of [`Format::index_files`].
    #[must_use]
    pub fn index_encoders(&self, shape: &FileShape) -> Vec<(IndexFile, Encoder)> {
        let encoder = |index| match index {
            IndexFile::TfRecord => tfrecord::index_encoder(self, shape),
            IndexFile::Offsets | IndexFile::Sizes => indexed::index_encoder(self, shape, index),
        };
        self.format.index_files().iter().map(|&index| (index, encoder(index))).collect()
    }

    /// A decoder for a freshly opened file that should have this shape. It looks at the structure and passes over payload.
    #[must_use]
    pub fn decoder(&self, shape: &FileShape) -> Decoder {
        Decoder::new(self, shape, Scrutiny::Structure, None)
    }

    /// A decoder that also verifies the content, or does the work of a training reader.
    ///
    /// # Errors
    /// A verification that the format does not allow (see [`Self::allows`]), or a shape that it cannot hold.
    pub fn decoder_with(&self, shape: &FileShape, decode: Decode) -> Result<Decoder, Error> {
        let scrutiny = Scrutiny::new(self, decode)?;
        let check = match scrutiny {
            Scrutiny::Payload if self.is_read_whole() => Some(Check::file(self, shape)?),
            _ => None,
        };
        Ok(Decoder::new(self, shape, scrutiny, check))
    }

    /// Whether files of this layout can be decoded so; for a check before anything is read.
    ///
    /// # Errors
    /// Why not, and what to use.
    pub fn allows(&self, decode: Decode) -> Result<(), Error> {
        Scrutiny::new(self, decode).map(drop)
    }

    /// Whether files as a whole are verified by comparing them with what their encoders make; otherwise their samples'
    /// checksums are computed.
    #[must_use]
    pub fn compares_files(&self) -> bool {
        self.verify_by == VerifyBy::Payload
    }

    /// A comparison of a whole object, file or index, with what its encoder makes.
    #[must_use]
    pub fn comparison(&self, encoder: Encoder) -> Comparison {
        Comparison::new(self, encoder)
    }

    /// Whether a decoder takes a file from its first byte to its last, so that a file encoded again is compared with it.
    fn is_read_whole(&self) -> bool {
        matches!(self.format, Format::Npz | Format::Npy | Format::TfRecord | Format::Csv | Format::Png | Format::Jpeg)
    }

    /// The decoder of a data file's index files, for formats that say there where a sample is: read each of them
    /// ([`Format::index_files`]) whole, then give the result to [`Decoder::locate`].
    #[must_use]
    pub fn index_decoder(&self, shape: &FileShape) -> Option<IndexDecoder> {
        let has_offsets = self.format.index_files().contains(&IndexFile::Offsets);
        has_offsets.then(|| IndexDecoder::new(self, shape))
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
