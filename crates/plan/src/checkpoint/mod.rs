//! The plan of a run's checkpoints: which rank writes and reads which files and tensors, at which time, and their
//! sizes.
//!
//! Invariant: the files of a rank are a function of (workload, world, rank). Nothing is stored per rank, so a model
//! with a trillion parameters on thousands of ranks is planned as fast as a small one.

mod grid;
mod lines;
mod model;
mod notices;
mod schedule;
mod size;
mod states;

use std::sync::Arc;

use dlio_config::vocabulary::{Dialect, Framework, StorageType};
use dlio_config::{Notice, Tensor, Workload};

use crate::{Error, Fingerprint, World, fingerprint};
use grid::Grid;
use model::Model;

pub use schedule::{DuringTraining, StandaloneCheckpoints};
pub use size::CheckpointBytes;

/// Content of a checkpoint file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CheckpointPart {
    /// The generic state of `model.model_size_bytes`.
    Model,
    /// Layers of a transformer, or the layers in `model.layer_parameters`.
    Layers,
    /// The state of the optimizer.
    Optimizer,
}

/// One file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointFile {
    /// Name in the folder of the checkpoint, for example `model_states-0.pt`. TensorFlow appends to it.
    pub name: String,
    /// Content of the file.
    pub part: CheckpointPart,
    /// Tensors, in the order of the mapping.
    pub tensors: Vec<Tensor>,
    /// Paths of the mappings in the file that hold no tensor because all of their tensors would be empty.
    pub empty: Vec<Vec<String>>,
}

impl CheckpointFile {
    /// Returns the size of the tensors in bytes, without the container. Shared storage counts once.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let mut next = 0;
        let stored = self.tensors.iter().filter(|tensor| {
            let first = tensor.storage == next;
            next += u32::from(first);
            first
        });
        stored.map(Tensor::bytes).sum()
    }
}

/// The plan of a run's checkpoints.
#[derive(Debug, Clone)]
pub struct CheckpointPlan {
    world: World,
    grid: Grid,
    model: Arc<Model>,
    extension: &'static str,
    dialect: Dialect,
    fsync: bool,
    rank_shift: bool,
    payload_seed: u64,
    during: Option<DuringTraining>,
    alone: Option<StandaloneCheckpoints>,
    reported: CheckpointBytes,
    written: CheckpointBytes,
    notices: Arc<[Notice]>,
    fingerprint: Fingerprint,
}

/// Plans the checkpoints of a workload, whether or not `workflow.checkpoint` is set.
///
/// # Errors
///
/// If the ranks do not fit the parallelism of the model, or the model exceeds the supported sizes; the error says what
/// to change.
pub fn checkpoints(workload: &Workload, world: World) -> Result<CheckpointPlan, Error> {
    if world.size == 0 {
        return Err(Error::EmptyWorld);
    }
    let dialect = workload.dlio_rs.dialect;
    let grid = Grid::new(workload, world)?;
    let model = Model::new(workload, grid)?;
    let checkpoint = &workload.checkpoint;
    let mut plan = CheckpointPlan {
        world,
        grid,
        extension: extension(workload),
        dialect,
        // The reference loses the value in a misspelled attribute. The fork syncs regardless of the key.
        fsync: checkpoint.fsync || dialect == Dialect::Mlperf,
        rank_shift: checkpoint.recovery_rank_shift && dialect == Dialect::Native,
        payload_seed: workload.dlio_rs.payload_seed,
        during: workload.workflow.train.then(|| DuringTraining::new(checkpoint)),
        alone: (!workload.workflow.train).then(|| StandaloneCheckpoints::new(workload)),
        reported: CheckpointBytes::default(),
        written: CheckpointBytes::default(),
        notices: Arc::new([]),
        fingerprint: fingerprint::of_checkpoints(workload, world),
        model: Arc::new(model),
    };
    plan.written = plan.written_by_all()?;
    plan.reported = if dialect == Dialect::Native { plan.written } else { plan.as_the_reference_counts()? };
    plan.notices = notices::of(workload, &plan).into();
    Ok(plan)
}

fn extension(workload: &Workload) -> &'static str {
    match (workload.framework, workload.storage.storage_type) {
        (Framework::Tensorflow, _) => "pb",
        // The fork uses one name on every storage.
        (Framework::Pytorch, StorageType::S3) if workload.dlio_rs.dialect != Dialect::Mlperf => "pts3",
        (Framework::Pytorch, _) => "pt",
    }
}

impl CheckpointPlan {
    /// Returns the ranks.
    #[must_use]
    pub fn world(&self) -> World {
        self.world
    }

    /// Returns the name of a checkpoint's folder below `checkpoint.checkpoint_folder`.
    #[must_use]
    pub fn folder(&self, epoch: u32, step: u64) -> String {
        format!("global_epoch{epoch}_step{step}")
    }

    /// Returns the files that a rank writes, in order. It reads the same files in the same order. Empty for a rank
    /// without state.
    #[must_use]
    pub fn files(&self, rank: u32) -> Vec<CheckpointFile> {
        let mut files = self.states(rank);
        if self.dialect == Dialect::Mlperf {
            // An empty stream is not written.
            files.retain(|file| file.bytes() > 0);
        }
        files
    }

    /// Returns the rank whose files a rank loads. It is the rank itself, unless `checkpoint.recovery_rank_shift` is in
    /// effect and there is more than one node with this number of ranks.
    #[must_use]
    pub fn loads_files_of(&self, rank: u32, ranks_per_node: u32) -> u32 {
        if !self.rank_shift || ranks_per_node == 0 || self.world.size / ranks_per_node < 2 {
            return rank;
        }
        let shifted = (u64::from(rank) + u64::from(ranks_per_node)) % u64::from(self.world.size);
        u32::try_from(shifted).unwrap_or(rank)
    }

    /// Returns whether every file is flushed to stable storage before its write is complete.
    #[must_use]
    pub fn fsync(&self) -> bool {
        self.fsync
    }

    /// Returns when the training loop saves checkpoints; `None` in a run that does not train.
    #[must_use]
    pub fn during_training(&self) -> Option<DuringTraining> {
        self.during
    }

    /// Returns the checkpoints of a run that only saves and loads checkpoints; `None` in a run that trains.
    #[must_use]
    pub fn alone(&self) -> Option<&StandaloneCheckpoints> {
        self.alone.as_ref()
    }

    /// Returns the number of ranks of the whole model if the world is only a part of it (`checkpoint.mode: subset`).
    #[must_use]
    pub fn subset_of(&self) -> Option<u64> {
        self.grid.subset.then(|| self.grid.ranks())
    }

    /// Returns the number of parameters of the transformer; 0 without `model.num_layers`.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.model.parameters
    }

    /// Returns the number that identifies the content of a file for the payload generator. It differs for every
    /// checkpoint and file.
    #[must_use]
    pub fn content(&self, folder: &str, name: &str) -> u64 {
        fingerprint::number(&[folder, name], self.payload_seed)
    }

    /// Returns notices for the user.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// Returns the hash of everything that determines the plan. It is equal on all ranks that run the same plan.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}
