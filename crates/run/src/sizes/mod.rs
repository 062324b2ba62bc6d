//! Sizes of a workload in bytes (stored, read, kept) and a lower bound of its duration, known before the first byte is written.
//!
//! Invariant: a size is exact if it follows from the shape of the files. If it depends on compression or text, it is marked as an
//! estimate with its method. The cost is the same for fifty million files and for a thousand.

mod checkpoints;
mod dataset;
mod duration;
mod reads;
mod render;

pub use checkpoints::{CheckpointSizes, rank_objects};
pub use dataset::{DataSizes, SplitSizes};
pub use duration::Duration;
pub use reads::ReadSizes;
pub use render::amount;

use dlio_config::Workload;
use dlio_plan::{CheckpointPlan, FileSet, TrainingPlan};

use crate::failure::Failure;
use crate::layout::layout;

/// All sizes of a workload on a number of ranks.
pub struct Sizes {
    /// The dataset; `None` in a run that only takes checkpoints.
    pub data: Option<DataSizes>,
    /// Bytes that the training reads.
    pub reads: Option<ReadSizes>,
    /// The checkpoints, if there are any.
    pub checkpoints: Option<CheckpointSizes>,
    /// Lower bound of the duration of the run.
    pub duration: Duration,
}

impl Sizes {
    /// Computes the sizes for these plans.
    ///
    /// # Errors
    /// Files of this shape cannot be written.
    pub fn new(
        workload: &Workload,
        training: Option<&TrainingPlan>,
        checkpoints: Option<&CheckpointPlan>,
    ) -> Result<Self, Failure> {
        let (mut data, mut reads) = (None, None);
        if let Some(plan) = training {
            let layout = layout(workload)?;
            let files = FileSet::new(workload).map_err(Failure::usage)?;
            let sizes = DataSizes::new(workload, &files, &layout)?;
            reads = ReadSizes::new(workload, plan, &layout, &sizes);
            data = Some(sizes);
        }
        let schedule = training.map(|plan| (plan.epochs(), plan.steps(dlio_plan::Split::Train)));
        let checkpoints = checkpoints.map(|plan| CheckpointSizes::new(workload, plan, schedule)).transpose()?;
        let duration = Duration::new(workload, training, checkpoints.as_ref());
        Ok(Self { data, reads, checkpoints, duration })
    }
}
