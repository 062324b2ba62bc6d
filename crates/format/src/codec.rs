//! Which format's code encodes and decodes the files of a layout: the crate's entry points, and the only place, with
//! `decode`, that names every format.

use dlio_config::vocabulary::{Decode, IndexFile};

use crate::check::{Check, Comparison};
use crate::dataset::{csv, hdf5, indexed, jpeg, npy, npz, parquet, png, synthetic, tfrecord};
use crate::decode::Decoder;
use crate::encode::Encoder;
use crate::error::Error;
use crate::layout::{Layout, Options};
use crate::scrutiny::Scrutiny;
use crate::shape::FileShape;
use indexed::IndexDecoder;
use parquet::Footer;

impl Layout {
    /// The encoder of one file.
    ///
    /// # Errors
    /// A shape that the format cannot hold.
    pub fn encoder(&self, shape: &FileShape) -> Result<Encoder, Error> {
        self.data_bytes(shape)?;
        match &self.options {
            Options::Csv(compression) => csv::encoder(self, *compression, shape),
            Options::Png => png::encoder(self, shape),
            Options::Jpeg => jpeg::encoder(self, shape),
            Options::Synthetic => Ok(synthetic::encoder(shape)),
            Options::Npy => npy::encoder(self, shape),
            Options::Npz { is_deflated } => npz::encoder(self, *is_deflated, shape),
            Options::Hdf5(options) => hdf5::encoder(self, options, shape),
            Options::TfRecord => tfrecord::encoder(self, shape),
            Options::Indexed(_) => Ok(indexed::encoder(self, shape)),
            Options::Parquet(options) => parquet::encoder(self, options, shape),
        }
    }

    /// The encoders of the index files that go with a data file, in the order of [`Format::index_files`].
    #[must_use]
    pub fn index_encoders(&self, shape: &FileShape) -> Vec<(IndexFile, Encoder)> {
        let encoder = |index| match index {
            IndexFile::TfRecord => tfrecord::index_encoder(self, shape),
            IndexFile::Offsets | IndexFile::Sizes => indexed::index_encoder(self, shape, index),
        };
        self.format().index_files().iter().map(|&index| (index, encoder(index))).collect()
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
        let scrutiny = self.scrutiny(decode)?;
        let check = match scrutiny {
            Scrutiny::Payload if self.is_read_whole() => Some(Check::new(self.payload.seed(), self.encoder(shape)?, 0)),
            _ => None,
        };
        Ok(Decoder::new(self, shape, scrutiny, check))
    }

    /// A comparison of a whole object, file or index, with what its encoder makes.
    #[must_use]
    pub fn comparison(&self, encoder: Encoder) -> Comparison {
        Comparison::new(self.payload, encoder)
    }

    /// Whether a decoder takes a file from its first byte to its last, so that a file encoded again is compared with it.
    fn is_read_whole(&self) -> bool {
        match self.options {
            Options::Npz { .. } | Options::Npy | Options::TfRecord | Options::Csv(_) | Options::Png | Options::Jpeg => {
                true
            }
            Options::Hdf5(_) | Options::Synthetic | Options::Indexed(_) | Options::Parquet(_) => false,
        }
    }

    /// The decoder of a data file's index files, for formats that say there where a sample is: read each of them
    /// ([`Format::index_files`]) whole, then give the result to [`Decoder::locate`].
    #[must_use]
    pub fn index_decoder(&self, shape: &FileShape) -> Option<IndexDecoder> {
        let has_offsets = self.format().index_files().contains(&IndexFile::Offsets);
        has_offsets.then(|| IndexDecoder::new(self, shape))
    }

    /// Samples from `sample` on that one request brings, in a file with this footer: those of its row group and of the row
    /// groups that are read with it.
    #[must_use]
    pub fn request_samples(&self, footer: &Footer, sample: u64) -> u64 {
        match &self.options {
            Options::Parquet(options) => {
                footer.rows_ahead(sample, usize::try_from(options.coalesce).unwrap_or(usize::MAX))
            }
            _ => footer.rows_ahead(sample, 1),
        }
    }
}
