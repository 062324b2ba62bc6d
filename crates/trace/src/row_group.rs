//! Encoded row groups that a footer is going to list.

use parquet::file::metadata::RowGroupMetaData;

/// Metadata and checksums of an encoded row group.
#[derive(Debug, Clone)]
pub(crate) struct EncodedGroup {
    /// Metadata for the footer.
    pub(crate) metadata: RowGroupMetaData,
    /// Checksums of the column chunks.
    pub(crate) sums: Vec<u32>,
}
