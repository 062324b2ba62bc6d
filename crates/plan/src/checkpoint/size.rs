//! Size of a checkpoint: as written, and as the reference computes it for its throughput.

use super::grid::LIMIT;
use super::{CheckpointPart, CheckpointPlan};
use crate::Error;

/// Sizes of tensors in bytes, by content, without the containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CheckpointBytes {
    /// Bytes of the generic state and of the layers.
    pub model: u64,
    /// Bytes of the optimizer state.
    pub optimizer: u64,
    /// Number of files.
    pub files: u64,
}

impl CheckpointBytes {
    /// Returns the bytes of model and optimizer together.
    #[must_use]
    pub fn total(self) -> u64 {
        self.model + self.optimizer
    }

    fn times(self, count: u64) -> Option<Self> {
        Some(Self {
            model: self.model.checked_mul(count)?,
            optimizer: self.optimizer.checked_mul(count)?,
            files: self.files.checked_mul(count)?,
        })
    }

    fn plus(self, other: Self) -> Option<Self> {
        let sum = Self {
            model: self.model.checked_add(other.model)?,
            optimizer: self.optimizer.checked_add(other.optimizer)?,
            files: self.files.checked_add(other.files)?,
        };
        (u128::from(sum.model) + u128::from(sum.optimizer) < LIMIT).then_some(sum)
    }
}

impl CheckpointPlan {
    /// Returns the size in bytes that the throughput of saving and loading is computed with. In the dialects `dlio` and
    /// `mlperf`, it is the reference's number, which may differ from the number of written bytes; a notice reports a
    /// difference.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.reported.total()
    }

    /// Returns the parts of [`size_bytes`](Self::size_bytes).
    #[must_use]
    pub fn reported(&self) -> CheckpointBytes {
        self.reported
    }

    /// Returns the bytes that all ranks together write for one checkpoint.
    #[must_use]
    pub fn written(&self) -> CheckpointBytes {
        self.written
    }

    /// Returns the bytes of the tensors that a rank writes for one checkpoint.
    #[must_use]
    pub fn rank_bytes(&self, rank: u32) -> u64 {
        self.rank_parts(rank).total()
    }

    /// Returns the parts of [`rank_bytes`](Self::rank_bytes).
    #[must_use]
    pub fn rank_parts(&self, rank: u32) -> CheckpointBytes {
        let mut bytes = CheckpointBytes::default();
        for file in self.files(rank) {
            match file.part {
                CheckpointPart::Model | CheckpointPart::Layers => bytes.model += file.bytes(),
                CheckpointPart::Optimizer => bytes.optimizer += file.bytes(),
            }
            bytes.files += 1;
        }
        bytes
    }

    /// Returns the number of ranks of each kind with the bytes that each of them writes. All ranks of a kind write the
    /// same number of bytes.
    #[must_use]
    pub fn kinds(&self) -> Vec<(u64, CheckpointBytes)> {
        self.representatives().map(|(rank, count)| (count, self.rank_parts(rank))).collect()
    }

    pub(super) fn written_by_all(&self) -> Result<CheckpointBytes, Error> {
        add_up(self.representatives().map(|(rank, count)| (self.rank_parts(rank), count)))
    }

    /// Computes the size as the reference does: the memory of its ranks. Predefined layers and groups are omitted, a
    /// model that stage 2 keeps on every copy counts on every copy, and the generic state replaces the layers and
    /// counts once.
    pub(super) fn as_the_reference_counts(&self) -> Result<CheckpointBytes, Error> {
        let model = &self.model;
        let held = |rank: u32| {
            let position = self.grid.position(rank);
            let mut bytes = CheckpointBytes::default();
            if !model.holds_state(position) || model.layers == 0 {
                return bytes;
            }
            if model.layer_parameters.is_empty() && (model.zero_stage != 1 || position.dp == 0) {
                let elements: u64 = model.stage(position.pp).flat_map(|layer| model.layer(layer)).sum();
                bytes.model = elements * model.dtype.itemsize();
            }
            if model.groups.is_empty() {
                bytes.optimizer = model.optimizer().iter().sum::<u64>() * model.optimizer_dtype.itemsize();
            }
            bytes
        };
        let mut bytes = add_up(self.representatives().map(|(rank, count)| (held(rank), count)))?;
        if model.generic > 0 {
            bytes.model = model.generic;
        }
        bytes.files = self.written.files;
        Ok(bytes)
    }

    /// Returns one rank for every pipeline stage of the first copy of the model and of a later copy, each with the
    /// number of ranks in the world that write the same number of bytes.
    pub fn representatives(&self) -> impl Iterator<Item = (u32, u64)> + use<> {
        let (tensor, parts, size) = (self.grid.tensor, self.grid.parts(), u64::from(self.world.size));
        let later = size.saturating_sub(parts);
        let stages = (0..self.grid.pipeline).flat_map(move |stage| {
            let start = stage * tensor;
            let first = size.saturating_sub(start).min(tensor);
            // Complete later copies, and the part of the last copy that is in the world.
            let rest = later / parts * tensor + (later % parts).saturating_sub(start).min(tensor);
            [(start, first), (parts + start, rest)]
        });
        stages.filter(|(_, count)| *count > 0).filter_map(|(rank, count)| Some((u32::try_from(rank).ok()?, count)))
    }
}

fn add_up(parts: impl Iterator<Item = (CheckpointBytes, u64)>) -> Result<CheckpointBytes, Error> {
    let mut sum = CheckpointBytes::default();
    for (bytes, count) in parts {
        let more = bytes.times(count).and_then(|more| sum.plus(more));
        sum = more.ok_or(Error::ModelTooLarge { key: "model" })?;
    }
    Ok(sum)
}
