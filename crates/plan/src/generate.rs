//! Who writes which file.

use crate::{FileSet, World};

/// The generation of a data set: rank r writes files r, r + size, r + 2·size, …
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GeneratePlan {
    files: u64,
    size: u32,
}

impl GeneratePlan {
    /// The plan for all files of a set.
    #[must_use]
    pub fn new(files: &FileSet, world: World) -> Self {
        Self { files: files.total(), size: world.size.max(1) }
    }

    /// Number of all files.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.files
    }

    /// Combined numbers of the files that a rank writes, in its order.
    pub fn files(&self, rank: u32) -> impl Iterator<Item = u64> + Send + use<> {
        (u64::from(rank)..self.files).step_by(usize::try_from(self.size).unwrap_or(usize::MAX))
    }
}
