//! The files of a dataset, and what is in them.

use dlio_config::Workload;
use dlio_format::{Decode, FileShape, Layout};
use dlio_plan::{FileSet, Split};

use crate::failure::Failure;
use crate::layout::layout;
use crate::work::Work;

/// Which files there are, and what is in them.
pub struct DataSet {
    /// Names and shapes of the files.
    pub files: FileSet,
    /// Layout of the files.
    pub layout: Layout,
    /// Splits of which all files are known to be there.
    pub present: Vec<Split>,
}

impl DataSet {
    /// Plans the files; `work` says what is done with their content.
    ///
    /// # Errors
    /// When there are no such files, or their content cannot be treated so.
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

    /// Bytes of the first file, its index included, where they follow from its shape; 0: nobody knows.
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
