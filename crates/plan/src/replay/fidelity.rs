//! How closely a replay followed its trace.

use dlio_event::Nanos;
use serde::{Deserialize, Serialize};

use super::{Histogram, ReplayKind, ReplayOp};

/// An operation at the moment of its issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Issue {
    /// Its number in recorded order.
    pub number: u64,
    /// When it was recorded, from the start of the replay and at its speed.
    pub recorded: Nanos,
    /// When it should have been issued; `None`: as soon as possible.
    pub due: Option<Nanos>,
    /// When it was.
    pub at: Nanos,
}

/// What one rank, or all of them, achieved.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Fidelity {
    /// Operations that were to be done.
    pub operations_planned: u64,
    /// Operations that succeeded.
    pub operations_done: u64,
    /// Operations that failed.
    pub operations_failed: u64,
    /// Operations that were left out because they were late.
    pub operations_skipped: u64,
    /// Those of them that were late before they had been read from the trace.
    pub operations_unread: u64,
    /// Operations that failed as they did when they were recorded (`--failed issue`).
    pub operations_failed_again: u64,
    /// Attempts that failed when they were recorded, and were left out for that.
    pub recorded_failures_left_out: u64,
    /// Files that were opened for reading when the trace was recorded.
    pub opens_recorded: u64,
    /// Files that were opened for reading.
    pub opens: u64,
    /// Reads that found an object larger than recorded, where all of it or more than there was had been asked for.
    pub larger: u64,
    /// Bytes that were to be moved by all operations.
    pub bytes_planned: u64,
    /// Bytes that were moved.
    pub bytes_done: u64,
    /// How far the schedule was moved (`--late stretch`), nanoseconds.
    pub stretched_ns: u64,
    /// Operations that were issued after one that was recorded after them.
    pub inversions: u64,
    /// Added up time of operations when recorded, at recorded speed, nanoseconds.
    pub recorded_busy_ns: u64,
    /// Time from the first recorded start to the last end.
    pub recorded_span_ns: u64,
    /// Operations at a time at most, as recorded: of one rank.
    pub recorded_peak: u64,
    /// Added up time of operations in the replay.
    pub busy_ns: u64,
    /// Time from the first issue to the last end.
    pub span_ns: u64,
    /// Operations at a time at most in the replay: of one rank.
    pub peak: u64,
    /// Issue minus due.
    pub issue_error: Histogram,
    /// Pause minus recorded pause (closed timing).
    pub think_error: Histogram,
    /// Recorded times from one issue of a rank to its next.
    pub recorded_gaps: Histogram,
    /// The same in the replay.
    pub gaps: Histogram,
    /// What the first failure said.
    pub first_failure: Option<String>,
    last: Option<(u64, Nanos, Nanos)>,
}

impl Fidelity {
    /// Counts an operation that is to be done.
    pub fn planned(&mut self, op: &ReplayOp) {
        if op.kind.is_loop() {
            return;
        }
        self.operations_planned += 1;
        self.opens_recorded += u64::from(op.kind == ReplayKind::Open);
        self.bytes_planned = self.bytes_planned.saturating_add(op.bytes);
    }

    /// Counts an issue; `think` says that the due moment is the end of a pause.
    pub fn issued(&mut self, issue: Issue, think: bool) {
        if let Some(due) = issue.due {
            let error = issue.at.abs_diff(due);
            self.issue_error.record(error);
            if think {
                self.think_error.record(error);
            }
        }
        match self.last {
            Some((number, _, _)) if issue.number < number => self.inversions += 1,
            Some((_, recorded, at)) => {
                self.recorded_gaps.record(issue.recorded.saturating_sub(recorded));
                self.gaps.record(issue.at.saturating_sub(at));
                self.last = Some((issue.number, issue.recorded, issue.at));
            }
            None => self.last = Some((issue.number, issue.recorded, issue.at)),
        }
    }

    /// Adds another rank.
    pub fn merge(&mut self, other: &Self) {
        self.operations_planned += other.operations_planned;
        self.operations_done += other.operations_done;
        self.operations_failed += other.operations_failed;
        self.operations_skipped += other.operations_skipped;
        self.operations_unread += other.operations_unread;
        self.operations_failed_again += other.operations_failed_again;
        self.recorded_failures_left_out += other.recorded_failures_left_out;
        self.opens_recorded += other.opens_recorded;
        self.opens += other.opens;
        self.larger += other.larger;
        self.bytes_planned += other.bytes_planned;
        self.bytes_done += other.bytes_done;
        self.stretched_ns = self.stretched_ns.max(other.stretched_ns);
        self.inversions += other.inversions;
        self.recorded_busy_ns += other.recorded_busy_ns;
        self.recorded_span_ns = self.recorded_span_ns.max(other.recorded_span_ns);
        self.recorded_peak = self.recorded_peak.max(other.recorded_peak);
        self.busy_ns += other.busy_ns;
        self.span_ns = self.span_ns.max(other.span_ns);
        self.peak = self.peak.max(other.peak);
        self.issue_error.merge(&other.issue_error);
        self.think_error.merge(&other.think_error);
        self.recorded_gaps.merge(&other.recorded_gaps);
        self.gaps.merge(&other.gaps);
        if self.first_failure.is_none() {
            self.first_failure.clone_from(&other.first_failure);
        }
    }

    /// Operations at a time on average, as recorded and in the replay.
    #[must_use]
    pub fn concurrency(&self) -> (f64, f64) {
        let mean = |busy: u64, span: u64| if span == 0 { 0.0 } else { busy as f64 / span as f64 };
        (mean(self.recorded_busy_ns, self.recorded_span_ns), mean(self.busy_ns, self.span_ns))
    }
}
