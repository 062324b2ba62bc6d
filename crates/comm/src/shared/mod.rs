//! Memory shared by the ranks of a node: arrays of numbers, and a record of failed ranks.

mod arrays;
mod failures;
mod memory;
mod memory_offer;

pub use arrays::{Make, SharedArray, SharedArrays, Sharing, share};
pub use failures::Failures;
pub(crate) use memory::Memory;
pub(crate) use memory_offer::{MemoryOffer, accept};
