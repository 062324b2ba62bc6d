//! Sans-I/O encoders and decoders for the dataset formats of DLIO, checkpoint containers, and the seeded payload
//! generator.
//!
//! Invariants of this crate: the bytes of a file depend only on the layout, the payload seed, the file number and the
//! shape. The length of a file is known before its first byte. An encoder runs once, from front to back, in O(1)
//! memory. A decoder asks for the byte ranges that it needs and keeps no payload; its `CheckLevel` decides how closely it
//! examines what it is given.

#![expect(
    clippy::cast_possible_truncation,
    reason = "fields of file formats are narrower than the numbers here; ranges are checked where a file is planned"
)]

mod buffer;
mod check;
mod check_level;
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
