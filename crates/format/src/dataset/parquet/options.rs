//! The options that only Parquet files have.

use std::io::Write as _;

use dlio_config::RowGroupReader;
use dlio_config::vocabulary::Dialect;
use dlio_config::workload::{ColumnSelection, Dataset, Workload};

use super::schema;
use crate::error::Error;

/// Bytes read from the end of a file for its footer, unless `footer_cap` is set.
const FOOTER_CAP: u64 = 4 << 20;
/// Bytes that pyarrow reads from the end of a file; it reads a longer footer whole after that.
const PYARROW_TAIL: u64 = 64 << 10;

/// Compression codec of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    None,
    Snappy,
    Gzip,
    Zstd,
}

impl Codec {
    /// Returns Parquet's number of the codec.
    pub(super) fn number(self) -> i32 {
        match self {
            Self::None => 0,
            Self::Snappy => 1,
            Self::Gzip => 2,
            Self::Zstd => 6,
        }
    }

    /// Compresses a page. Equal input gives equal output; no codec fails on input that fits into a page.
    pub(super) fn compress(self, plain: Vec<u8>) -> Vec<u8> {
        match self {
            Self::None => plain,
            Self::Snappy => snap::raw::Encoder::new().compress_vec(&plain).unwrap_or_default(),
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                // Writing to memory cannot fail.
                encoder.write_all(&plain).and_then(|()| encoder.finish()).unwrap_or_default()
            }
            Self::Zstd => zstd::bulk::compress(&plain, 1).unwrap_or_default(),
        }
    }
}

/// The columns that are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SelectedColumns {
    All,
    /// From the first to the last of these columns, including those between.
    Span(ColumnSelection),
    /// Only the columns with these names.
    Only(Vec<String>),
}

/// The Parquet options of the configuration.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Columns; if empty, a single column of bytes.
    pub(super) columns: Vec<schema::Column>,
    pub(super) row_group_size: u64,
    pub(super) codec: Codec,
    pub(super) footer_cap: u64,
    /// A longer footer is read again from its start, rather than only its missing part.
    pub(super) footer_again: bool,
    /// Number of row groups that are read in one range.
    pub(crate) coalesce: u64,
    pub(super) selected: SelectedColumns,
}

impl Default for Options {
    fn default() -> Self {
        let (columns, selected) = (Vec::new(), SelectedColumns::All);
        let (footer_cap, footer_again) = (FOOTER_CAP, false);
        Self { columns, row_group_size: 1, codec: Codec::None, footer_cap, footer_again, coalesce: 1, selected }
    }
}

impl Options {
    /// # Errors
    /// Returns an error for a compression that pages do not support.
    pub(crate) fn new(dataset: &Dataset) -> Result<Self, Error> {
        let codec = match dataset.compression.as_deref() {
            None => Codec::None,
            Some("snappy") => Codec::Snappy,
            Some("gzip") => Codec::Gzip,
            Some("zstd") => Codec::Zstd,
            Some(word) => {
                return Err(Error::Option {
                    option: format!("dataset.compression: {word}"),
                    reason: "Parquet pages are compressed with snappy, gzip or zstd, or not at all".to_owned(),
                });
            }
        };
        Ok(Self {
            columns: dataset.parquet.columns.iter().map(schema::Column::new).collect(),
            row_group_size: dataset.parquet.row_group_size,
            codec,
            ..Self::default()
        })
    }

    /// Sets how the workload reads: the footer, coalesced row groups and selected columns, as the dialect prescribes.
    pub(crate) fn read_as(&mut self, workload: &Workload) {
        let windows = &workload.storage.windows;
        self.footer_again =
            matches!(workload.row_group_reader(), Some(RowGroupReader::Ranges | RowGroupReader::Serial));
        self.footer_cap = if self.footer_again { PYARROW_TAIL } else { windows.footer_cap.max(8) };
        self.coalesce = workload.coalesce_rgs();
        let only = |column: &schema::Column| column.read.then(|| column.name.clone());
        self.selected = match &windows.columns {
            Some(selection) => SelectedColumns::Span(selection.clone()),
            None if workload.dlio_rs.dialect == Dialect::Native && self.columns.iter().any(|column| !column.read) => {
                SelectedColumns::Only(self.columns.iter().filter_map(only).collect())
            }
            None => SelectedColumns::All,
        };
    }

    /// Returns whether pages are compressed, so that their length depends on their content.
    pub(crate) fn is_compressed(&self) -> bool {
        self.codec != Codec::None
    }

    pub(super) fn columns(&self, dims: &[u64]) -> Vec<schema::Column> {
        if self.columns.is_empty() {
            let bytes = dims.iter().fold(1_u64, |bytes, &dim| bytes.saturating_mul(dim));
            return vec![schema::Column::bytes(bytes)];
        }
        self.columns.clone()
    }

    /// Returns the size in bytes of the values of one sample; saturates.
    pub(crate) fn sample_bytes(&self, dims: &[u64]) -> u64 {
        let columns = self.columns(dims);
        let bytes = |column: &schema::Column| match column.values {
            schema::Values::Texts => schema::TEXT,
            schema::Values::Bits => 1,
            values => values.payload(column.per_row()).unwrap_or(u64::MAX),
        };
        columns.iter().map(bytes).fold(0, u64::saturating_add)
    }
}
