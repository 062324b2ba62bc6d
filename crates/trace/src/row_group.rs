//! A row group between its encoding and the footer that lists it.

use parquet::file::metadata::RowGroupMetaData;

/// A row group that was encoded.
#[derive(Debug, Clone)]
pub(crate) struct EncodedGroup {
    /// What the footer says of it.
    pub(crate) metadata: RowGroupMetaData,
    /// The checksums of its columns.
    pub(crate) sums: Vec<u32>,
}
