//! Bytes of the checkpoints on storage.

use dlio_config::Workload;
use dlio_format::checkpoint::Container;
use dlio_plan::CheckpointPlan;

use crate::failure::Failure;

/// The checkpoints of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointSizes {
    /// Checkpoints that the run saves; all of them are kept.
    pub writes: u64,
    /// Checkpoints that it loads.
    pub reads: u64,
    /// Objects of one checkpoint.
    pub objects: u64,
    /// Bytes of one checkpoint on storage, containers included.
    pub stored: u64,
    /// Bytes of its tensors.
    pub payload: u64,
    /// Mean pause before each checkpoint of a run of checkpoints alone, in seconds.
    pub pause: f64,
}

impl CheckpointSizes {
    /// The sizes of these checkpoints; `training` are the epochs and the steps of each, in a run that trains.
    ///
    /// # Errors
    /// A tensor that the container cannot hold.
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
        // All ranks write the one file of this name; one of them is left.
        if let Some(bytes) = latest {
            (objects, stored) = (objects + 1, stored.saturating_add(bytes));
        }
        Ok(Self {
            writes: Self::writes(plan, training),
            reads: plan.alone().map_or(0, |alone| alone.reads),
            objects,
            stored,
            payload: plan.written().total(),
            pause: plan.alone().map_or(0.0, dlio_plan::checkpoint::Alone::mean_pause),
        })
    }

    /// Checkpoints that a run saves.
    pub fn writes(plan: &CheckpointPlan, training: Option<(u32, u64)>) -> u64 {
        match (plan.alone(), training.zip(plan.during_training())) {
            (Some(alone), _) => alone.writes,
            (None, Some(((epochs, steps), during))) => during.taken(epochs, steps).count() as u64,
            (None, None) => 0,
        }
    }

    /// Their folders.
    pub fn folders(plan: &CheckpointPlan, training: Option<(u32, u64)>) -> Box<dyn Iterator<Item = String> + '_> {
        match (plan.alone(), training.zip(plan.during_training())) {
            (Some(alone), _) => Box::new((1..=alone.writes).map(|step| plan.folder(1, step))),
            (None, Some(((epochs, steps), during))) => {
                Box::new(during.taken(epochs, steps).map(|(epoch, step)| plan.folder(epoch, step)))
            }
            (None, None) => Box::new(std::iter::empty()),
        }
    }

    /// Bytes that the run holds in the end, when it has removed nothing.
    pub fn kept(&self) -> u64 {
        self.stored.saturating_mul(self.writes)
    }
}

/// Names and lengths of the objects that a rank writes for one checkpoint.
///
/// # Errors
/// A tensor that the container cannot hold.
pub fn rank_objects(container: Container, plan: &CheckpointPlan, rank: u32) -> Result<Vec<(String, u64)>, Failure> {
    let mut objects = Vec::new();
    for file in plan.files(rank) {
        objects.extend(dlio_engine::checkpoint_objects(container, &file).map_err(Failure::usage)?);
    }
    Ok(objects)
}

/// Whether every rank writes the object under the same name.
fn is_shared(name: &str) -> bool {
    name == "checkpoint"
}
