//! Compression methods of CSV files, which are those of pandas.

use dlio_config::workload::Dataset;

use crate::error::Error;

/// Compression of a CSV file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zip,
    Zstd,
    Bzip2,
    Xz,
}

impl Compression {
    pub(crate) fn new(dataset: &Dataset) -> Result<Self, Error> {
        match dataset.compression.as_deref() {
            None | Some("none") => Ok(Self::None),
            Some("gzip") => Ok(Self::Gzip),
            Some("zip") => Ok(Self::Zip),
            Some("zstd") => Ok(Self::Zstd),
            Some("bz2") => Ok(Self::Bzip2),
            Some("xz") => Ok(Self::Xz),
            Some(word) => Err(Error::Option {
                option: format!("dataset.compression: {word}"),
                reason: "CSV files are neither written nor read with this compression, as in the reference; use gzip, zip, zstd, bz2, xz or none"
                    .to_owned(),
            }),
        }
    }
}
