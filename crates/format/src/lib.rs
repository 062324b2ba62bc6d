//! Sans-I/O encoders and decoders for the dataset formats of DLIO, and the seeded payload generator.
//!
//! Invariants owned here: a file's bytes are a function of (layout, payload seed, file number, shape) and of nothing
//! else; the length of a file is known before its first byte; an encoder runs once, from front to back, in O(1) memory;
//! a decoder says what must be read and never keeps payload; how closely it looks at what passes is `check`'s matter.

#![expect(
    clippy::cast_possible_truncation,
    reason = "fields of file formats are narrower than the numbers here; ranges are checked where a file is planned"
)]

mod buffer;
mod check;
pub mod checkpoint;
mod codec;
mod crc;
mod dataset;
mod decode;
mod encode;
mod error;
mod layout;
mod mismatch;
mod need;
pub mod payload;
mod protobuf;
mod scrutiny;
mod shape;
mod zip;

pub use check::Comparison;
pub use dataset::indexed::{IndexDecoder, SampleIndex};
pub use dataset::parquet::Footer;
pub use decode::Decoder;
pub use dlio_config::vocabulary::{Decode, IndexFile};
pub use encode::Encoder;
pub use error::Error;
pub use layout::Layout;
pub use mismatch::Mismatches;
pub use need::Need;
pub use shape::FileShape;
