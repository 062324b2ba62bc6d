//! Where attributes of objects and settings of buckets live on disk.
//!
//! Attributes are JSON in the extended attribute `user.dlio-rs` of the object's file, so that a rename keeps both
//! together. What is too long for that (file systems guarantee little more than 3 KiB) is a file of its own below
//! `.dlio-rs/attributes/<bucket>/`, whose name is in the extended attribute. Settings of a bucket are
//! `.dlio-rs/buckets/<bucket>.json`.
//!
//! Beside a checksum or parts, the extended attribute `user.dlio-rs.of` says which version of the file they are of, in
//! the form that entity tags have: once another program has changed the file, the object has neither.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::escape::Escaped;
use super::tags::{VERSION_BYTES, version};
use super::{Directory, PRIVATE, find, require_bucket};
use crate::vault::{Attributes, BucketSettings, Fault, StoredChecksum};
use dlio_storage::random::random_hex;

const NAME: &str = "user.dlio-rs";
const OF: &str = "user.dlio-rs.of";
/// Longest text that is kept in the extended attribute, in bytes.
const INLINE_BYTES: usize = 3000;
/// How a text begins that names a file instead of being the attributes.
const ASIDE: &[u8] = b"{\"aside\":";

/// What is in the extended attribute instead of attributes that are too long for it.
#[derive(Serialize, Deserialize)]
struct Aside {
    /// Name of the file below `.dlio-rs/attributes/<bucket>/`.
    aside: String,
}

/// The text of the extended attribute; `None` where there is none.
fn text(file: &File) -> Option<Vec<u8>> {
    let mut buffer = [0_u8; 4096];
    let length = rustix::fs::fgetxattr(file, NAME, &mut buffer[..]).ok()?;
    Some(buffer[..length].to_vec())
}

/// The name of the file that the text stands for, if it does.
fn aside_of(text: &[u8]) -> Option<String> {
    let name = text.starts_with(ASIDE).then(|| serde_json::from_slice::<Aside>(text).ok()).flatten()?.aside;
    name.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(name)
}

/// Drops what is said of other content than the file has now.
fn current(mut attributes: Attributes, file: &File) -> Attributes {
    if of_content(&attributes) && !is_unchanged(file) {
        (attributes.checksum, attributes.parts) = (None, Vec::new());
    }
    attributes
}

/// Whether attributes say something of the content.
fn of_content(attributes: &Attributes) -> bool {
    attributes.checksum.is_some() || !attributes.parts.is_empty()
}

/// Whether a file has the content that its attributes were written for.
fn is_unchanged(file: &File) -> bool {
    let mut of = [0_u8; VERSION_BYTES];
    let length = rustix::fs::fgetxattr(file, OF, &mut of[..]);
    length == Ok(VERSION_BYTES) && file.metadata().is_ok_and(|metadata| version(&metadata) == of)
}

/// Writes to a finished file which version of it the attributes are of, where that matters.
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
    pub(super) fn read_attributes(&self, bucket: &str, file: &File) -> Result<Arc<Attributes>, Fault> {
        let parse = |text: &[u8]| Arc::new(current(serde_json::from_slice(text).unwrap_or_default(), file));
        let Some(text) = text(file) else { return Ok(Arc::default()) };
        let Some(name) = aside_of(&text) else {
            return Ok(parse(&text));
        };
        match fs::read(self.asides_of(bucket).join(name)) {
            Ok(text) => Ok(parse(&text)),
            // A delete or an overwrite was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Arc::default()),
            Err(error) => Err(Fault::io("reading the attributes of an object")(error)),
        }
    }

    /// Writes the attributes of an object to its file; returns the file beside it that they are in, if they are long.
    pub(super) fn write_attributes(
        &self,
        bucket: &str,
        file: &File,
        attributes: &Attributes,
    ) -> Result<Option<PathBuf>, Fault> {
        let failed = Fault::io("writing the attributes of an object");
        let text = serde_json::to_vec(attributes).map_err(io::Error::from).map_err(&failed)?;
        if text.len() <= INLINE_BYTES {
            return set(file, NAME, &text).map(|()| None).map_err(failed);
        }
        let aside = random_hex::<16>().map_err(&failed)?;
        let folder = self.asides_of(bucket);
        fs::create_dir_all(&folder).map_err(&failed)?;
        let path = folder.join(&aside);
        fs::write(&path, &text).map_err(&failed)?;
        let text = serde_json::to_vec(&Aside { aside }).map_err(io::Error::from).map_err(&failed)?;
        set(file, NAME, &text).map(|()| Some(path)).map_err(failed)
    }

    /// The file beside the object that holds its attributes; to be removed once the object is gone. Costs one look at
    /// a folder where no object of the bucket has such a file.
    pub(super) fn aside(&self, bucket: &str, key: &Escaped) -> Option<PathBuf> {
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
    ) -> Result<(), Fault> {
        let (bucket, key) = (bucket.to_owned(), Escaped::new(key));
        self.blocking(move |store| {
            let _turn = store.turn()?;
            let (file, _) = find(&store.bucket(&bucket), &key)?;
            let before = store.aside(&bucket, &key);
            let mut attributes = Arc::unwrap_or_clone(store.read_attributes(&bucket, &file)?);
            change(&mut attributes);
            store.write_attributes(&bucket, &file, &attributes)?;
            before.map_or(Ok(()), fs::remove_file).map_err(Fault::io("removing old attributes of an object"))
        })
        .await
    }

    pub(crate) async fn settings(self: &Arc<Self>, bucket: &str) -> Result<BucketSettings, Fault> {
        let bucket = bucket.to_owned();
        self.blocking(move |store| store.read_settings(&bucket)).await
    }

    pub(crate) async fn change_settings(
        self: &Arc<Self>,
        bucket: &str,
        change: impl FnOnce(&mut BucketSettings) + Send + 'static,
    ) -> Result<(), Fault> {
        let bucket = bucket.to_owned();
        self.blocking(move |store| {
            let _turn = store.turn()?;
            let mut settings = store.read_settings(&bucket)?;
            change(&mut settings);
            store.write_settings(&bucket, &settings)
        })
        .await
    }

    fn read_settings(&self, bucket: &str) -> Result<BucketSettings, Fault> {
        require_bucket(&self.bucket(bucket))?;
        let failed = Fault::io("reading the settings of a bucket");
        match fs::read(self.settings_path(bucket)) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::from).map_err(failed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BucketSettings::default()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Writes the settings of a bucket; a reader sees the old ones or the new ones.
    pub(super) fn write_settings(&self, bucket: &str, settings: &BucketSettings) -> Result<(), Fault> {
        let failed = Fault::io("writing the settings of a bucket");
        let path = self.settings_path(bucket);
        if *settings == BucketSettings::default() && !path.exists() {
            return Ok(());
        }
        fs::create_dir_all(self.root.join(PRIVATE).join("buckets")).map_err(&failed)?;
        let text = serde_json::to_vec(settings).map_err(io::Error::from).map_err(&failed)?;
        let draft = self.draft_path();
        fs::write(&draft, text).map_err(&failed)?;
        fs::rename(draft, path).map_err(failed)
    }

    /// Removes what was kept of a bucket that is gone.
    pub(super) fn remove_settings(&self, bucket: &str) -> Result<(), Fault> {
        let gone = |result: io::Result<()>| match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Fault::io("removing the settings of a bucket")(error))
            }
            _ => Ok(()),
        };
        gone(fs::remove_file(self.settings_path(bucket)))?;
        gone(fs::remove_dir_all(self.asides_of(bucket)))
    }
}
