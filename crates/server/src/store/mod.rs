//! The objects below the protocol: buckets, objects and multipart uploads, in memory or in a directory.
//!
//! Invariant: an object appears under its key complete or not at all, and a reader keeps the version that it opened.

mod acl;
mod attributes;
mod bucket_name;
mod budget;
mod condition;
mod directory;
mod error;
mod memory;
mod object;
mod opened;
mod query;
mod segments;
mod stat;
mod tag;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use s3s::crypto::{Checksum as _, Md5};

use crate::Error;
pub(crate) use acl::{Acl, Caller, Grant, Grantee, Permission, allows};
pub(crate) use attributes::{Algorithm, Attributes, BucketSettings, PublicAccessBlock, StoredChecksum, StoredPart};
pub(crate) use bucket_name::is_bucket_name;
pub(crate) use budget::Budget;
pub(crate) use condition::{Condition, Deletion, TagPattern};
use directory::Directory;
pub(crate) use error::StoreError;
use memory::Memory;
pub(crate) use object::{Completion, Part, Target, Upload, UploadInProgress};
pub(crate) use opened::{OpenObject, Reader};
pub(crate) use query::{ListStart, Page, Query};
pub(crate) use stat::Stat;
pub use tag::EntityTags;
pub(crate) use tag::Tag;

/// A store of buckets and objects. Clones share the same objects.
#[derive(Clone)]
pub struct ObjectStore {
    kind: Kind,
    tags: EntityTags,
}

#[derive(Clone)]
enum Kind {
    Memory(Arc<Memory>),
    Directory(Arc<Directory>),
}

/// Evaluates the same expression for either kind of store.
macro_rules! each {
    ($kind:expr, $store:ident => $call:expr) => {
        match &$kind {
            Kind::Memory($store) => $call,
            Kind::Directory($store) => $call,
        }
    };
}

impl ObjectStore {
    /// Creates an empty store in memory, which is freed when the last clone is dropped.
    ///
    /// # Errors
    /// When the operating system provides no random bytes for entity tags.
    pub fn memory() -> Result<Self, Error> {
        Self::memory_within(Budget::new(None), EntityTags::default())
    }

    /// Like [`ObjectStore::memory`], with a memory limit that other stores may share.
    pub(crate) fn memory_within(budget: Arc<Budget>, tags: EntityTags) -> Result<Self, Error> {
        Ok(Self { kind: Kind::Memory(Arc::new(Memory::new(budget).map_err(Error::Random)?)), tags })
    }

    /// Opens the store in a directory, which is created if missing. Any number of clones, processes and hosts may
    /// share a directory, because no state is kept elsewhere. With `durable`, an object is on stable storage before
    /// its write is acknowledged.
    ///
    /// # Errors
    /// When the directory cannot be created or written.
    pub fn directory(path: &Path, durable: bool, tags: EntityTags) -> Result<Self, Error> {
        Ok(Self { kind: Kind::Directory(Arc::new(Directory::at(path, durable, tags)?)), tags })
    }

    pub(crate) async fn create_bucket(&self, bucket: &str, settings: BucketSettings) -> Result<(), StoreError> {
        each!(self.kind, store => store.create_bucket(bucket, settings).await)
    }

    /// Returns the settings of a bucket.
    pub(crate) async fn settings(&self, bucket: &str) -> Result<BucketSettings, StoreError> {
        each!(self.kind, store => store.settings(bucket).await)
    }

    /// Changes the settings of a bucket.
    pub(crate) async fn change_settings(
        &self,
        bucket: &str,
        change: impl FnOnce(&mut BucketSettings) + Send + 'static,
    ) -> Result<(), StoreError> {
        each!(self.kind, store => store.change_settings(bucket, change).await)
    }

    pub(crate) async fn head_bucket(&self, bucket: &str) -> Result<(), StoreError> {
        each!(self.kind, store => store.head_bucket(bucket).await)
    }

    pub(crate) async fn delete_bucket(&self, bucket: &str) -> Result<(), StoreError> {
        each!(self.kind, store => store.delete_bucket(bucket).await)
    }

    pub(crate) async fn buckets(&self) -> Result<Vec<(String, SystemTime)>, StoreError> {
        each!(self.kind, store => store.buckets().await)
    }

    /// Opens an object. The reader sees this version, even if the object is replaced later.
    pub(crate) async fn open(&self, bucket: &str, key: &str) -> Result<OpenObject, StoreError> {
        each!(self.kind, store => store.open(bucket, key).await)
    }

    /// Changes the metadata of an object without creating a new version.
    pub(crate) async fn change_attributes(
        &self,
        bucket: &str,
        key: &str,
        change: impl FnOnce(&mut Attributes) + Send + 'static,
    ) -> Result<(), StoreError> {
        each!(self.kind, store => store.change_attributes(bucket, key, change).await)
    }

    /// Removes objects, and returns one result per object in the same order. Removing an object that does not exist
    /// is no error.
    pub(crate) async fn delete(
        &self,
        bucket: &str,
        deletions: Vec<Deletion>,
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        each!(self.kind, store => store.delete(bucket, deletions).await)
    }

    pub(crate) async fn list(&self, bucket: &str, query: Query) -> Result<Page, StoreError> {
        each!(self.kind, store => store.list(bucket, query).await)
    }

    /// Begins to write an object or part. It becomes visible with [`UploadWriter::commit`]; before that, dropping the
    /// writer leaves nothing behind. `expected` is the announced size in bytes, for which memory is reserved.
    pub(crate) fn writer(&self, expected: u64) -> Result<UploadWriter, StoreError> {
        let kind = match &self.kind {
            Kind::Memory(store) => WriterKind::Memory(store.writer(expected)?),
            Kind::Directory(store) => WriterKind::Directory(store.writer()),
        };
        let is_tag = self.tags == EntityTags::Md5;
        Ok(UploadWriter { kind, md5: is_tag.then(Md5::new), digest: None, is_tag })
    }

    pub(crate) async fn create_upload(
        &self,
        bucket: &str,
        key: &str,
        attributes: Attributes,
    ) -> Result<String, StoreError> {
        each!(self.kind, store => store.create_upload(bucket, key, attributes).await)
    }

    /// Assembles the object from the parts, in the given order, and ends the upload.
    pub(crate) async fn complete_upload(&self, upload: Upload, completion: Completion) -> Result<Stat, StoreError> {
        each!(self.kind, store => store.complete_upload(upload, completion).await)
    }

    pub(crate) async fn abort_upload(&self, upload: Upload) -> Result<(), StoreError> {
        each!(self.kind, store => store.abort_upload(upload).await)
    }

    /// Returns the metadata that was given when the upload was created.
    pub(crate) async fn upload_attributes(&self, upload: Upload) -> Result<Arc<Attributes>, StoreError> {
        each!(self.kind, store => store.upload_attributes(upload).await)
    }

    /// Returns the parts of an upload in ascending order of their numbers.
    pub(crate) async fn parts(&self, upload: Upload) -> Result<Vec<Part>, StoreError> {
        each!(self.kind, store => store.parts(upload).await)
    }

    /// Returns the uploads in progress, ordered by key and start time.
    pub(crate) async fn uploads(&self, bucket: &str) -> Result<Vec<UploadInProgress>, StoreError> {
        each!(self.kind, store => store.uploads(bucket).await)
    }
}

impl fmt::Debug for ObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Memory(_) => f.write_str("ObjectStore::memory()"),
            Kind::Directory(store) => write!(f, "ObjectStore::directory({:?})", store.root()),
        }
    }
}

/// Writes an object or part; dropping it without a commit leaves nothing behind.
pub(crate) struct UploadWriter {
    kind: WriterKind,
    /// MD5 of the bytes appended so far, if a digest is needed.
    md5: Option<Md5>,
    /// The digest, once no more bytes are appended.
    digest: Option<[u8; 16]>,
    /// Whether the digest becomes the entity tag.
    is_tag: bool,
}

enum WriterKind {
    Memory(memory::UploadWriter),
    Directory(directory::UploadWriter),
}

impl UploadWriter {
    /// Requests the MD5 of all bytes, even if it does not become the entity tag.
    pub(crate) fn compute_md5(&mut self) {
        self.md5.get_or_insert_with(Md5::new);
    }

    /// Appends bytes.
    pub(crate) async fn push(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        if let Some(md5) = &mut self.md5 {
            md5.update(&bytes);
        }
        match &mut self.kind {
            // An empty write to a file would report an error as zero bytes written.
            _ if bytes.is_empty() => {}
            WriterKind::Memory(draft) => draft.push(&bytes)?,
            WriterKind::Directory(draft) => draft.push(bytes).await?,
        }
        Ok(())
    }

    /// Returns the MD5 of all appended bytes if it was requested. No bytes may be appended afterwards.
    pub(crate) fn md5(&mut self) -> Option<[u8; 16]> {
        if let Some(md5) = self.md5.take() {
            self.digest = Some(md5.finalize());
        }
        self.digest
    }

    /// Makes the object or part visible.
    pub(crate) async fn commit(mut self, target: Target) -> Result<Stat, StoreError> {
        let tag = self.md5().filter(|_| self.is_tag).map(Tag::Md5);
        match self.kind {
            WriterKind::Memory(draft) => draft.commit(target, tag),
            WriterKind::Directory(draft) => draft.commit(target, tag).await,
        }
    }
}
