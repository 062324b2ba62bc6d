//! Object and file storage behind one small trait: local files, S3 endpoints, memory, and decorators around them.
//!
//! Invariant: no code holds a whole object. Reads stream into a [`ChunkSink`] and writes stream from a [`ChunkSource`]
//! through small reusable buffers; an object that is written whole appears under its final name only when it is complete.

mod byte_range;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod counted;
pub mod delay;
mod error;
pub mod faults;
mod forward;
mod key;
pub mod local;
pub mod memory;
pub mod process;
pub mod random;
mod ranged_get;
mod receipt;
pub mod registry;
pub mod regular_file;
mod replace;
pub mod s3;
mod staged;
mod traced;
mod traits;

pub use byte_range::ByteRange;
pub use counted::Counted;
pub use error::{Error, ErrorKind};
pub use key::check_key;
pub use ranged_get::{RangeShape, RangedGet, RangedGetRules};
pub use receipt::{Attempt, Attempts, Receipt};
pub use replace::{beside, replace_file};
pub use staged::Staged;
pub use traced::{Recorder, record_attempts};
pub use traits::{ChunkSink, ChunkSource, Future, ListEntry, Metadata, Object, Storage, Updatable, Update, Version};
