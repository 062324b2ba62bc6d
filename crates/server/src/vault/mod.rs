//! The objects beneath the protocol: buckets, objects, uploads in parts; in memory or in a directory.
//!
//! Invariant: an object appears under its key complete or not at all, and a reader keeps the version that it opened.

mod acl;
mod attributes;
mod budget;
mod condition;
mod directory;
mod memory;
mod query;
mod tag;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use futures::Stream;
use serde::{Deserialize, Serialize};

use crate::Error;
pub(crate) use acl::{Acl, Caller, Grant, Grantee, Permission, allows};
pub(crate) use attributes::{Algorithm, Attributes, BucketSettings, PublicAccessBlock, StoredChecksum, StoredPart};
pub(crate) use budget::Budget;
pub(crate) use condition::{Condition, Deletion, TagPattern};
use directory::Directory;
use memory::Memory;
pub(crate) use query::{From, Page, Query};
use s3s::crypto::{Checksum as _, Md5};
pub use tag::EntityTags;
pub(crate) use tag::Tag;

/// A store of buckets and objects. A clone is another handle on the same objects.
#[derive(Clone)]
pub struct Vault {
    kind: Kind,
    tags: EntityTags,
}

#[derive(Clone)]
enum Kind {
    Memory(Arc<Memory>),
    Directory(Arc<Directory>),
}

/// Runs the same expression on whichever store this is.
macro_rules! each {
    ($kind:expr, $store:ident => $call:expr) => {
        match &$kind {
            Kind::Memory($store) => $call,
            Kind::Directory($store) => $call,
        }
    };
}

impl Vault {
    /// An empty store in memory; it is gone when the last handle is dropped.
    ///
    /// # Errors
    /// When the operating system gives no random bytes for the entity tags.
    pub fn memory() -> Result<Self, Error> {
        Self::memory_within(Budget::new(None), EntityTags::default())
    }

    /// As [`Vault::memory`], within a limit that other stores may share.
    pub(crate) fn memory_within(budget: Arc<Budget>, tags: EntityTags) -> Result<Self, Error> {
        Ok(Self { kind: Kind::Memory(Arc::new(Memory::new(budget).map_err(Error::Random)?)), tags })
    }

    /// The store in a directory, which is created where it is missing. Any number of handles, processes and hosts
    /// may share one directory: what is on disk is the only truth. With `durable`, an object is on stable storage
    /// before its write is acknowledged.
    ///
    /// # Errors
    /// When the directory cannot be created or written.
    pub fn directory(path: &Path, durable: bool, tags: EntityTags) -> Result<Self, Error> {
        Ok(Self { kind: Kind::Directory(Arc::new(Directory::at(path, durable, tags)?)), tags })
    }

    pub(crate) async fn create_bucket(&self, bucket: &str, settings: BucketSettings) -> Result<(), Fault> {
        each!(self.kind, store => store.create_bucket(bucket, settings).await)
    }

    /// What is kept of a bucket beside its objects.
    pub(crate) async fn settings(&self, bucket: &str) -> Result<BucketSettings, Fault> {
        each!(self.kind, store => store.settings(bucket).await)
    }

    /// Changes what is kept of a bucket beside its objects.
    pub(crate) async fn change_settings(
        &self,
        bucket: &str,
        change: impl FnOnce(&mut BucketSettings) + Send + 'static,
    ) -> Result<(), Fault> {
        each!(self.kind, store => store.change_settings(bucket, change).await)
    }

    pub(crate) async fn head_bucket(&self, bucket: &str) -> Result<(), Fault> {
        each!(self.kind, store => store.head_bucket(bucket).await)
    }

    pub(crate) async fn delete_bucket(&self, bucket: &str) -> Result<(), Fault> {
        each!(self.kind, store => store.delete_bucket(bucket).await)
    }

    pub(crate) async fn buckets(&self) -> Result<Vec<(String, SystemTime)>, Fault> {
        each!(self.kind, store => store.buckets().await)
    }

    /// Opens an object; reading it later sees this version, whatever is written meanwhile.
    pub(crate) async fn open(&self, bucket: &str, key: &str) -> Result<Opened, Fault> {
        each!(self.kind, store => store.open(bucket, key).await)
    }

    /// Changes what clients attached to an object; the object stays the same version.
    pub(crate) async fn change_attributes(
        &self,
        bucket: &str,
        key: &str,
        change: impl FnOnce(&mut Attributes) + Send + 'static,
    ) -> Result<(), Fault> {
        each!(self.kind, store => store.change_attributes(bucket, key, change).await)
    }

    /// Removes objects; those that do not exist are no error. Returns what became of each, in the same order.
    pub(crate) async fn delete(&self, bucket: &str, deletions: Vec<Deletion>) -> Result<Vec<Result<(), Fault>>, Fault> {
        each!(self.kind, store => store.delete(bucket, deletions).await)
    }

    pub(crate) async fn list(&self, bucket: &str, query: Query) -> Result<Page, Fault> {
        each!(self.kind, store => store.list(bucket, query).await)
    }

    /// Begins to write: nothing is visible, and nothing stays behind, before [`Draft::commit`].
    /// `expected` is the announced size, for which memory is reserved.
    pub(crate) fn draft(&self, expected: u64) -> Result<Draft, Fault> {
        let kind = match &self.kind {
            Kind::Memory(store) => DraftKind::Memory(store.draft(expected)?),
            Kind::Directory(store) => DraftKind::Directory(store.draft()),
        };
        let is_tag = self.tags == EntityTags::Md5;
        Ok(Draft { kind, md5: is_tag.then(Md5::new), digest: None, is_tag })
    }

    pub(crate) async fn create_upload(&self, bucket: &str, key: &str, attributes: Attributes) -> Result<String, Fault> {
        each!(self.kind, store => store.create_upload(bucket, key, attributes).await)
    }

    /// Makes the object out of the parts, in the order given, and ends the upload.
    pub(crate) async fn complete_upload(&self, upload: Upload, completion: Completion) -> Result<Stat, Fault> {
        each!(self.kind, store => store.complete_upload(upload, completion).await)
    }

    pub(crate) async fn abort_upload(&self, upload: Upload) -> Result<(), Fault> {
        each!(self.kind, store => store.abort_upload(upload).await)
    }

    /// What was attached to an upload when it was begun.
    pub(crate) async fn upload_attributes(&self, upload: Upload) -> Result<Arc<Attributes>, Fault> {
        each!(self.kind, store => store.upload_attributes(upload).await)
    }

    /// The parts of an upload, by ascending number.
    pub(crate) async fn parts(&self, upload: Upload) -> Result<Vec<Part>, Fault> {
        each!(self.kind, store => store.parts(upload).await)
    }

    /// The uploads in progress, by key, then by start.
    pub(crate) async fn uploads(&self, bucket: &str) -> Result<Vec<Begun>, Fault> {
        each!(self.kind, store => store.uploads(bucket).await)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Memory(_) => f.write_str("Vault::memory()"),
            Kind::Directory(store) => write!(f, "Vault::directory({:?})", store.root()),
        }
    }
}

/// Names an upload in parts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Upload {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) id: String,
}

/// Where a draft goes.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Object { bucket: String, key: String, attributes: Arc<Attributes>, condition: Condition },
    Part { upload: Upload, number: u16, checksum: Option<StoredChecksum> },
}

/// A part of an upload in progress.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) number: u16,
    pub(crate) stat: Stat,
    pub(crate) checksum: Option<StoredChecksum>,
}

/// An upload in progress.
#[derive(Debug, Clone)]
pub(crate) struct Begun {
    pub(crate) upload: Upload,
    pub(crate) started: SystemTime,
    pub(crate) attributes: Arc<Attributes>,
}

/// How an upload becomes an object.
#[derive(Debug, Clone)]
pub(crate) struct Completion {
    /// Numbers and entity tags of the parts, in the order in which they are joined.
    pub(crate) parts: Vec<(u16, String)>,
    /// What is attached to the object.
    pub(crate) attributes: Attributes,
    /// What must hold of the object that is replaced.
    pub(crate) condition: Condition,
}

/// What listings tell of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) size: u64,
    pub(crate) modified: SystemTime,
    pub(crate) tag: Tag,
}

/// An object opened for reading.
pub(crate) struct Opened {
    pub(crate) stat: Stat,
    pub(crate) attributes: Arc<Attributes>,
    content: Content,
}

enum Content {
    Memory(Arc<memory::Segments>),
    Directory(directory::Content),
}

impl Opened {
    /// Streams a range that lies within the object, in pieces of at most `piece` bytes.
    pub(crate) fn read(self, range: Range<u64>, piece: usize) -> Reader {
        match self.content {
            Content::Memory(segments) => Reader::Memory(memory::Reader::new(segments, range, piece)),
            Content::Directory(content) => Reader::Directory(content.read(range, piece)),
        }
    }
}

/// The bytes of a range, piece by piece.
pub(crate) enum Reader {
    Memory(memory::Reader),
    Directory(directory::Reader),
}

impl Reader {
    /// Bytes still to come.
    pub(crate) fn remaining(&self) -> u64 {
        match self {
            Reader::Memory(reader) => reader.remaining(),
            Reader::Directory(reader) => reader.remaining(),
        }
    }
}

impl Stream for Reader {
    type Item = io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.get_mut() {
            Reader::Memory(reader) => Poll::Ready(reader.next().map(Ok)),
            Reader::Directory(reader) => Pin::new(reader).poll_next(context),
        }
    }
}

/// An object or part in the making; dropping it leaves nothing.
pub(crate) struct Draft {
    kind: DraftKind,
    /// Of what was appended, where its digest is wanted.
    md5: Option<Md5>,
    /// The same once nothing more is appended.
    digest: Option<[u8; 16]>,
    /// Whether the digest becomes the entity tag.
    is_tag: bool,
}

enum DraftKind {
    Memory(memory::Draft),
    Directory(directory::Draft),
}

impl Draft {
    /// Has the MD5 of what will be appended computed, also where it is not the entity tag.
    pub(crate) fn compute_md5(&mut self) {
        self.md5.get_or_insert_with(Md5::new);
    }

    /// Appends bytes.
    pub(crate) async fn push(&mut self, bytes: Bytes) -> Result<(), Fault> {
        if let Some(md5) = &mut self.md5 {
            md5.update(&bytes);
        }
        match &mut self.kind {
            // Writing nothing is how a file says that it cannot be written.
            _ if bytes.is_empty() => {}
            DraftKind::Memory(draft) => draft.push(&bytes)?,
            DraftKind::Directory(draft) => draft.push(bytes).await?,
        }
        Ok(())
    }

    /// The MD5 of everything appended, if it was computed. Nothing may be appended afterwards.
    pub(crate) fn md5(&mut self) -> Option<[u8; 16]> {
        if let Some(md5) = self.md5.take() {
            self.digest = Some(md5.finalize());
        }
        self.digest
    }

    /// Makes what was written visible, whole.
    pub(crate) async fn commit(mut self, target: Target) -> Result<Stat, Fault> {
        let tag = self.md5().filter(|_| self.is_tag).map(Tag::Md5);
        match self.kind {
            DraftKind::Memory(draft) => draft.commit(target, tag),
            DraftKind::Directory(draft) => draft.commit(target, tag).await,
        }
    }
}

/// Why the store refuses. The protocol turns each into an S3 error code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the bucket does not exist; create it first")]
    NoSuchBucket,
    #[error("the key does not exist")]
    NoSuchKey,
    #[error("the bucket exists and is yours")]
    BucketExists,
    #[error("the bucket still holds objects")]
    BucketNotEmpty,
    #[error("the upload does not exist: it was completed or aborted")]
    NoSuchUpload,
    #[error("part {0} was not uploaded, or its entity tag is another one")]
    InvalidPart(u16),
    #[error("the object does not fulfil the condition of the request")]
    Condition,
    #[error(
        "objects in memory may take {limit} bytes together (--memory-limit), {used} are taken and {wanted} more are needed: \
         delete objects, or start the server with a higher limit or with --data DIR"
    )]
    Full {
        /// Bytes of the write that is refused.
        wanted: u64,
        used: u64,
        limit: u64,
    },
    #[error("the system has no memory left for an object of {wanted} bytes: lower --memory-limit or use --data DIR")]
    NoMemory { wanted: u64 },
    #[error("{doing}")]
    Io {
        doing: &'static str,
        #[source]
        source: io::Error,
    },
}

impl Fault {
    /// Wraps an I/O error with what was being done.
    pub(crate) fn io(doing: &'static str) -> impl Fn(io::Error) -> Fault {
        move |source| Fault::Io { doing, source }
    }
}
