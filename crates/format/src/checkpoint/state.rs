//! The state in one checkpoint file: tensors, their storages, and the content that fills them.

use dlio_config::Tensor;
use dlio_config::vocabulary::DType;

use super::error::Error;
use crate::encode::segment::{Numbers, Segment};
use crate::payload::{Element, Payload};

/// Limit of all sizes in bytes, so that no sum of them overflows.
const LIMIT: u64 = 1 << 61;

/// The tensors of one checkpoint file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub(super) tensors: Vec<Tensor>,
    pub(super) empty: Vec<Vec<String>>,
    bytes: u64,
}

/// A run of elements that is stored once, whichever tensors share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Storage {
    pub(super) dtype: DType,
    pub(super) elements: u64,
}

impl Storage {
    pub(super) fn bytes(self) -> u64 {
        self.elements * self.dtype.itemsize()
    }
}

impl State {
    /// Creates a state of `tensors`; `empty` lists the paths of mappings without any tensor.
    ///
    /// # Errors
    /// Returns an error for an element type that no framework stores, storages that are out of order, or more than
    /// 2^61 bytes.
    pub fn new(tensors: Vec<Tensor>, empty: Vec<Vec<String>>) -> Result<Self, Error> {
        let (mut next, mut bytes) = (0, 0_u64);
        for tensor in &tensors {
            let path = || tensor.path.join(".");
            if storage_class(tensor.dtype).is_none() {
                return Err(Error::Datatype { path: path(), dtype: tensor.dtype });
            }
            if tensor.path.is_empty() || tensor.storage > next {
                return Err(Error::Storage { path: path(), storage: tensor.storage, next });
            }
            if tensor.storage == next {
                next += 1;
                let more = tensor.elements.checked_mul(tensor.dtype.itemsize());
                let sum = more.and_then(|more| bytes.checked_add(more)).filter(|&sum| sum < LIMIT);
                bytes = sum.ok_or_else(|| Error::TooLarge { path: path() })?;
            }
        }
        Ok(Self { tensors, empty, bytes })
    }

    /// Returns the tensors, in the order of the mapping.
    #[must_use]
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Returns the total size of the storages in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the storages in the order of their numbers. The first tensor with a number defines its storage.
    pub(super) fn storages(&self) -> impl Iterator<Item = Storage> {
        let mut next = 0;
        self.tensors.iter().filter_map(move |tensor| {
            let first = tensor.storage == next;
            next += u32::from(first);
            first.then_some(Storage { dtype: tensor.dtype, elements: tensor.elements })
        })
    }
}

/// The content that fills the tensors of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// Payload generator of the run.
    pub payload: Payload,
    /// Number that identifies the content of the file.
    pub number: u64,
    /// Fills with random elements rather than ones (`checkpoint.randomize_tensor`).
    pub randomize: bool,
}

impl Content {
    /// Returns the bytes of storage `number`.
    pub(super) fn segment(self, number: u32, storage: Storage) -> Segment {
        let bytes = storage.bytes();
        if self.randomize {
            let stream = self.number.wrapping_add(u64::from(number));
            return Segment::Payload(self.payload.stream(stream, element(storage.dtype), bytes));
        }
        Segment::Numbers(Numbers::repeated(ones(storage.dtype), bytes))
    }
}

/// Returns the random elements of a type: uniform on [0, 1) for floats, any bits for integers.
pub(super) fn element(dtype: DType) -> Element {
    Element::new(dtype).unwrap_or(Element::Bfloat16)
}

/// Returns eight bytes of elements of value 1, as one little-endian number.
pub(super) fn ones(dtype: DType) -> u64 {
    match dtype {
        DType::Float16 => 0x3C00_3C00_3C00_3C00,
        DType::Bfloat16 => 0x3F80_3F80_3F80_3F80,
        DType::Float32 => 0x3F80_0000_3F80_0000,
        DType::Float64 => 0x3FF0_0000_0000_0000,
        _ => 0x0101_0101_0101_0101,
    }
}

/// Returns PyTorch's storage class for an element type, or `None` for types that no checkpoint has.
pub(super) fn storage_class(dtype: DType) -> Option<&'static str> {
    Some(match dtype {
        DType::Int8 => "CharStorage",
        DType::Uint8 => "ByteStorage",
        DType::Float16 => "HalfStorage",
        DType::Bfloat16 => "BFloat16Storage",
        DType::Float32 => "FloatStorage",
        DType::Float64 => "DoubleStorage",
        _ => return None,
    })
}
