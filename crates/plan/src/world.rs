//! The ranks of a run.

/// The ranks of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct World {
    /// Number of ranks, at least 1.
    pub size: u32,
}
