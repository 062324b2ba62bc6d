//! The files of a dataset and their layout.

use dlio_config::Workload;
use dlio_format::{Decode, FileShape, Layout};
use dlio_plan::{FileSet, Split};

use crate::failure::Failure;
use crate::layout::layout;
use crate::work::Work;

/// The files of a dataset and their layout.
pub struct DataSet {
    /// Names and shapes of the files.
    pub files: FileSet,
    /// Layout of the files.
    pub layout: Layout,
    /// Splits whose files are all known to exist.
    pub present: Vec<Split>,
}

impl DataSet {
    /// Plans the files; `work` determines whether their content is verified or decoded.
    ///
    /// # Errors
    /// The format cannot hold such files, or their content cannot be verified or decoded.
    pub(crate) fn new(workload: &Workload, work: Work) -> Result<Self, Failure> {
        let layout = layout(workload)?;
        if work.verify {
            layout.allows(Decode::Verify).map_err(Failure::usage)?;
        }
        if work.train {
            layout.allows(workload.dlio_rs.decode).map_err(Failure::usage)?;
        }
        let files = FileSet::new(workload).map_err(Failure::usage)?;
        Ok(Self { files, layout, present: Vec::new() })
    }

    /// Returns the size of the first file and its index files in bytes if it follows from the shape; 0: unknown.
    #[must_use]
    pub fn bytes_of_first(&self) -> u64 {
        if self.files.total() == 0 || self.files.is_listed() || !self.layout.length_follows_from_shape() {
            return 0;
        }
        let file = self.files.file(0);
        let shape = FileShape { file: 0, dims: &file.dims, samples: file.samples };
        let indexes: u64 = self.layout.index_encoders(&shape).iter().map(|(_, index)| index.len()).sum();
        self.layout.encoder(&shape).map_or(0, |encoder| encoder.len() + indexes)
    }
}
