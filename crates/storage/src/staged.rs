//! Objects that are stored whole and not yet visible.

use std::path::PathBuf;

use bytes::Bytes;

use crate::Attempts;

/// An object that was stored but is under no name yet: a temporary file, or an upload that was not completed.
///
/// [`crate::Storage::publish`] makes it appear, [`crate::Storage::discard`] removes it. One that is merely dropped
/// stays where it is, invisible: what stores it may be far away, and dropping cannot wait for it.
#[derive(Debug, Clone)]
#[must_use = "a staged object is invisible until it is published and takes space until it is published or discarded"]
pub struct Staged {
    /// Key under which it will appear.
    pub key: String,
    /// Size in bytes.
    pub bytes: u64,
    /// What was done to store it.
    pub attempts: Attempts,
    pub(crate) ticket: Ticket,
}

/// Where it waits.
#[derive(Debug, Clone)]
pub(crate) enum Ticket {
    /// A file beside its final name.
    File(PathBuf),
    /// Identifier of the upload; numbers and entity tags of its parts in order.
    Upload { id: String, parts: Vec<(u64, String)> },
    /// Its content.
    Memory(Bytes),
}

impl Staged {
    /// What to say of a ticket that another storage issued.
    pub(crate) fn foreign(&self) -> String {
        format!("{} was staged on another kind of storage; publish it where it was staged", self.key)
    }
}
