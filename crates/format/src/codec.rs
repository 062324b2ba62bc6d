//! The entry points of the crate: the encoders and decoders of a layout's files. This module and `decode` are the
//! only ones that name every format.

use dlio_config::vocabulary::{Decode, IndexFile};

use crate::check::{Check, Comparison};
use crate::check_level::CheckLevel;
use crate::dataset::{csv, hdf5, indexed, jpeg, npy, npz, parquet, png, synthetic, tfrecord};
use crate::decode::Decoder;
use crate::encode::Encoder;
use crate::error::Error;
use crate::layout::{Layout, Options};
use crate::shape::FileShape;
use indexed::IndexDecoder;
use parquet::Footer;

impl Layout {
    /// Returns the encoder of one file.
    ///
    /// # Errors
    /// Returns an error if the format cannot hold the shape.
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

    /// Returns the encoders of the index files that belong to a data file, in the order of
    /// [`Format::index_files`](dlio_config::vocabulary::Format::index_files).
    #[must_use]
    pub fn index_encoders(&self, shape: &FileShape) -> Vec<(IndexFile, Encoder)> {
        let encoder = |index| match index {
            IndexFile::TfRecord => tfrecord::index_encoder(self, shape),
            IndexFile::Offsets | IndexFile::Sizes => indexed::index_encoder(self, shape, index),
        };
        self.format().index_files().iter().map(|&index| (index, encoder(index))).collect()
    }

    /// Returns a decoder for a newly opened file of the given shape. The decoder checks the structure and skips the
    /// payload.
    #[must_use]
    pub fn decoder(&self, shape: &FileShape) -> Decoder {
        Decoder::new(self, shape, CheckLevel::Structure, None)
    }

    /// Returns a decoder that also verifies the content or does the work of a training reader.
    ///
    /// # Errors
    /// Returns an error if the format does not support this verification (see [`Self::allows`]) or cannot hold the
    /// shape.
    pub fn decoder_with(&self, shape: &FileShape, decode: Decode) -> Result<Decoder, Error> {
        let check_level = self.check_level(decode)?;
        let check = match check_level {
            CheckLevel::Payload if self.is_read_whole() => {
                Some(Check::new(self.payload.seed(), self.encoder(shape)?, 0))
            }
            _ => None,
        };
        Ok(Decoder::new(self, shape, check_level, check))
    }

    /// Returns a comparison of a whole object, a data file or an index, with the output of its encoder.
    #[must_use]
    pub fn comparison(&self, encoder: Encoder) -> Comparison {
        Comparison::new(self.payload, encoder)
    }

    /// Returns whether decoders read a file from its first byte to its last, so that it can be compared with a newly
    /// encoded file.
    fn is_read_whole(&self) -> bool {
        match self.options {
            Options::Npz { .. } | Options::Npy | Options::TfRecord | Options::Csv(_) | Options::Png | Options::Jpeg => {
                true
            }
            Options::Hdf5(_) | Options::Synthetic | Options::Indexed(_) | Options::Parquet(_) => false,
        }
    }

    /// Returns the decoder of a data file's index files, for formats whose index locates the samples. The caller
    /// reads each index file ([`Format::index_files`](dlio_config::vocabulary::Format::index_files)) whole and gives
    /// the result to [`Decoder::locate`].
    #[must_use]
    pub fn index_decoder(&self, shape: &FileShape) -> Option<IndexDecoder> {
        let has_offsets = self.format().index_files().contains(&IndexFile::Offsets);
        has_offsets.then(|| IndexDecoder::new(self, shape))
    }

    /// Returns the number of samples, from `sample` on, that one request covers in a file with this footer: those in
    /// the sample's row group and in the row groups read together with it.
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
