//! Objects that are stored completely but are not yet visible.

use std::path::PathBuf;

use bytes::Bytes;

use crate::Attempts;

/// An object that is stored but has no name yet: a temporary file, or an upload that is not completed.
///
/// [`crate::Storage::publish`] makes it visible under its key, [`crate::Storage::discard`] removes it. Dropping this value leaves the
/// invisible object in place, because dropping cannot wait for a remote storage.
#[derive(Debug, Clone)]
#[must_use = "a staged object is invisible until it is published and takes space until it is published or discarded"]
pub struct Staged {
    /// Key under which the object will appear.
    pub key: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Attempts of storing the object.
    pub attempts: Attempts,
    pub(crate) ticket: Ticket,
}

/// Location of the staged object.
#[derive(Debug, Clone)]
pub(crate) enum Ticket {
    /// A temporary file in the final folder.
    File(PathBuf),
    /// A multipart upload: its id, and the number and entity tag of each part in order.
    Upload { id: String, parts: Vec<(u64, String)> },
    /// Content of the object.
    Memory(Bytes),
}

impl Staged {
    /// Returns the message for a ticket that another storage issued.
    pub(crate) fn foreign(&self) -> String {
        format!("{} was staged on another kind of storage; publish it where it was staged", self.key)
    }
}
