//! Checkpoint files: the container that a framework writes around its tensors, made front to back in little memory.
//!
//! A state is a mapping, possibly nested, of one-dimensional tensors. `torch.save` makes one zip archive of it, TensorFlow
//! a bundle of an index and a data file, the MLPerf fork a stream of as many bytes as the tensors have.

mod bundle;
mod container;
mod ends;
mod error;
mod pickle;
mod state;
mod table;
pub(crate) mod torch;
mod zip;

pub use container::Container;
pub use ends::Ends;
pub use error::Error;
pub use state::{Content, State};
