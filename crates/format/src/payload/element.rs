//! Element types of payload.

use dlio_config::vocabulary::DType;

/// The value distribution of payload elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// Any bits: integers.
    Raw,
    /// Half precision, uniform on [0, 1).
    Float16,
    /// Single precision, uniform on [0, 1).
    Float32,
    /// Brain floats, uniform on [0, 1).
    Bfloat16,
    /// Double precision, uniform on [0, 1).
    Float64,
    /// Bytes 0 and 1.
    Bool,
}

impl Element {
    /// Returns the elements of a numpy type, or `None` for types that datasets cannot have.
    #[must_use]
    pub fn new(dtype: DType) -> Option<Self> {
        Some(match dtype {
            DType::Float16 => Self::Float16,
            DType::Float32 => Self::Float32,
            DType::Float64 => Self::Float64,
            DType::Bool => Self::Bool,
            // Only checkpoints have bfloat16.
            DType::Bfloat16 => return None,
            DType::Int8
            | DType::Int16
            | DType::Int32
            | DType::Int64
            | DType::Uint8
            | DType::Uint16
            | DType::Uint32
            | DType::Uint64 => Self::Raw,
        })
    }
}
