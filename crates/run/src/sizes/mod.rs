//! How many bytes a workload stores, reads and keeps, and how long it takes at least: told before the first byte.
//!
//! Invariant: a size is exact where the shape of the files decides it; where compression or text decides it, it is an
//! estimate that says so and how it was made. Nothing here costs more for fifty million files than for a thousand.

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

/// All sizes of a workload on so many ranks.
pub struct Sizes {
    /// The data set; `None` in a run of checkpoints alone.
    pub data: Option<DataSizes>,
    /// What the training reads.
    pub reads: Option<ReadSizes>,
    /// The checkpoints.
    pub checkpoints: Option<CheckpointSizes>,
    /// How long the run takes at least.
    pub duration: Duration,
}

impl Sizes {
    /// The sizes of what these plans do.
    ///
    /// # Errors
    /// When files of this shape cannot be written.
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
