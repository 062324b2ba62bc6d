//! Sans-I/O encoders and decoders for the data-set formats of DLIO, and the seeded payload generator.
//!
//! Invariants owned here: a file's bytes are a function of (layout, payload seed, file number, shape) and of nothing
//! else; the length of a file is known before its first byte; an encoder runs once, from front to back, in O(1) memory;
//! a decoder says what must be read and never keeps payload; how closely it looks at what passes is `check`'s matter.

#![expect(
    clippy::cast_possible_truncation,
    reason = "fields of file formats are narrower than the numbers here; ranges are checked where a file is planned"
)]

mod check;
pub mod checkpoint;
mod crc;
mod csv;
mod decode;
mod encode;
mod error;
mod hdf5;
mod image;
mod indexed;
mod jpeg;
mod layout;
mod mismatch;
mod npy;
mod npz;
mod opaque;
mod parquet;
pub mod payload;
mod png;
mod squeeze;
mod synthetic;
mod tfrecord;

pub use check::Comparison;
pub use decode::{Decoder, Need};
pub use dlio_config::vocabulary::Decode;
pub use encode::Encoder;
pub use error::Error;
pub use indexed::{IndexDecoder, SampleIndex};
pub use layout::{FileShape, Layout};
pub use mismatch::Mismatches;
pub use parquet::Footer;
