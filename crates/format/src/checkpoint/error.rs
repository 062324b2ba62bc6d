//! Errors of checkpoint files.
//!
//! The caller knows the name of the object. These messages name the part of the file, what was expected there, and
//! what was found.

use dlio_config::vocabulary::DType;

/// Reason why a checkpoint cannot be written, or is not a complete checkpoint of this model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No framework stores this element type.
    #[error("tensor {path} has element type {dtype}; expected int8, uint8, float16, bfloat16, float32 or float64")]
    Datatype {
        /// Path of the tensor in the state.
        path: String,
        /// Element type of the tensor.
        dtype: DType,
    },
    /// Storages are not numbered in order of first use.
    #[error("tensor {path:?} has storage {storage}, but the next new one is {next}")]
    Storage {
        /// Path of the tensor in the state.
        path: String,
        /// Number of the tensor's storage.
        storage: u32,
        /// Number that a new storage must have.
        next: u32,
    },
    /// The tensors have too many bytes.
    #[error("the tensors up to {path} have more than 2^61 bytes")]
    TooLarge {
        /// Path of the first tensor beyond the limit.
        path: String,
    },
    /// The object does not begin as an archive does.
    #[error("it does not begin like a file of torch.save")]
    NotAnArchive,
    /// The end of the object is missing.
    #[error("it is cut off: {what} is missing")]
    Torn {
        /// Part that should be at the end.
        what: &'static str,
    },
    /// The directory at the end belongs to a file of another length.
    #[error("it has {size} bytes, but the directory at its end belongs to a file of {}", of(*expected))]
    Length {
        /// Length of the object in bytes.
        size: u64,
        /// Length in bytes that the directory implies, if it can be computed.
        expected: Option<u64>,
    },
}

fn of(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "impossible length".to_owned(), |bytes| format!("{bytes} bytes"))
}
