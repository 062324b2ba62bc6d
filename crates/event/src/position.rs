//! Position of an event in a run.

/// Phase of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Phase {
    /// Before the first epoch: preflight checks, listing, and creation of folders.
    #[default]
    Setup,
    /// Generation of the dataset.
    Generate,
    /// Training part of an epoch.
    Train,
    /// Evaluation part of an epoch.
    Eval,
    /// A checkpoint is saved or loaded.
    Checkpoint,
}

impl Phase {
    /// All values, in the order of their numbers.
    pub const ALL: &[Phase] = &[Phase::Setup, Phase::Generate, Phase::Train, Phase::Eval, Phase::Checkpoint];

    /// Returns the name that is used in traces, plans and reports.
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

    /// Returns the value with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Phase::ALL.iter().copied().find(|phase| phase.name() == name)
    }
}

/// Epoch, block, step and sample of an event. As in the reference, epochs, blocks and steps are counted from 1; 0 means
/// that the event is outside of any. Step numbers continue across the blocks of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Phase of the run.
    pub phase: Phase,
    /// Number of the epoch, from 1.
    pub epoch: u32,
    /// Number of the block within the epoch, from 1.
    pub block: u32,
    /// Number of the step within the epoch, from 1.
    pub step: u32,
    /// Global sample index, if the event concerns one sample.
    pub sample: Option<u64>,
}
