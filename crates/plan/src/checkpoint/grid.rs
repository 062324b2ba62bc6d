//! Position of a rank in the model: tensor, pipeline and data parallelism.

use dlio_config::Workload;
use dlio_config::vocabulary::CheckpointMode;

use crate::{Error, World};

/// Upper limit of every number of elements, far below 2^64 so that sums of bytes cannot overflow.
pub(super) const LIMIT: u128 = 1 << 60;

/// Degrees of the model's parallelism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) tensor: u64,
    pub(super) pipeline: u64,
    pub(super) data: u64,
    /// The world consists of only the first ranks of the grid.
    pub(super) subset: bool,
}

/// Position of one rank in the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GridPosition {
    pub(super) rank: u32,
    /// Pipeline stage.
    pub(super) pp: u64,
    /// Number of the copy of the model.
    pub(super) dp: u64,
    /// Number of the part within a copy.
    pub(super) mp: u64,
}

impl Grid {
    pub(super) fn new(workload: &Workload, world: World) -> Result<Self, Error> {
        let model = &workload.model;
        let (tensor, pipeline) = (u64::from(model.tensor_parallelism), u64::from(model.pipeline_parallelism));
        let (size, parts) = (u64::from(world.size), tensor * pipeline);
        if workload.checkpoint.mode == CheckpointMode::Subset {
            let data = u64::from(model.data_parallelism.unwrap_or(1));
            let ranks = u128::from(parts) * u128::from(data);
            if ranks < u128::from(size) {
                return Err(Error::LargerThanModel { size, tensor, pipeline, data, ranks });
            }
            return Ok(Self { tensor, pipeline, data, subset: true });
        }
        if !size.is_multiple_of(parts) {
            return Err(Error::NotAMultiple { size, tensor, pipeline, parts });
        }
        Ok(Self { tensor, pipeline, data: size / parts, subset: false })
    }

    /// Returns the number of parts of one copy of the model.
    pub(super) fn parts(self) -> u64 {
        self.tensor * self.pipeline
    }

    /// Returns the number of ranks of the whole model.
    pub(super) fn ranks(self) -> u64 {
        self.parts().saturating_mul(self.data)
    }

    pub(super) fn position(self, rank: u32) -> GridPosition {
        let number = u64::from(rank);
        GridPosition {
            rank,
            pp: number / self.tensor % self.pipeline,
            dp: number / self.parts(),
            mp: number % self.parts(),
        }
    }
}
