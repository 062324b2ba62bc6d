//! What can be wrong with a checkpoint's file.
//!
//! The caller knows the object's name; these messages name the part of the file, what was expected there and what was found.

use dlio_config::vocabulary::DType;

/// Why a checkpoint cannot be written, or is not a whole checkpoint of this model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An element type that no framework stores.
    #[error("tensor {path} has element type {dtype}; expected int8, uint8, float16, bfloat16, float32 or float64")]
    Datatype {
        /// Keys that lead to the tensor.
        path: String,
        /// Its element type.
        dtype: DType,
    },
    /// Storages are not numbered in order of first use.
    #[error("tensor {path:?} has storage {storage}, but the next new one is {next}")]
    Storage {
        /// Keys that lead to the tensor.
        path: String,
        /// Its storage.
        storage: u32,
        /// The number that a new storage must have.
        next: u32,
    },
    /// More bytes than can be counted.
    #[error("the tensors up to {path} have more than 2^61 bytes")]
    TooLarge {
        /// Keys that lead to the tensor.
        path: String,
    },
    /// The beginning of something else.
    #[error("it does not begin as a file of torch.save does")]
    NotAnArchive,
    /// The end is missing.
    #[error("it is cut off: {what} is missing")]
    Torn {
        /// What should be at the end.
        what: &'static str,
    },
    /// The directory at the end belongs to a file of another length.
    #[error("it has {size} bytes, but the directory at its end belongs to a file of {}", of(*expected))]
    Length {
        /// Bytes of the object.
        size: u64,
        /// Bytes that it should have, if they can be counted.
        expected: Option<u64>,
    },
}

fn of(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "impossible length".to_owned(), |bytes| format!("{bytes} bytes"))
}
