//! Sizes of checkpoints on storage.

use dlio_config::Workload;
use dlio_format::checkpoint::Container;
use dlio_plan::CheckpointPlan;

use crate::failure::Failure;

/// Sizes of the checkpoints of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointSizes {
    /// Number of checkpoints that the run saves and keeps.
    pub writes: u64,
    /// Number of checkpoints that the run loads.
    pub reads: u64,
    /// Number of objects of one checkpoint.
    pub objects: u64,
    /// Size of one checkpoint on storage in bytes, including containers.
    pub stored: u64,
    /// Size of the tensors of one checkpoint in bytes.
    pub payload: u64,
    /// Mean pause before each checkpoint in seconds, in a run that only takes checkpoints.
    pub pause: f64,
}

impl CheckpointSizes {
    /// Computes the sizes of checkpoints; `training` is the number of epochs and of steps per epoch, in a run that trains.
    ///
    /// # Errors
    /// The container cannot hold a tensor.
    pub fn new(workload: &Workload, plan: &CheckpointPlan, training: Option<(u32, u64)>) -> Result<Self, Failure> {
        let container = Container::new(workload.dlio_rs.dialect, workload.framework);
        let (mut objects, mut stored, mut latest) = (0_u64, 0_u64, None);
        for (rank, ranks) in plan.representatives() {
            for (name, bytes) in rank_objects(container, plan, rank)? {
                if is_shared(&name) {
                    latest = Some(bytes);
                    continue;
                }
                objects = objects.saturating_add(ranks);
                stored = stored.saturating_add(bytes.saturating_mul(ranks));
            }
        }
        // All ranks write the file of this name, and one version of it remains.
        if let Some(bytes) = latest {
            (objects, stored) = (objects + 1, stored.saturating_add(bytes));
        }
        Ok(Self {
            writes: Self::writes(plan, training),
            reads: plan.alone().map_or(0, |alone| alone.reads),
            objects,
            stored,
            payload: plan.written().total(),
            pause: plan.alone().map_or(0.0, dlio_plan::checkpoint::StandaloneCheckpoints::mean_pause),
        })
    }

    /// Returns the number of checkpoints that a run saves.
    #[must_use]
    pub fn writes(plan: &CheckpointPlan, training: Option<(u32, u64)>) -> u64 {
        match (plan.alone(), training.zip(plan.during_training())) {
            (Some(alone), _) => alone.writes,
            (None, Some(((epochs, steps), during))) => during.taken(epochs, steps).count() as u64,
            (None, None) => 0,
        }
    }

    /// Returns the folders of the checkpoints.
    #[must_use]
    pub fn folders(plan: &CheckpointPlan, training: Option<(u32, u64)>) -> Box<dyn Iterator<Item = String> + '_> {
        match (plan.alone(), training.zip(plan.during_training())) {
            (Some(alone), _) => Box::new((1..=alone.writes).map(|step| plan.folder(1, step))),
            (None, Some(((epochs, steps), during))) => {
                Box::new(during.taken(epochs, steps).map(|(epoch, step)| plan.folder(epoch, step)))
            }
            (None, None) => Box::new(std::iter::empty()),
        }
    }

    /// Returns the size of all checkpoints at the end of the run in bytes, if none is removed.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.stored.saturating_mul(self.writes)
    }
}

/// Returns names and lengths in bytes of the objects that a rank writes for one checkpoint.
///
/// # Errors
/// The container cannot hold a tensor.
pub fn rank_objects(container: Container, plan: &CheckpointPlan, rank: u32) -> Result<Vec<(String, u64)>, Failure> {
    let mut objects = Vec::new();
    for file in plan.files(rank) {
        objects.extend(dlio_engine::checkpoint_objects(container, &file).map_err(Failure::usage)?);
    }
    Ok(objects)
}

/// Returns whether every rank writes the object under the same name.
fn is_shared(name: &str) -> bool {
    name == "checkpoint"
}
