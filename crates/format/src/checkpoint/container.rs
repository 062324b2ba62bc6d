//! The containers that frameworks write around the tensors of a checkpoint file.

use dlio_config::vocabulary::{Dialect, Framework};

use super::bundle::{self, Bundle};
use super::state::{Content, State};
use super::torch::Archive;
use crate::encode::{Encoder, Piece};
use crate::payload::Element;

/// Name of the file in which TensorFlow records the latest checkpoint of a folder.
const LATEST: &str = "checkpoint";

/// The format around the tensors of a checkpoint file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// The zip archive of `torch.save`.
    Torch,
    /// A stream of exactly as many bytes as the tensors have.
    Stream,
    /// The bundle of `tf.train.Checkpoint`: a data file and an index.
    Bundle,
}

impl Container {
    /// Returns the container of a framework in a dialect.
    #[must_use]
    pub fn new(dialect: Dialect, framework: Framework) -> Self {
        match (framework, dialect) {
            (Framework::Pytorch, Dialect::Mlperf) => Self::Stream,
            (Framework::Pytorch, Dialect::Dlio | Dialect::Native) => Self::Torch,
            (Framework::Tensorflow, _) => Self::Bundle,
        }
    }

    /// Returns the exact length in bytes of an object of the container, or `None` if the length depends on the
    /// program that wrote it: an archive has bytes beside those of its tensors, and so has an index.
    #[must_use]
    pub fn exact_len(self, name: &str, state: &State) -> Option<u64> {
        match self {
            Container::Stream => Some(state.bytes()),
            Container::Bundle if !name.ends_with("-1.index") => Some(bundle::data_len(state)),
            Container::Torch | Container::Bundle => None,
        }
    }

    /// Returns the names of the objects that represent a planned file and that loading reads, in the order in which
    /// they are written.
    #[must_use]
    pub fn names(self, name: &str) -> Vec<String> {
        match self {
            Container::Torch | Container::Stream => vec![name.to_owned()],
            Container::Bundle => vec![format!("{name}-1.data-00000-of-00001"), format!("{name}-1.index")],
        }
    }

    /// Returns the objects that represent a state, in the order in which they are written: the name, derived from the
    /// name of the planned file, and the encoder. A bundle also writes the file `checkpoint` of its folder, which
    /// names the latest checkpoint. Loading does not read that file, and every bundle of the folder replaces it.
    #[must_use]
    pub fn encoders(self, name: &str, state: &State, content: Content) -> Vec<(String, Encoder)> {
        let encoders = match self {
            Container::Torch => {
                let archive = Archive::new(state, content);
                vec![Encoder::archive(archive.len(), archive)]
            }
            Container::Stream => {
                let bytes = content.payload.stream(content.number, Element::Raw, state.bytes());
                vec![Encoder::pieces([Piece::payload(bytes)])]
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
