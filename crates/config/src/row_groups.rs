//! Which of the MLPerf fork's readers of Parquet a workload means, and what that reader asks for.

use crate::location::Location;
use crate::vocabulary::{Dialect, Format, RowGroupDecode, StorageLibrary, StorageType};
use crate::workload::Workload;

/// A reader of Parquet in the MLPerf fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowGroupReader {
    /// That of s3dlio: several footers at a time, several row groups per request, one window of requests.
    Index,
    /// A window of row groups over the ranges of a file: local files, s3torchconnector, `direct`.
    Ranges,
    /// The same without a window: one request after the other (minio).
    Serial,
}

impl Workload {
    /// Where the data set is: the scheme of its folder decides, then that of the root, whatever `storage.storage_type` says.
    #[must_use]
    pub fn stored_on(&self) -> StorageType {
        let storage = &self.storage;
        match (Location::parse(&self.dataset.data_folder), Location::parse(&storage.storage_root)) {
            (Ok(Location::S3(_)), _) | (Ok(Location::Plain(_)), Ok(Location::S3(_))) => StorageType::S3,
            (Ok(Location::File(_)), _) if storage.storage_type == StorageType::S3 => StorageType::LocalFs,
            _ => storage.storage_type,
        }
    }

    /// The library whose way of reading is imitated: s3dlio where none is said and there are objects to read.
    #[must_use]
    pub fn client_library(&self) -> StorageLibrary {
        let local = self.stored_on() == StorageType::LocalFs;
        self.storage.library.unwrap_or(if local { StorageLibrary::Posix } else { StorageLibrary::S3dlio })
    }

    /// How Parquet files are read in dialect `mlperf`; `None`: not Parquet, or another dialect.
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

    /// Consecutive row groups of a file that one request asks for: the key of that name where its reader is meant, else 1.
    #[must_use]
    pub fn coalesce_rgs(&self) -> u64 {
        let windows = &self.storage.windows;
        let together = self.row_group_reader() == Some(RowGroupReader::Index) && windows.decode == RowGroupDecode::Raw;
        if together { u64::from(windows.coalesce_rgs).max(1) } else { 1 }
    }
}
