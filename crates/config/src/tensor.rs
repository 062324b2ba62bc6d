//! Tensors of a checkpoint file. The plan names them and the format encodes them, so the type is in a crate that both
//! use.

use crate::vocabulary::DType;

/// A one-dimensional tensor of a checkpoint file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Keys of the nested mappings that lead to the tensor.
    pub path: Vec<String>,
    /// Number of the tensor's storage in its file. Storages are numbered from 0 in order of first use; tensors with the
    /// same number share one storage, which is written once.
    pub storage: u32,
    /// Element type.
    pub dtype: DType,
    /// Number of elements.
    pub elements: u64,
}

impl Tensor {
    /// Returns the size of the elements in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.elements * self.dtype.itemsize()
    }
}
