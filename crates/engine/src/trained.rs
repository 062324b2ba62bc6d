//! Measurements of a run of one rank.

use dlio_event::RankTimings;

use crate::Cost;

/// Measurements of a run of one rank.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trained {
    /// Times of each epoch, block and step.
    pub timings: RankTimings,
    /// CPU time of the client itself.
    pub cost: Cost,
}
