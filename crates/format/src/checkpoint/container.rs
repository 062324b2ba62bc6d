//! The containers that frameworks write around the tensors of a checkpoint file.

use dlio_config::vocabulary::{Dialect, Framework};

use super::bundle::{self, Bundle};
use super::state::{Content, State};
use super::torch::Archive;
use crate::encode::{Encoder, Piece};
use crate::payload::Element;

/// The file in which TensorFlow names the latest checkpoint of a folder.
const LATEST: &str = "checkpoint";

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
