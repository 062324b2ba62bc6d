//! Memory that the ranks of a node share: arrays of numbers, and which ranks have failed.

mod arrays;
mod failures;
mod memory;
mod offer;

pub use arrays::{Make, SharedArray, SharedArrays, Sharing, share};
pub use failures::Failures;
pub(crate) use memory::Memory;
pub(crate) use offer::{Offer, accept};
