//! Selection of the Parquet reader of the MLPerf fork that a workload imitates, and the requests of that reader.

use crate::location::Location;
use crate::vocabulary::{Dialect, Format, RowGroupDecode, StorageLibrary, StorageType};
use crate::workload::Workload;

/// Parquet reader of the MLPerf fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowGroupReader {
    /// Reader of s3dlio: fetches several footers at a time and several row groups per request, with one window of
    /// requests.
    Index,
    /// Reader with a window of row groups over the ranges of a file, for local files, s3torchconnector and `direct`.
    Ranges,
    /// Reader without a window that sends one request after the other (minio).
    Serial,
}

impl Workload {
    /// Returns where the dataset is. The scheme of the data folder decides, then the scheme of the storage root, then
    /// `storage.storage_type`.
    #[must_use]
    pub fn stored_on(&self) -> StorageType {
        let storage = &self.storage;
        match (Location::parse(&self.dataset.data_folder), Location::parse(&storage.storage_root)) {
            (Ok(Location::S3(_)), _) | (Ok(Location::Plain(_)), Ok(Location::S3(_))) => StorageType::S3,
            (Ok(Location::File(_)), _) if storage.storage_type == StorageType::S3 => StorageType::LocalFs,
            _ => storage.storage_type,
        }
    }

    /// Returns the library whose reads are imitated; s3dlio if none is named and the dataset consists of objects.
    #[must_use]
    pub fn client_library(&self) -> StorageLibrary {
        let local = self.stored_on() == StorageType::LocalFs;
        self.storage.library.unwrap_or(if local { StorageLibrary::Posix } else { StorageLibrary::S3dlio })
    }

    /// Returns how Parquet files are read in dialect `mlperf`; `None` for other formats and dialects.
    #[must_use]
    pub fn row_group_reader(&self) -> Option<RowGroupReader> {
        let objects = matches!(self.stored_on(), StorageType::S3 | StorageType::Aistore);
        let parquet = self.dataset.format == Format::Parquet && self.dlio_rs.dialect == Dialect::Mlperf;
        parquet.then(|| match self.client_library() {
            StorageLibrary::S3dlio => RowGroupReader::Index,
            StorageLibrary::Minio if objects => RowGroupReader::Serial,
            _ => RowGroupReader::Ranges,
        })
    }

    /// Returns the number of consecutive row groups of a file per request: `coalesce_rgs` for the reader of s3dlio, 1
    /// otherwise.
    #[must_use]
    pub fn coalesce_rgs(&self) -> u64 {
        let windows = &self.storage.windows;
        let together = self.row_group_reader() == Some(RowGroupReader::Index) && windows.decode == RowGroupDecode::Raw;
        if together { u64::from(windows.coalesce_rgs).max(1) } else { 1 }
    }
}
