//! Where in a run something happened.

/// Which part of a run an event belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Phase {
    /// Before the first epoch: preflight, listing, creation of folders.
    #[default]
    Setup,
    /// Writing the data set.
    Generate,
    /// The training part of an epoch.
    Train,
    /// The evaluation part of an epoch.
    Eval,
    /// Saving or loading a checkpoint.
    Checkpoint,
}

impl Phase {
    /// Every value, in the order of the numbers.
    pub const ALL: &[Phase] = &[Phase::Setup, Phase::Generate, Phase::Train, Phase::Eval, Phase::Checkpoint];

    /// The name in traces, plans and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Phase::Setup => "setup",
            Phase::Generate => "generate",
            Phase::Train => "train",
            Phase::Eval => "eval",
            Phase::Checkpoint => "checkpoint",
        }
    }

    /// The value with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Phase::ALL.iter().copied().find(|phase| phase.name() == name)
    }
}

/// Epoch, block, step and sample of an event. Epochs, blocks and steps count from 1 as the reference does;
/// 0 means "not in one". Steps count within their epoch (they do not restart with a block).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Part of the run.
    pub phase: Phase,
    /// Epoch, from 1.
    pub epoch: u32,
    /// Block of the epoch, from 1.
    pub block: u32,
    /// Step of the epoch, from 1.
    pub step: u32,
    /// Global sample index, where one sample is concerned.
    pub sample: Option<u64>,
}
