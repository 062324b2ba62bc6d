//! Traces in the formats of other tools.

pub mod chrome;
pub mod csv;
pub mod pfw;
pub mod warp;

use crate::error::Error;

/// An export ended early: the trace, or what it is written to.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The trace cannot be read.
    #[error(transparent)]
    Trace(#[from] Error),
    /// The target takes no more.
    #[error("the target takes no more; free space or choose another one")]
    Target(#[from] std::io::Error),
}
