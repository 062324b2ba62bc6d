//! What can be wrong with a data-set file or with the request for one.
//!
//! The caller knows the object's name; these messages name the part of the file, what was expected there and what was found.

use dlio_config::vocabulary::{DType, Format};

/// Why a file cannot be written or is not what the workload says it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No encoder or decoder for this format.
    #[error("dataset.format {0} is neither written nor read")]
    Format(Format),
    /// The format cannot hold this element type.
    #[error(
        "dataset.record_element_type {0} cannot be stored in {1}; use an integer type, float16, float32, float64 or bool"
    )]
    ElementType(DType, Format),
    /// An option of the data set that no code acts on.
    #[error("{option}: {reason}")]
    Option {
        /// The configuration key and its value.
        option: String,
        /// Why it cannot be used and what to do instead.
        reason: String,
    },
    /// The shape of a file cannot be stored.
    #[error("a file of {samples} samples of shape {dims:?} cannot be written: {reason}")]
    Shape {
        /// Shape of one sample.
        dims: Vec<u64>,
        /// Samples in the file.
        samples: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A sample that the file does not have.
    #[error("sample {sample} was asked for, but the file holds {samples} (numbers start at 0)")]
    Sample {
        /// Number of the sample in the file, from 0.
        sample: u64,
        /// Samples in the file.
        samples: u64,
    },
    /// The file ends too early.
    #[error("truncated: {noun} needs {expected} bytes, but the file ends after {found}")]
    Truncated {
        /// The part of the file that is cut off.
        noun: &'static str,
        /// Length of the file that this part implies, at least.
        expected: u64,
        /// Length of the file as it was read.
        found: u64,
    },
    /// Bytes follow where the file should end.
    #[error("{found} bytes in the file, expected {expected}: {noun} ends before the file does")]
    Trailing {
        /// The last part of the file.
        noun: &'static str,
        /// Length of the file that its structure implies.
        expected: u64,
        /// Length of the file as it was read, at least.
        found: u64,
    },
    /// The file holds other data than the workload says.
    #[error(
        "{noun} is {found} in the file, but {expected} in the workload; generate the data set again or correct the workload"
    )]
    Differs {
        /// What differs, for example `shape of x.npy`.
        noun: &'static str,
        /// As configured.
        expected: String,
        /// As found.
        found: String,
    },
    /// Content that is not what was generated.
    #[error(
        "content at offset {offset}: expected {expected}, which seed {seed} makes, found {found}; the file is damaged, or was \
         generated with another configuration or by another program (npz, tfrecord and png files of other programs are \
         verified by dlio_rs.verify_by: checksum)"
    )]
    Content {
        /// Offset in the file of the first byte that differs.
        offset: u64,
        /// The bytes from there on that were generated, in hexadecimal.
        expected: String,
        /// `dlio_rs.payload_seed`.
        seed: u64,
        /// The bytes that the file has.
        found: String,
    },
    /// A checksum that the file carries is not that of its content.
    #[error(
        "{noun} at offset {offset}: the file says {stored:08x}, its content has {computed:08x}; the file is damaged"
    )]
    Checksum {
        /// The content that the checksum covers.
        noun: &'static str,
        /// Offset of that content in the file.
        offset: u64,
        /// As the file has it.
        stored: u32,
        /// As the content has it.
        computed: u32,
    },
    /// Bytes that do not belong to the format.
    #[error("{noun} at offset {offset}: expected {expected}, found {found}")]
    Malformed {
        /// The part of the file.
        noun: &'static str,
        /// Offset of that part in the file, in bytes.
        offset: u64,
        /// What the format demands.
        expected: String,
        /// What the file has.
        found: String,
    },
}

/// Bytes that do not belong to the format.
pub(crate) fn malformed(noun: &'static str, offset: u64, expected: &str, found: String) -> Error {
    Error::Malformed { noun, offset, expected: expected.to_owned(), found }
}

/// First bytes of something unexpected, for an error message.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    let shown: String =
        bytes.iter().take(8).flat_map(|&byte| std::ascii::escape_default(byte)).map(char::from).collect();
    format!("\"{shown}\"")
}
