//! The registry directory, where servers announce their endpoints and clients find them.
//!
//! There is one JSON file per endpoint, `endpoint-<rank>-<n>.json` (rank in 5 digits, n in 3; followed by `-<job>` if
//! jobs share the directory), and at most one file `credentials` (mode 0600). A file belongs to the process that it
//! names, which creates it exclusively and whole, and is the only one to remove it. A file whose process has ended is
//! *stale*: readers ignore it, and the next server replaces it.

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
