//! Checkpoint files: the container that a framework writes around its tensors, made front to back in little memory.
//!
//! A state is a mapping, possibly nested, of one-dimensional tensors. `torch.save` makes one zip archive of it, TensorFlow
//! a bundle of an index and a data file, the MLPerf fork a stream of as many bytes as the tensors have.

mod bundle;
mod ends;
mod error;
mod pickle;
mod proto;
mod table;
mod torch;
mod zip;

use dlio_config::Tensor;
use dlio_config::vocabulary::{DType, Dialect, Framework};

use crate::Encoder;
use crate::encode::{Numbers, Piece};
use crate::payload::{Element, Payload};

use bundle::Bundle;
pub use ends::Ends;
pub use error::Error;
pub(crate) use torch::Archive;

/// The file in which TensorFlow names the latest checkpoint of a folder.
const LATEST: &str = "checkpoint";

/// All sizes stay below this, so that no sum of them overflows.
const LIMIT: u64 = 1 << 61;

/// What one file of a checkpoint holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    tensors: Vec<Tensor>,
    empty: Vec<Vec<String>>,
    bytes: u64,
}

/// One run of elements that is stored once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Storage {
    dtype: DType,
    elements: u64,
}

impl Storage {
    fn bytes(self) -> u64 {
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
            if pickle::storage_class(tensor.dtype).is_none() {
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
    fn storages(&self) -> impl Iterator<Item = Storage> {
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
    fn piece(self, number: u32, storage: Storage) -> Piece {
        let bytes = storage.bytes();
        if self.randomize {
            let stream = self.number.wrapping_add(u64::from(number));
            return Piece::Payload(self.payload.stream(stream, element(storage.dtype), bytes));
        }
        Piece::Numbers(Numbers::repeated(ones(storage.dtype), bytes))
    }
}

/// What random elements of a type look like: uniform on [0, 1), or any bits of an integer.
fn element(dtype: DType) -> Element {
    Element::new(dtype).unwrap_or(Element::Bfloat16)
}

/// Eight bytes of ones, as one number.
fn ones(dtype: DType) -> u64 {
    match dtype {
        DType::Float16 => 0x3C00_3C00_3C00_3C00,
        DType::Bfloat16 => 0x3F80_3F80_3F80_3F80,
        DType::Float32 => 0x3F80_0000_3F80_0000,
        DType::Float64 => 0x3FF0_0000_0000_0000,
        _ => 0x0101_0101_0101_0101,
    }
}

/// What is written around the tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// The archive of `torch.save`.
    Torch,
    /// As many bytes as the tensors have, and nothing else.
    Stream,
    /// The bundle of `tf.train.Checkpoint`.
    Bundle,
}

impl Container {
    /// The container of a framework in a dialect.
    #[must_use]
    pub fn new(dialect: Dialect, framework: Framework) -> Self {
        match (framework, dialect) {
            (Framework::Pytorch, Dialect::Mlperf) => Self::Stream,
            (Framework::Pytorch, Dialect::Dlio | Dialect::Native) => Self::Torch,
            (Framework::Tensorflow, _) => Self::Bundle,
        }
    }

    /// Bytes that an object of the container of a state must have, where that does not depend on who wrote it: `None` for
    /// an archive, which has more than its tensors, and for an index.
    #[must_use]
    pub fn exact_len(self, name: &str, state: &State) -> Option<u64> {
        match self {
            Container::Stream => Some(state.bytes()),
            Container::Bundle if !name.ends_with("-1.index") => Some(bundle::data_len(state)),
            Container::Torch | Container::Bundle => None,
        }
    }

    /// The names of the objects that a file of the plan becomes and that loading reads, in the order in which they are
    /// written.
    #[must_use]
    pub fn names(self, name: &str) -> Vec<String> {
        match self {
            Container::Torch | Container::Stream => vec![name.to_owned()],
            Container::Bundle => vec![format!("{name}-1.data-00000-of-00001"), format!("{name}-1.index")],
        }
    }

    /// The objects that a state becomes, in the order in which they are written: names, from the name of the file in the
    /// plan, and bytes. A bundle also writes the file `checkpoint` of its folder, which names the latest one; that is
    /// not read when a checkpoint is loaded, and every bundle of the folder replaces it.
    #[must_use]
    pub fn encoders(self, name: &str, state: &State, content: Content) -> Vec<(String, Encoder)> {
        let encoders = match self {
            Container::Torch => {
                let archive = Archive::new(state, content);
                vec![Encoder::archive(archive.len(), archive)]
            }
            Container::Stream => {
                let bytes = content.payload.stream(content.number, Element::Raw, state.bytes());
                vec![Encoder::pieces([Piece::Payload(bytes)])]
            }
            Container::Bundle => {
                let Bundle { data, index } = bundle::bundle(state, content);
                vec![Encoder::pieces(data), Encoder::pieces([Piece::bytes(index)])]
            }
        };
        let mut objects: Vec<_> = self.names(name).into_iter().zip(encoders).collect();
        if self == Container::Bundle {
            let latest = bundle::latest(&format!("{name}-1"));
            objects.push((LATEST.to_owned(), Encoder::pieces([Piece::bytes(latest)])));
        }
        objects
    }
}
