//! How large a checkpoint is: as written, and as the reference counts it for its throughput.

use super::grid::LIMIT;
use super::{CheckpointPart, CheckpointPlan};
use crate::Error;

/// Bytes of tensors by what they belong to, without the containers around them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CheckpointBytes {
    /// Generic state and layers.
    pub model: u64,
    /// State of the optimizer.
    pub optimizer: u64,
    /// Number of files.
    pub files: u64,
}

impl CheckpointBytes {
    /// Model and optimizer.
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
    /// What the throughput of saving and loading is computed with. In the dialects `dlio` and `mlperf` it is the
    /// reference's number, which is not always what is written; a notice tells when they differ.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.reported.total()
    }

    /// The parts of [`size_bytes`](Self::size_bytes).
    #[must_use]
    pub fn reported(&self) -> CheckpointBytes {
        self.reported
    }

    /// What all ranks together write for one checkpoint.
    #[must_use]
    pub fn written(&self) -> CheckpointBytes {
        self.written
    }

    /// Bytes of the tensors that a rank writes for one checkpoint.
    #[must_use]
    pub fn rank_bytes(&self, rank: u32) -> u64 {
        self.rank_parts(rank).total()
    }

    /// The same, part by part.
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

    /// What the ranks write, by kind of rank: all ranks of a kind write equally much.
    #[must_use]
    pub fn kinds(&self) -> Vec<(u64, CheckpointBytes)> {
        self.representatives().map(|(rank, count)| (count, self.rank_parts(rank))).collect()
    }

    pub(super) fn written_by_all(&self) -> Result<CheckpointBytes, Error> {
        add_up(self.representatives().map(|(rank, count)| (self.rank_parts(rank), count)))
    }

    /// The reference's own count: what its ranks hold in memory. Predefined layers and groups are forgotten, a model that
    /// stage 2 keeps on every copy is counted on every copy, and the generic state, counted once, replaces the layers.
    pub(super) fn as_the_reference_counts(&self) -> Result<CheckpointBytes, Error> {
        let model = &self.model;
        let held = |rank: u32| {
            let seat = self.grid.seat(rank);
            let mut bytes = CheckpointBytes::default();
            if !model.holds_state(seat) || model.layers == 0 {
                return bytes;
            }
            if model.layer_parameters.is_empty() && (model.zero_stage != 1 || seat.dp == 0) {
                let elements: u64 = model.stage(seat.pp).flat_map(|layer| model.layer(layer)).sum();
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

    /// One rank for every pipeline stage of the first copy of the model and of a later one, with the number of ranks in the
    /// world that write as much as it does.
    pub fn representatives(&self) -> impl Iterator<Item = (u32, u64)> + use<> {
        let (tensor, parts, size) = (self.grid.tensor, self.grid.parts(), u64::from(self.world.size));
        let later = size.saturating_sub(parts);
        let stages = (0..self.grid.pipeline).flat_map(move |stage| {
            let start = stage * tensor;
            let first = size.saturating_sub(start).min(tensor);
            // Whole later copies, and the part of the last one that is in the world.
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
