//! The registry directory, in which servers announce their addresses and clients find them.
//!
//! It has one JSON file per endpoint, `endpoint-<rank>-<n>.json` (5 digits of rank and 3 of n; with `-<job>` if jobs share the
//! directory), and at most one file `credentials` (mode 0600). A file belongs to the process that it names: that process creates it
//! exclusively and atomically, and only that process removes it. A file whose process is gone is *stale*: readers ignore it, and the
//! next server replaces it.

mod announce;
mod announcement;
mod error;
mod files;
mod key_pair;
mod owner;
mod read;
mod wait;

pub use announce::{Guard, Job, announce, new_job_id, prepare};
pub use announcement::{Announcement, stem};
pub use error::Error;
pub use key_pair::{KeyPair, key_pair, withdraw_other_key_pair};
pub use read::{Registry, Stale, read};
pub use wait::wait;

#[cfg(test)]
mod tests;
