//! Stores attributes of objects and settings of buckets on disk.
//!
//! Attributes are JSON in the extended attribute `user.dlio-rs` of the object's file, so that a rename keeps both
//! together. JSON that is too long (file systems guarantee little more than 3 KiB) is stored in a separate file below
//! `.dlio-rs/attributes/<bucket>/`, whose name is in the extended attribute. The settings of a bucket are in
//! `.dlio-rs/buckets/<bucket>.json`.
//!
//! If attributes contain a checksum or parts, the extended attribute `user.dlio-rs.of` identifies the version of the
//! file to which these belong, in the form used for entity tags. After another program has changed the file, the
//! object has neither.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dlio_storage::random::random_hex;
use dlio_storage::replace_file;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::files::{find, require_bucket};
use super::key_path::EncodedKey;
use super::root::{Directory, PRIVATE};
use super::tags::{VERSION_BYTES, version};
use crate::store::attributes::{Attributes, BucketSettings, StoredChecksum};
use crate::store::error::StoreError;

const NAME: &str = "user.dlio-rs";
const OF: &str = "user.dlio-rs.of";
/// Longest text that is stored in the extended attribute, in bytes.
const INLINE_BYTES: usize = 3000;
/// Beginning of a text that names a file instead of containing the attributes.
const ASIDE: &[u8] = b"{\"aside\":";

/// The content of the extended attribute if the attributes are too long for it.
#[derive(Serialize, Deserialize)]
struct SeparateFile {
    /// Name of the file below `.dlio-rs/attributes/<bucket>/`.
    aside: String,
}

/// Returns the text of the extended attribute; `None` if there is none.
fn text(file: &File) -> Option<Vec<u8>> {
    let mut buffer = [0_u8; 4096];
    let length = rustix::fs::fgetxattr(file, NAME, &mut buffer[..]).ok()?;
    Some(buffer[..length].to_vec())
}

/// Returns the name of the file, if the text names one.
fn aside_of(text: &[u8]) -> Option<String> {
    let name = text.starts_with(ASIDE).then(|| serde_json::from_slice::<SeparateFile>(text).ok()).flatten()?.aside;
    name.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(name)
}

/// Drops attributes that describe an earlier content of the file.
fn current(mut attributes: Attributes, file: &File) -> Attributes {
    if of_content(&attributes) && !is_unchanged(file) {
        (attributes.checksum, attributes.parts) = (None, Vec::new());
    }
    attributes
}

/// Returns whether attributes describe the content.
fn of_content(attributes: &Attributes) -> bool {
    attributes.checksum.is_some() || !attributes.parts.is_empty()
}

/// Returns whether a file still has the content for which its attributes were written.
fn is_unchanged(file: &File) -> bool {
    let mut of = [0_u8; VERSION_BYTES];
    let length = rustix::fs::fgetxattr(file, OF, &mut of[..]);
    length == Ok(VERSION_BYTES) && file.metadata().is_ok_and(|metadata| version(&metadata) == of)
}

/// Records, for a finished file, the version that its attributes describe, if they describe the content.
pub(super) fn mark(file: &File, metadata: &fs::Metadata, attributes: &Attributes) -> io::Result<()> {
    if of_content(attributes) { set(file, OF, &version(metadata)) } else { Ok(()) }
}

fn set(file: &File, name: &str, text: &[u8]) -> io::Result<()> {
    match rustix::fs::fsetxattr(file, name, text, rustix::fs::XattrFlags::empty()) {
        Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Writes the checksum of a part to its file.
pub(super) fn write_checksum(file: &File, checksum: Option<&StoredChecksum>) -> io::Result<()> {
    let Some(checksum) = checksum else { return Ok(()) };
    set(file, NAME, &serde_json::to_vec(checksum)?)
}

/// Reads the checksum of a part from its file.
pub(super) fn read_checksum(path: &Path) -> Option<StoredChecksum> {
    let mut buffer = [0_u8; 1024];
    let length = rustix::fs::getxattr(path, NAME, &mut buffer[..]).ok()?;
    serde_json::from_slice(&buffer[..length]).ok()
}

impl Directory {
    fn asides_of(&self, bucket: &str) -> PathBuf {
        self.root.join(PRIVATE).join("attributes").join(bucket)
    }

    fn settings_path(&self, bucket: &str) -> PathBuf {
        self.root.join(PRIVATE).join("buckets").join(format!("{bucket}.json"))
    }

    /// Reads the attributes of an object from its file.
    pub(super) fn read_attributes(&self, bucket: &str, file: &File) -> Result<Arc<Attributes>, StoreError> {
        let parse = |text: &[u8]| Arc::new(current(serde_json::from_slice(text).unwrap_or_default(), file));
        let Some(text) = text(file) else { return Ok(Arc::default()) };
        let Some(name) = aside_of(&text) else {
            return Ok(parse(&text));
        };
        match fs::read(self.asides_of(bucket).join(name)) {
            Ok(text) => Ok(parse(&text)),
            // A concurrent delete or overwrite has removed the file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Arc::default()),
            Err(error) => Err(StoreError::io("reading the attributes of an object")(error)),
        }
    }

    /// Writes the attributes of an object to its file. Returns the path of the separate file if the attributes are
    /// long.
    pub(super) fn write_attributes(
        &self,
        bucket: &str,
        file: &File,
        attributes: &Attributes,
    ) -> Result<Option<PathBuf>, StoreError> {
        let failed = StoreError::io("writing the attributes of an object");
        let text = serde_json::to_vec(attributes).map_err(io::Error::from).map_err(&failed)?;
        if text.len() <= INLINE_BYTES {
            return set(file, NAME, &text).map(|()| None).map_err(failed);
        }
        let aside = random_hex::<16>().map_err(&failed)?;
        let folder = self.asides_of(bucket);
        fs::create_dir_all(&folder).map_err(&failed)?;
        let path = folder.join(&aside);
        fs::write(&path, &text).map_err(&failed)?;
        let text = serde_json::to_vec(&SeparateFile { aside }).map_err(io::Error::from).map_err(&failed)?;
        set(file, NAME, &text).map(|()| Some(path)).map_err(failed)
    }

    /// Returns the separate file with the object's attributes, to be removed with the object. If no object of the
    /// bucket has one, this costs one lookup of a folder.
    pub(super) fn aside(&self, bucket: &str, key: &EncodedKey) -> Option<PathBuf> {
        let folder = self.asides_of(bucket);
        if !folder.exists() {
            return None;
        }
        let (file, _) = find(&self.bucket(bucket), key).ok()?;
        aside_of(&text(&file)?).map(|name| folder.join(name))
    }

    pub(crate) async fn change_attributes(
        self: &Arc<Self>,
        bucket: &str,
        key: &str,
        change: impl FnOnce(&mut Attributes) + Send + 'static,
    ) -> Result<(), StoreError> {
        let (bucket, key) = (bucket.to_owned(), EncodedKey::new(key));
        self.blocking(move |store| {
            let _turn = store.turn()?;
            let (file, _) = find(&store.bucket(&bucket), &key)?;
            let before = store.aside(&bucket, &key);
            let mut attributes = Arc::unwrap_or_clone(store.read_attributes(&bucket, &file)?);
            change(&mut attributes);
            store.write_attributes(&bucket, &file, &attributes)?;
            before.map_or(Ok(()), fs::remove_file).map_err(StoreError::io("removing old attributes of an object"))
        })
        .await
    }

    pub(crate) async fn settings(self: &Arc<Self>, bucket: &str) -> Result<BucketSettings, StoreError> {
        let bucket = bucket.to_owned();
        self.blocking(move |store| store.read_settings(&bucket)).await
    }

    pub(crate) async fn change_settings(
        self: &Arc<Self>,
        bucket: &str,
        change: impl FnOnce(&mut BucketSettings) + Send + 'static,
    ) -> Result<(), StoreError> {
        let bucket = bucket.to_owned();
        self.blocking(move |store| {
            let _turn = store.turn()?;
            let mut settings = store.read_settings(&bucket)?;
            change(&mut settings);
            store.write_settings(&bucket, &settings)
        })
        .await
    }

    fn read_settings(&self, bucket: &str) -> Result<BucketSettings, StoreError> {
        require_bucket(&self.bucket(bucket))?;
        let failed = StoreError::io("reading the settings of a bucket");
        match fs::read(self.settings_path(bucket)) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::from).map_err(failed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BucketSettings::default()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Writes the settings of a bucket; a reader sees the old or the new ones.
    pub(super) fn write_settings(&self, bucket: &str, settings: &BucketSettings) -> Result<(), StoreError> {
        let failed = StoreError::io("writing the settings of a bucket");
        let path = self.settings_path(bucket);
        if *settings == BucketSettings::default() && !path.exists() {
            return Ok(());
        }
        fs::create_dir_all(self.root.join(PRIVATE).join("buckets")).map_err(&failed)?;
        let text = serde_json::to_vec(settings).map_err(io::Error::from).map_err(&failed)?;
        replace_file(&self.draft_path(), &path, |draft| fs::write(draft, text)).map_err(failed)
    }

    /// Removes the settings of a bucket that was removed.
    pub(super) fn remove_settings(&self, bucket: &str) -> Result<(), StoreError> {
        let gone = |result: io::Result<()>| match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("removing the settings of a bucket")(error))
            }
            _ => Ok(()),
        };
        gone(fs::remove_file(self.settings_path(bucket)))?;
        gone(fs::remove_dir_all(self.asides_of(bucket)))
    }
}
