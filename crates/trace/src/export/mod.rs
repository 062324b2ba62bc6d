//! Export of traces to the formats of other tools.

pub mod chrome;
pub mod csv;
pub mod pfw;
pub mod warp;

use crate::error::Error;

/// Failure to export a trace.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The trace cannot be read.
    #[error(transparent)]
    Trace(#[from] Error),
    /// The target cannot be written.
    #[error("the target takes no more; free space or choose another one")]
    Target(#[from] std::io::Error),
}
