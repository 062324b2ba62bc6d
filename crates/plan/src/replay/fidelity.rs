//! Metrics of how closely a replay follows its trace.

use dlio_event::{Histogram, Nanos};
use serde::{Deserialize, Serialize};

use super::{ReplayKind, ReplayOp};

/// The issue of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Issue {
    /// Number of the operation in recorded order.
    pub number: u64,
    /// Recorded time in nanoseconds since the start of the replay, at its speed.
    pub recorded: Nanos,
    /// Time at which the operation was due, in nanoseconds; `None` if it was to be issued as soon as possible.
    pub due: Option<Nanos>,
    /// Time at which the operation was issued, in nanoseconds.
    pub at: Nanos,
}

/// Fidelity of one rank, or of all ranks together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Fidelity {
    /// Number of planned operations.
    pub operations_planned: u64,
    /// Number of operations that succeeded.
    pub operations_done: u64,
    /// Number of operations that failed.
    pub operations_failed: u64,
    /// Number of operations that were skipped because they were late.
    pub operations_skipped: u64,
    /// Number of skipped operations that were late before they were read from the trace.
    pub operations_unread: u64,
    /// Number of operations that failed as they did in the recording (`--failed issue`).
    pub operations_failed_again: u64,
    /// Number of attempts that failed in the recording and were therefore left out.
    pub recorded_failures_left_out: u64,
    /// Number of files that were opened for reading in the recording.
    pub opens_recorded: u64,
    /// Number of files that were opened for reading.
    pub opens: u64,
    /// Number of reads that found an object larger than recorded, although the recorded read had requested all of it,
    /// or more than existed.
    pub larger: u64,
    /// Bytes that all operations were to transfer.
    pub bytes_planned: u64,
    /// Bytes that were transferred.
    pub bytes_done: u64,
    /// Delay of the schedule in nanoseconds (`--late stretch`).
    pub stretched_ns: u64,
    /// Number of operations that were issued after an operation that was recorded later.
    pub inversions: u64,
    /// Sum of the recorded durations of operations in nanoseconds, at recorded speed.
    pub recorded_busy_ns: u64,
    /// Time from the first recorded start to the last recorded end, in nanoseconds.
    pub recorded_span_ns: u64,
    /// Maximum number of concurrent operations of one rank in the recording.
    pub recorded_peak: u64,
    /// Sum of the durations of operations in the replay, in nanoseconds.
    pub busy_ns: u64,
    /// Time from the first issue to the last end, in nanoseconds.
    pub span_ns: u64,
    /// Maximum number of concurrent operations of one rank in the replay.
    pub peak: u64,
    /// Issue time minus due time, in nanoseconds.
    pub issue_error: Histogram,
    /// Pause minus recorded pause, in nanoseconds (closed timing).
    pub think_error: Histogram,
    /// Recorded times between consecutive issues of a rank, in nanoseconds.
    pub recorded_gaps: Histogram,
    /// Times between consecutive issues of a rank in the replay, in nanoseconds.
    pub gaps: Histogram,
    /// Message of the first failure.
    pub first_failure: Option<String>,
    last: Option<(u64, Nanos, Nanos)>,
}

impl Fidelity {
    /// Counts a planned operation.
    pub fn planned(&mut self, op: &ReplayOp) {
        if op.kind.is_loop() {
            return;
        }
        self.operations_planned += 1;
        self.opens_recorded += u64::from(op.kind == ReplayKind::Open);
        self.bytes_planned = self.bytes_planned.saturating_add(op.bytes);
    }

    /// Counts an issue. `think` means that the due time is the end of a pause.
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

    /// Adds the numbers of another rank.
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

    /// Returns the mean number of concurrent operations in the recording and in the replay.
    #[must_use]
    pub fn concurrency(&self) -> (f64, f64) {
        let mean = |busy: u64, span: u64| if span == 0 { 0.0 } else { busy as f64 / span as f64 };
        (mean(self.recorded_busy_ns, self.recorded_span_ns), mean(self.busy_ns, self.span_ns))
    }
}
