//! The storage traits. Their methods are object-safe, and each returns the attempts that it made with their times.
//!
//! No method has a default body: a decorator that forgets one does not compile (see [`forward_storage!`](crate::forward_storage)).

use std::pin::Pin;

use crate::{Attempts, ByteRange, Error, ErrorKind, Receipt, Staged};

/// A boxed future of a storage operation. Not `Send`: every lane runs its operations on its own thread.
pub type Future<'a, T> = Pin<Box<dyn std::future::Future<Output = Result<T, Error>> + 'a>>;

/// Receives the bytes of a read in order and without gaps.
///
/// Closures of type `FnMut(&[u8]) -> Result<(), String>` implement it.
pub trait ChunkSink {
    /// Receives the next bytes. An `Err` stops the read; its text describes what was expected.
    ///
    /// # Errors
    /// When the sink rejects the content.
    fn chunk(&mut self, bytes: &[u8]) -> Result<(), String>;
}

impl<F: FnMut(&[u8]) -> Result<(), String>> ChunkSink for F {
    fn chunk(&mut self, bytes: &[u8]) -> Result<(), String> {
        self(bytes)
    }
}

/// Produces the bytes of a write, in order.
pub trait ChunkSource {
    /// Returns the total number of bytes, which is known before the first byte is produced.
    fn len(&self) -> u64;

    /// Returns whether there are no bytes to write.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buffer` from its start; returns the number of bytes produced, which is `buffer.len()` except at the end.
    fn fill(&mut self, buffer: &mut [u8]) -> usize;
}

/// Metadata of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Size in bytes.
    pub size: u64,
}

/// One entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListEntry {
    /// Key relative to the storage's root, with `/` between its parts.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
}

/// Entity tag of the object version that several reads must share; the first response that has one sets it.
pub type Version = std::sync::OnceLock<String>;

/// An object that is open for reading; dropping it closes it.
///
/// Opening a file calls `open(2)` and `fstat(2)`; opening an S3 object sends no request and reports no size. Threads may share an
/// open object; each read runs on the runtime of its caller.
pub trait Object: Send + Sync {
    /// Returns the size in bytes, if opening reported it.
    fn size(&self) -> Option<u64>;

    /// Returns the attempts of opening: one for a file, none on S3.
    fn opened(&self) -> &Attempts;

    /// Streams a range into `sink`. A range that extends beyond the end of the object is cut there, as `pread` does, and the
    /// receipt has the number of bytes delivered. No byte is delivered twice, even after a retry.
    ///
    /// # Errors
    /// The storage fails, the sink rejects the bytes, or fewer bytes arrive than the object has in the range.
    fn read<'a>(&'a self, range: ByteRange, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt>;

    /// Streams the first `limit` bytes of the object, or all if it has fewer, into `sink`. On a server, this requests the whole object
    /// and does not wait for bytes beyond `limit`.
    ///
    /// # Errors
    /// As [`Object::read`].
    fn read_first<'a>(&'a self, limit: u64, sink: &'a mut dyn ChunkSink) -> Future<'a, Receipt>;

    /// Reads a range as [`Object::read`] does, as one of several reads that must come from the same version of the object. An open file
    /// has one version.
    ///
    /// # Errors
    /// As [`Object::read`], and when the response comes from another version than `version`, which the first response sets.
    fn read_part<'a>(
        &'a self,
        range: ByteRange,
        version: &'a Version,
        sink: &'a mut dyn ChunkSink,
    ) -> Future<'a, Receipt>;
}

/// Options for opening an object for in-place updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Update {
    /// Create a missing object with no bytes; if false, a missing object is an error of kind `NotFound`.
    pub create: bool,
}

/// An object that is open for in-place updates; dropping it closes it.
///
/// Writes are visible to all readers immediately and are not undone after an error. The rule that objects appear only when they are
/// complete applies to objects that are written whole.
pub trait Updatable: Object {
    /// Writes all bytes of `source` at `offset`. The object grows if necessary; its other bytes do not change.
    ///
    /// # Errors
    /// The storage fails, or the source ends early; bytes before the error stay written.
    fn write<'a>(&'a self, offset: u64, source: &'a mut dyn ChunkSource) -> Future<'a, Receipt>;

    /// Makes earlier writes durable.
    ///
    /// # Errors
    /// The storage fails.
    fn sync(&self) -> Future<'_, Receipt>;
}

/// A tree of named objects. Keys are relative to the storage's root (a directory, or bucket and prefix), use `/`
/// between their parts, and contain no `.` or `..` part.
///
/// All lanes of a rank share one value. Each call runs on the runtime of the calling thread, and connections never cross threads.
/// Every method returns an [`Error`] that carries the attempts when the operation fails.
pub trait Storage: Send + Sync + 'static {
    /// Opens an object for reading. The returned object may outlive this value and the key.
    fn open<'a>(&'a self, key: &'a str) -> Future<'a, Box<dyn Object>>;

    /// Opens an object for in-place writes and for reads. Storage that only writes whole objects returns an error of kind `Invalid`.
    fn update<'a>(&'a self, key: &'a str, how: Update) -> Future<'a, Box<dyn Updatable>>;

    /// Writes a whole object. On success the complete object exists under `key`; on error no new object does.
    fn write<'a>(&'a self, key: &'a str, source: &'a mut dyn ChunkSource) -> Future<'a, Receipt>;

    /// Stores a whole object invisibly: until it is published, `key` keeps its earlier object or stays missing. On error nothing is left
    /// behind.
    fn stage<'a>(&'a self, key: &'a str, source: &'a mut dyn ChunkSource) -> Future<'a, Staged>;

    /// Makes a staged object visible under its key, where it replaces any earlier object.
    fn publish<'a>(&'a self, staged: &'a Staged) -> Future<'a, Receipt>;

    /// Removes a staged object that will not be published.
    fn discard<'a>(&'a self, staged: &'a Staged) -> Future<'a, Receipt>;

    /// Returns the metadata of an object, or an error of kind `NotFound` when it does not exist.
    fn stat<'a>(&'a self, key: &'a str) -> Future<'a, (Metadata, Receipt)>;

    /// Looks up an object or a folder: returns the metadata of an object, `None` for a folder, or an error of kind `NotFound`.
    fn look_up<'a>(&'a self, key: &'a str) -> Future<'a, (Option<Metadata>, Receipt)>;

    /// Lists all objects whose keys start with `prefix`, in key order, and passes each page to `page`.
    fn list<'a>(&'a self, prefix: &'a str, page: &'a mut dyn FnMut(&[ListEntry])) -> Future<'a, Receipt>;

    /// Removes an object; a missing object is not an error.
    fn delete<'a>(&'a self, key: &'a str) -> Future<'a, Receipt>;

    /// Creates the root directory or the bucket, unless it exists.
    fn create_root(&self) -> Future<'_, Receipt>;

    /// Creates a folder below the root, unless it exists. Does nothing on storage without folders.
    fn create_folder<'a>(&'a self, key: &'a str) -> Future<'a, Receipt>;

    /// Removes a folder below the root, or the root (`""`), if it is empty; returns whether it is gone. Does nothing and returns false on
    /// storage without folders.
    fn remove_folder<'a>(&'a self, key: &'a str) -> Future<'a, (bool, Receipt)>;

    /// Returns whether a read blocks its thread, so that reads in flight need one thread each.
    fn blocks(&self) -> bool;

    /// Returns the full name of an object for messages and traces: a path, or `s3://bucket/key`.
    fn uri(&self, key: &str) -> String;

    /// Returns the full name of what [`Storage::create_root`] creates: the directory, or the bucket that contains the root.
    fn root_uri(&self) -> String;
}

/// Returns the result of [`Storage::update`] on storage that only writes whole objects; `object` is the full name of the object.
pub(crate) fn no_updates<'a>(object: String) -> Future<'a, Box<dyn Updatable>> {
    Box::pin(std::future::ready(Err(Error {
        kind: ErrorKind::Invalid,
        doing: "opening",
        object,
        range: None,
        endpoint: None,
        message: "this storage only writes whole objects; parts of objects can only be written on a file system"
            .to_owned(),
        attempts: Attempts::new(),
    })))
}

/// Implements [`Storage::look_up`] for storage without folders, where every key names an object.
pub(crate) fn look_up_object<'a, S: Storage + ?Sized>(
    storage: &'a S,
    key: &'a str,
) -> Future<'a, (Option<Metadata>, Receipt)> {
    Box::pin(async move { storage.stat(key).await.map(|(metadata, receipt)| (Some(metadata), receipt)) })
}

/// Returns the result of [`Storage::remove_folder`] on storage without folders: nothing was removed.
pub(crate) fn no_folder<'a>() -> Future<'a, (bool, Receipt)> {
    Box::pin(std::future::ready(Ok((false, Receipt::default()))))
}
