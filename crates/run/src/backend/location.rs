//! Where the dataset and the checkpoints of a workload are: a folder, or a prefix of a bucket.

use std::path::{Path, PathBuf};

use dlio_config::Workload;
use dlio_config::location::Location;
use dlio_config::vocabulary::{StorageType, UriScheme};
use dlio_event::S3Uri;

use crate::failure::Failure;

/// Location of a dataset or of checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A folder of a file system.
    Local {
        /// Path of the folder.
        root: PathBuf,
    },
    /// A prefix of a bucket.
    S3 {
        /// Name of the bucket.
        bucket: String,
        /// Prefix without leading and trailing slashes; empty if it is the whole bucket.
        prefix: String,
    },
}

impl Target {
    /// Returns the location of a workload's dataset. The scheme of `dataset.data_folder` decides, then that of
    /// `storage.storage_root`, then `storage.storage_type`.
    ///
    /// # Errors
    /// If the storage type is not implemented, or no bucket is named.
    pub fn of(workload: &Workload) -> Result<Self, Failure> {
        let storage = &workload.storage;
        let folder = workload.dataset.data_folder.as_str();
        let root = located(ROOT, &storage.storage_root)?;
        let folder = match located("dataset.data_folder", folder)? {
            Location::Plain(folder) => folder,
            Location::File(path) => return Ok(folder_of(Path::new(path))),
            Location::Direct(_) => return Err(direct("dataset.data_folder")),
            Location::S3(uri) => return bucket_and_prefix(uri, ""),
        };
        let on_s3 = storage.storage_type == StorageType::S3 && !names_folders(workload);
        match root {
            Location::S3(bucket) => bucket_and_prefix(bucket, folder),
            Location::Plain(bucket) if on_s3 => bucket_and_prefix(S3Uri::from_path(bucket), folder),
            Location::Plain(path) | Location::File(path) | Location::Direct(path) => {
                implemented(storage.storage_type)?;
                // Collecting path components removes `.` and doubled slashes, as in `./` joined with `./data`.
                Ok(folder_of(&Path::new(path).join(folder)))
            }
        }
    }

    /// Returns the location of a workload's checkpoints. The scheme of `checkpoint.checkpoint_folder` decides. Without
    /// a scheme it is a prefix in the bucket on object storage, and elsewhere a folder to which, as in DLIO,
    /// `storage.storage_root` is not prepended.
    ///
    /// # Errors
    /// The same as those of [`Target::of`].
    pub fn of_checkpoints(workload: &Workload) -> Result<Self, Failure> {
        const KEY: &str = "checkpoint.checkpoint_folder";
        let storage = &workload.storage;
        let path = match located(KEY, &workload.checkpoint.checkpoint_folder)? {
            Location::Plain(path) => path,
            Location::File(path) => return Ok(folder_of(Path::new(path))),
            Location::Direct(_) => return Err(direct(KEY)),
            Location::S3(uri) => return bucket_and_prefix(uri, ""),
        };
        match located(ROOT, &storage.storage_root)? {
            Location::S3(bucket) => bucket_and_prefix(bucket, path),
            Location::Plain(bucket) if storage.storage_type == StorageType::S3 => {
                bucket_and_prefix(S3Uri::from_path(bucket), path)
            }
            _ => {
                implemented(storage.storage_type)?;
                Ok(folder_of(Path::new(path)))
            }
        }
    }

    /// Returns the URI or the absolute path.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Local { root } => match std::path::absolute(root) {
                Ok(path) => path.components().collect::<PathBuf>().display().to_string(),
                Err(_) => root.display().to_string(),
            },
            Self::S3 { .. } => self.name(),
        }
    }

    /// Returns the URI, or the path as it was configured, for messages.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Local { root } => root.display().to_string(),
            Self::S3 { bucket, prefix } => S3Uri { bucket, key: prefix }.to_string(),
        }
    }
}

const ROOT: &str = "storage.storage_root";

/// Parses the location that the configuration key `key` names.
fn located<'a>(key: &str, text: &'a str) -> Result<Location<'a>, Failure> {
    Location::parse(text).map_err(|why| Failure::usage(format_args!("{key}: {why}")))
}

fn direct(key: &str) -> Failure {
    Failure::usage(format_args!(
        "{key}: direct:// is a word of storage.storage_root only; for reads past the page cache write a path and reader.odirect: true"
    ))
}

fn folder_of(path: &Path) -> Target {
    Target::Local { root: path.components().collect() }
}

/// Whether the MLPerf fork's `uri_scheme` turns the bucket into a folder.
fn names_folders(workload: &Workload) -> bool {
    matches!(workload.storage.uri_scheme, Some(UriScheme::File | UriScheme::Direct))
}

fn implemented(kind: StorageType) -> Result<(), Failure> {
    match kind {
        StorageType::S3 | StorageType::LocalFs | StorageType::DirectFs => Ok(()),
        StorageType::ParallelFs | StorageType::Aistore => Err(Failure::usage(format_args!(
            "storage.storage_type: {kind} has no implementation here; use local_fs for a mounted file system, s3 for an object store"
        ))),
    }
}

fn bucket_and_prefix(S3Uri { bucket, key: prefix }: S3Uri<'_>, folder: &str) -> Result<Target, Failure> {
    if bucket.is_empty() || bucket == "." || bucket == ".." {
        return Err(Failure::usage(
            "no bucket is named: set dataset.data_folder to s3://BUCKET[/PREFIX], or storage.storage_root to the bucket",
        ));
    }
    let parts = [prefix, folder].into_iter().flat_map(|part| part.split('/'));
    let prefix = parts.filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join("/");
    Ok(Target::S3 { bucket: bucket.to_owned(), prefix })
}
