//! Containers of checkpoint files, encoded front to back in little memory.
//!
//! A state is a mapping, possibly nested, of one-dimensional tensors. `torch.save` writes it as one zip archive,
//! TensorFlow as a bundle of an index and a data file, and the MLPerf fork as a stream of as many bytes as the
//! tensors have.

mod bundle;
mod container;
mod error;
mod integrity;
mod pickle;
mod state;
mod table;
pub(crate) mod torch;
mod zip;

pub use container::Container;
pub use error::Error;
pub use integrity::IntegrityCheck;
pub use state::{Content, State};
