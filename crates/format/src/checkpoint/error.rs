//! What can be wrong with a checkpoint's file.
//!
//! The caller knows the object's name; these messages name the part of the file, what was expected there and what was found.

use dlio_config::vocabulary::{DType, Framework};

/// Why a checkpoint cannot be written, or is not a whole checkpoint of this model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No container for this framework.
    #[error("checkpoints of framework {0} cannot be written; use `framework: pytorch`")]
    Framework(Framework),
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
}
