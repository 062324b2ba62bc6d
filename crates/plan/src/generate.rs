//! Assignment of files to ranks for the generation of a dataset.

use crate::{FileSet, World};

/// Plan of the generation of a dataset: rank r writes files r, r + size, r + 2·size, and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GeneratePlan {
    files: u64,
    size: u32,
}

impl GeneratePlan {
    /// Returns the plan for all files of a dataset.
    #[must_use]
    pub fn new(files: &FileSet, world: World) -> Self {
        Self { files: files.total(), size: world.size.max(1) }
    }

    /// Returns the number of all files.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.files
    }

    /// Returns the combined numbers of the files that a rank writes, in order.
    pub fn files(&self, rank: u32) -> impl Iterator<Item = u64> + Send + use<> {
        (u64::from(rank)..self.files).step_by(usize::try_from(self.size).unwrap_or(usize::MAX))
    }
}
