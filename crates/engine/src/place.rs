//! The position of a rank in the run, for errors and warnings.

use dlio_event::{Phase, Position};

/// Rank and position in the run, as error messages show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Rank.
    pub rank: u32,
    /// Epoch, step and sample; 0 outside of them.
    pub at: Position,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.at.epoch > 0 {
            write!(f, "epoch {}, ", self.at.epoch)?;
        }
        if self.at.step > 0 {
            let eval = if self.at.phase == Phase::Eval { "evaluation " } else { "" };
            write!(f, "{eval}step {}, ", self.at.step)?;
        }
        write!(f, "rank {}", self.rank)
    }
}
