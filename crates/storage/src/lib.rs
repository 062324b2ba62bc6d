//! Object and file storage behind one small trait: local files, S3 endpoints, memory, and decorators around them.
//!
//! Invariant: nobody holds an object. Reads stream into a [`ChunkSink`] and writes stream from a [`ChunkSource`]
//! through small reusable buffers; an object appears under its final name only when it is complete.

mod error;
mod key;
pub mod local;
pub mod memory;
mod receipt;
pub mod s3;
mod seam;

pub use error::{Error, ErrorKind};
pub use key::check_key;
pub use receipt::{Attempt, Attempts, Receipt};
pub use seam::{ByteRange, ChunkSink, ChunkSource, Found, Future, Metadata, Object, Storage};
