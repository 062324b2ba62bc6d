//! The storage traits: few methods, object-safe, each returning what was done and when.
//!
//! No method has a default body: a decorator that forgets one does not compile (see [`forward_storage!`](crate::forward_storage)).

use std::pin::Pin;

use crate::{Attempts, ByteRange, Error, ErrorKind, Receipt, Staged};

/// A boxed future of a storage operation. Not `Send`: every lane runs its operations on its own thread.
pub type Future<'a, T> = Pin<Box<dyn std::future::Future<Output = Result<T, Error>> + 'a>>;

/// Takes the bytes of a read, in order, without gaps.
///
/// A closure `FnMut(&[u8]) -> Result<(), String>` is one.
pub trait ChunkSink {
    /// Takes the next bytes. An `Err` stops the read; its text says what was expected of the bytes.
    ///
    /// # Errors
    /// When the content is not what the sink requires.
    fn chunk(&mut self, bytes: &[u8]) -> Result<(), String>;
}

impl<F: FnMut(&[u8]) -> Result<(), String>> ChunkSink for F {
    fn chunk(&mut self, bytes: &[u8]) -> Result<(), String> {
        self(bytes)
    }
}

/// Produces the bytes of a write, in order.
pub trait ChunkSource {
    /// Total number of bytes, known before the first is asked for.
    fn len(&self) -> u64;

    /// Whether there is nothing to write.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buffer` from its start; returns how many bytes were produced: `buffer.len()` except at the end.
    fn fill(&mut self, buffer: &mut [u8]) -> usize;
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Size in bytes.
    pub size: u64,
}

/// One entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Key relative to the storage's root, with `/` between the parts.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
}

/// The version of an object (an entity tag) that several reads of it must come from, once one of them has told it.
pub type Version = std::sync::OnceLock<String>;

/// An object that was opened for reading; dropping it closes it.
///
/// Opening a file is `open(2)` and `fstat(2)`; opening an S3 object costs nothing and knows no size. Threads may share an open
/// object; each read runs on the runtime of its caller.
pub trait Object: Send + Sync {
    /// Size in bytes, where opening told it.
    fn size(&self) -> Option<u64>;

    /// How the opening went: one attempt for a file, none for S3.
    fn opened(&self) -> &Attempts;

    /// Streams a range into `sink`. A range that ends beyond the end of the object is cut there (as `pread` does);
    /// the receipt's `bytes` says how much came. Never delivers a byte twice, also after a retry. Fewer bytes than the object
    /// has in that range are an error: an object that became shorter, an answer that says so.
    fn read<'a>(&'a self, range: ByteRange, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt>;

    /// Streams the first `limit` bytes, or all there are, into `sink`. Where bytes are asked of a server all of the object is asked
    /// for, and what comes beyond `limit` is not waited for.
    fn read_first<'a>(&'a self, limit: u64, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt>;

    /// [`Object::read`] of one of several ranges that must come from the same version of the object: the first answer that names
    /// its version decides, and an answer from another one is an error. An open file has one version.
    fn read_part<'a>(
        &'a self,
        range: ByteRange,
        version: &'a Version,
        sink: &'a mut dyn ChunkSink,
    ) -> Future<'a, Receipt>;
}

/// How an object is opened to be changed in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Update {
    /// One that is missing begins empty; otherwise that is an error of kind `NotFound`.
    pub create: bool,
}

/// An object that was opened to be changed in place; dropping it closes it.
///
/// What is written here can be read at once, by others too, and stays when an error comes: that an object appears only when it is
/// complete holds for those that are written whole.
pub trait Updatable: Object {
    /// Writes from `offset` on. The object grows if it ends before that; nothing else of it changes.
    fn write<'a>(&'a self, offset: u64, source: &'a mut dyn ChunkSource) -> Future<'a, Receipt>;

    /// Makes durable what was written.
    fn sync(&self) -> Future<'_, Receipt>;
}

/// A tree of named objects. Keys are relative to the storage's root (a directory, or bucket and prefix), use `/`
/// between their parts, and contain no `.` or `..` part.
///
/// A value is shared by the lanes of a rank: each call runs on the runtime of the calling thread, and connections
/// never cross threads.
pub trait Storage: Send + Sync + 'static {
    /// Opens an object for reading. The object owns what it needs: it may outlive this value and the key.
    fn open<'a>(&'a self, key: &'a str) -> Future<'a, Box<dyn Object>>;

    /// Opens an object to write parts of it, and to read. Storage whose objects are written whole refuses with an error of kind
    /// `Invalid`.
    fn update<'a>(&'a self, key: &'a str, how: Update) -> Future<'a, Box<dyn Updatable>>;

    /// Writes an object whole. On success it exists under `key`, complete; on error nothing new does.
    fn write<'a>(&'a self, key: &'a str, source: &'a mut dyn ChunkSource) -> Future<'a, Receipt>;

    /// Stores an object whole without letting it appear: nothing exists under `key` (or what was there still does) until
    /// it is published. On error nothing is left behind.
    fn stage<'a>(&'a self, key: &'a str, source: &'a mut dyn ChunkSource) -> Future<'a, Staged>;

    /// Lets a staged object appear under its key, complete, in place of what was there.
    fn publish<'a>(&'a self, staged: &'a Staged) -> Future<'a, Receipt>;

    /// Removes a staged object that will not be published.
    fn discard<'a>(&'a self, staged: &'a Staged) -> Future<'a, Receipt>;

    /// Size of an object; an error of kind `NotFound` when it does not exist.
    fn stat<'a>(&'a self, key: &'a str) -> Future<'a, (Metadata, Receipt)>;

    /// Looks up what may be a folder: its size, or `None` for a folder; an error of kind `NotFound` when neither exists.
    fn look_up<'a>(&'a self, key: &'a str) -> Future<'a, (Option<Metadata>, Receipt)>;

    /// Every object whose key starts with `prefix`, in key order, passed on page by page.
    fn list<'a>(&'a self, prefix: &'a str, page: &'a mut dyn FnMut(&[Found])) -> Future<'a, Receipt>;

    /// Removes an object; one that does not exist is no error.
    fn delete<'a>(&'a self, key: &'a str) -> Future<'a, Receipt>;

    /// Makes the root exist: creates the directory or the bucket.
    fn create_root(&self) -> Future<'_, Receipt>;

    /// Makes a folder exist below the root; nothing to do where folders do not exist.
    fn create_folder<'a>(&'a self, key: &'a str) -> Future<'a, Receipt>;

    /// Removes a folder below the root, or the root (`""`), if nothing is in it; returns whether it is gone. Nothing to do,
    /// and nothing gone, where folders do not exist.
    fn remove_folder<'a>(&'a self, key: &'a str) -> Future<'a, (bool, Receipt)>;

    /// Whether a read blocks the thread that it runs on: as many are in flight as there are threads that read.
    fn blocks(&self) -> bool;

    /// Full name of an object for messages and traces: a path, or `s3://bucket/key`.
    fn uri(&self, key: &str) -> String;

    /// Full name of what [`Storage::create_root`] makes: the directory, or the bucket, of which the root may be a part.
    fn root_uri(&self) -> String;
}

/// The answer to [`Storage::update`] of storage whose objects are written whole; `object` is the full name of the object.
pub(crate) fn no_updates<'a>(object: String) -> Future<'a, Box<dyn Updatable>> {
    Box::pin(std::future::ready(Err(Error {
        kind: ErrorKind::Invalid,
        doing: "opening",
        object,
        range: None,
        endpoint: None,
        message: "objects here are written whole: parts of one can be written where it is a file".to_owned(),
        attempts: Attempts::new(),
    })))
}

/// The answer to [`Storage::look_up`] of storage without folders: what is found is an object.
pub(crate) fn look_up_object<'a, S: Storage + ?Sized>(
    storage: &'a S,
    key: &'a str,
) -> Future<'a, (Option<Metadata>, Receipt)> {
    Box::pin(async move { storage.stat(key).await.map(|(metadata, receipt)| (Some(metadata), receipt)) })
}

/// The answer to [`Storage::remove_folder`] of storage without folders: nothing is done, and nothing is gone.
pub(crate) fn no_folder<'a>() -> Future<'a, (bool, Receipt)> {
    Box::pin(std::future::ready(Ok((false, Receipt::default()))))
}
