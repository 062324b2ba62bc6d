//! What one file of a checkpoint holds: tensors, their storages, and what fills them.

use dlio_config::Tensor;
use dlio_config::vocabulary::DType;

use super::error::Error;
use crate::encode::segment::{Numbers, Segment};
use crate::payload::{Element, Payload};

/// All sizes stay below this, so that no sum of them overflows.
const LIMIT: u64 = 1 << 61;

/// What one file of a checkpoint holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub(super) tensors: Vec<Tensor>,
    pub(super) empty: Vec<Vec<String>>,
    bytes: u64,
}

/// One run of elements that is stored once.
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
    /// A state of these tensors; `empty` are the paths of mappings without any.
    ///
    /// # Errors
    /// Element types that no framework stores, storages out of order, or more bytes than can be counted.
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

    /// The tensors, in the order of the mapping.
    #[must_use]
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Bytes of the storages.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The storages by number; a tensor that is the first one with a number owns it.
    pub(super) fn storages(&self) -> impl Iterator<Item = Storage> {
        let mut next = 0;
        self.tensors.iter().filter_map(move |tensor| {
            let first = tensor.storage == next;
            next += u32::from(first);
            first.then_some(Storage { dtype: tensor.dtype, elements: tensor.elements })
        })
    }
}

/// What the tensors of a file are filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// The payload of the run.
    pub payload: Payload,
    /// Number that names the file's content.
    pub number: u64,
    /// Random elements rather than ones (`checkpoint.randomize_tensor`).
    pub randomize: bool,
}

impl Content {
    /// The bytes of a storage.
    pub(super) fn segment(self, number: u32, storage: Storage) -> Segment {
        let bytes = storage.bytes();
        if self.randomize {
            let stream = self.number.wrapping_add(u64::from(number));
            return Segment::Payload(self.payload.stream(stream, element(storage.dtype), bytes));
        }
        Segment::Numbers(Numbers::repeated(ones(storage.dtype), bytes))
    }
}

/// What random elements of a type look like: uniform on [0, 1), or any bits of an integer.
pub(super) fn element(dtype: DType) -> Element {
    Element::new(dtype).unwrap_or(Element::Bfloat16)
}

/// Eight bytes of ones, as one number.
pub(super) fn ones(dtype: DType) -> u64 {
    match dtype {
        DType::Float16 => 0x3C00_3C00_3C00_3C00,
        DType::Bfloat16 => 0x3F80_3F80_3F80_3F80,
        DType::Float32 => 0x3F80_0000_3F80_0000,
        DType::Float64 => 0x3FF0_0000_0000_0000,
        _ => 0x0101_0101_0101_0101,
    }
}

/// The class of a storage, by its element type; `None` for types that no checkpoint has.
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
