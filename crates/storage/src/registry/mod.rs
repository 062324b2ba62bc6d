//! The registry directory, where servers leave their addresses and clients find them.
//!
//! One JSON file per endpoint, `endpoint-<rank>-<n>.json` (rank in 5 digits, n in 3; with `-<job>` where jobs share the
//! directory), and at most one file `credentials` (mode 0600). A file belongs to the process that it names: it is
//! created exclusively, whole, and removed by that process alone. A file whose process is gone is *stale*: readers pass
//! over it and the next server replaces it.

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
