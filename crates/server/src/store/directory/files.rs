//! Looks up the files of objects and the folders of buckets.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::key_path::{EncodedKey, aside};
use crate::store::error::StoreError;

pub(super) fn require_bucket(path: &Path) -> Result<(), StoreError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(StoreError::NoSuchBucket),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::NoSuchBucket),
        Err(error) => Err(StoreError::io("looking up the bucket")(error)),
    }
}

/// Opens the file of an object: under its plain path, or aside if a folder has that name.
pub(super) fn find(bucket: &Path, key: &EncodedKey) -> Result<(File, fs::Metadata), StoreError> {
    let plain = bucket.join(key.path());
    let aside = aside(&plain);
    for path in [&plain, &aside] {
        let opened = fs::OpenOptions::new().read(true).custom_flags(OPEN_FLAGS.bits().cast_signed()).open(path);
        match opened.and_then(|file| file.metadata().map(|metadata| (file, metadata))) {
            Ok((file, metadata)) if metadata.is_file() => return Ok((file, metadata)),
            Ok(_) => {}
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(StoreError::io("opening the object's file")(error)),
        }
    }
    require_bucket(bucket)?;
    Err(StoreError::NoSuchKey)
}

/// Opening a pipe in the directory must not block the server.
pub(super) const OPEN_FLAGS: OFlags = OFlags::NONBLOCK;

/// Opens a file that the kernel can open without waiting for the disk; `None` in every other case.
pub(super) fn open_cached(path: &Path, flags: OFlags) -> Option<(File, fs::Metadata)> {
    let flags = flags | OFlags::CLOEXEC;
    let opened = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED).ok()?;
    let file = File::from(opened);
    let metadata = file.metadata().ok()?;
    Some((file, metadata))
}

pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory)
        || error.raw_os_error() == Some(Errno::NAMETOOLONG.raw_os_error())
}

pub(super) fn modified(metadata: &fs::Metadata) -> SystemTime {
    metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH)
}
