//! Components of the time of a wait, or of an epoch's lost AU.

use serde::{Deserialize, Serialize};

/// Components of a wait or of a loss, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WaitBreakdown {
    /// Time before requests were handed to a connection (`t_start_ns` to `t_issue_ns`).
    pub queueing: u64,
    /// Time from the hand-over to the first byte of the response.
    pub first_byte: u64,
    /// Time from the first byte to the end; from the hand-over if the first byte was not measured.
    pub transfer: u64,
    /// Failed attempts, and pauses before the next attempt.
    pub retries: u64,
    /// Decoding and preprocessing.
    pub decode: u64,
    /// Waiting for other ranks.
    pub barrier: u64,
    /// Saving and loading checkpoints between steps.
    pub checkpoint: u64,
    /// Time that no row of the trace explains.
    pub rest: u64,
}

impl WaitBreakdown {
    /// Returns names and amounts, in the order of a request's life.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 8] {
        [
            ("queueing", self.queueing),
            ("first byte", self.first_byte),
            ("transfer", self.transfer),
            ("retries", self.retries),
            ("decode", self.decode),
            ("barrier", self.barrier),
            ("checkpoint", self.checkpoint),
            ("rest", self.rest),
        ]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.queueing += other.queueing;
        self.first_byte += other.first_byte;
        self.transfer += other.transfer;
        self.retries += other.retries;
        self.decode += other.decode;
        self.barrier += other.barrier;
        self.checkpoint += other.checkpoint;
        self.rest += other.rest;
    }
}
