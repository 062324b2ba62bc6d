//! The S3 server behind `dlio-rs serve`: [`Vault`]s of objects in memory or in a directory, served over S3 with
//! signature version 4.
//!
//! Invariant: an object appears under its key only when it is complete, and stays as it was for whoever reads it.
//! Nothing below `--data` is reachable that is not an object of a bucket: keys never become paths unescaped.
//!
//! Entity tags are S3's (the MD5 of an object or of its parts' MD5s) or, as [`EntityTags`] says, opaque ones that cost
//! nothing and look like no digest. Checksums that a client sends (`Content-MD5`, `x-amz-checksum-*`, also as trailers) are verified.
//!
//! ```
//! # fn main() -> Result<(), dlio_server::Error> {
//! use dlio_server::{ServeConfig, Server};
//!
//! let running = Server::start(&ServeConfig { endpoints: 2, ..ServeConfig::default() })?;
//! assert!(running.endpoints()[1].starts_with("http://127.0.0.1:"));
//! // … until a signal comes; then, in an async function: running.shutdown().await
//! # Ok(())
//! # }
//! ```

mod clock;
mod connection;
mod descriptors;
mod error;
mod gate;
mod line;
mod pace;
mod protocol;
mod serve;
mod signature;
mod trouble;
mod users;
mod vault;
mod watched;

pub use error::Error;
pub use pace::Pace;
pub use serve::{Running, ServeConfig, Server, Store, THREAD_NAME};
pub use trouble::Trouble;
pub use users::{OWNER, User};
pub use vault::{EntityTags, Vault};
