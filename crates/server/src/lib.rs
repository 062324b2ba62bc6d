//! The S3 server behind `dlio-rs serve`: it serves an [`ObjectStore`] in memory or in a directory over S3 with
//! signature version 4.
//!
//! Invariant: an object appears under its key only when it is complete, and a reader keeps the version that it
//! opened. Only objects of buckets are reachable below `--data`: keys become paths only through an encoding.
//!
//! Entity tags are those of S3 (the MD5 of an object or of its parts' MD5s) or, with [`EntityTags::Opaque`], tags
//! that cost nothing and do not look like a digest. Checksums sent by clients (`Content-MD5`, `x-amz-checksum-*`,
//! also in trailers) are verified.
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
mod connection_limiter;
mod descriptors;
mod error;
mod fault_rule;
mod latency;
mod percent;
mod protocol;
mod serve;
mod signature;
mod store;
mod token_bucket;
mod tracking;
mod users;

pub use error::Error;
pub use fault_rule::FaultRule;
pub use latency::LatencyModel;
pub use serve::{Running, ServeConfig, Server, Store, THREAD_NAME};
pub use store::{EntityTags, ObjectStore};
pub use users::{OWNER, User};
