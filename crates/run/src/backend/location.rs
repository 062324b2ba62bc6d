//! Where the dataset and the checkpoints of a workload are: a folder, or a prefix of a bucket.

use std::path::{Path, PathBuf};

use dlio_config::Workload;
use dlio_config::location::Location;
use dlio_config::vocabulary::{StorageType, UriScheme};
use dlio_event::S3Uri;

use crate::failure::Failure;

/// Where the data set lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A folder of a file system.
    Local {
        /// The folder.
        root: PathBuf,
    },
    /// A prefix of a bucket.
    S3 {
        /// Bucket.
        bucket: String,
        /// Prefix without slashes at its ends; empty: the whole bucket.
        prefix: String,
    },
}

impl Target {
    /// The target of a workload: the scheme of `dataset.data_folder` decides, then that of `storage.storage_root`, then
    /// `storage.*`.
    ///
    /// # Errors
    /// When the storage type has no implementation or names no bucket.
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
                // Components leave out what `.` and doubled slashes add to `./` joined with `./data`.
                Ok(folder_of(&Path::new(path).join(folder)))
            }
        }
    }

    /// The target of a workload's checkpoints. The scheme of `checkpoint.checkpoint_folder` decides; without one it is, on
    /// object storage, a prefix in the bucket, and elsewhere a folder that `storage.storage_root` is not put before, as in
    /// the reference.
    ///
    /// # Errors
    /// As [`Target::of`].
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

    /// Where it is, whatever the current folder: a URI, or an absolute path.
    pub fn place(&self) -> String {
        match self {
            Self::Local { root } => match std::path::absolute(root) {
                Ok(path) => path.components().collect::<PathBuf>().display().to_string(),
                Err(_) => root.display().to_string(),
            },
            Self::S3 { .. } => self.name(),
        }
    }

    /// Name for messages.
    pub fn name(&self) -> String {
        match self {
            Self::Local { root } => root.display().to_string(),
            Self::S3 { bucket, prefix } => S3Uri { bucket, key: prefix }.to_string(),
        }
    }
}

const ROOT: &str = "storage.storage_root";

/// What a key names.
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

/// Whether the fork's `uri_scheme` makes a bucket a folder.
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
