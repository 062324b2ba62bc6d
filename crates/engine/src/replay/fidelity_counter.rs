//! Counters of replayed operations, for the fidelity report.

use std::collections::BTreeMap;

use dlio_event::Nanos;
use dlio_plan::replay::{Fidelity, Issue, ReplayOp};

use super::worker::Report;

/// Counters that take reports in any order and count issues in their order.
pub(super) struct FidelityCounter {
    fidelity: Fidelity,
    /// Issues whose predecessors have not been reported yet; at most as many as operations in flight.
    early: BTreeMap<u64, (Issue, bool)>,
    next: u64,
    span: (Nanos, Nanos),
    stretched: Nanos,
}

impl Default for FidelityCounter {
    fn default() -> Self {
        Self { fidelity: Fidelity::default(), early: BTreeMap::new(), next: 0, span: (Nanos::MAX, 0), stretched: 0 }
    }
}

impl FidelityCounter {
    /// Counts a planned operation.
    pub(super) fn planned(&mut self, op: &ReplayOp) {
        self.fidelity.planned(op);
    }

    /// Counts an operation that was late and skipped.
    fn skipped(&mut self) {
        self.fidelity.operations_skipped += 1;
    }

    /// Counts an operation that was already late when it was read from the trace.
    pub(super) fn unread(&mut self) {
        self.skipped();
        self.fidelity.operations_unread += 1;
    }

    pub(super) fn take(&mut self, report: Report) {
        let done = match report {
            Report::Skipped => return self.skipped(),
            Report::Done(done) => done,
        };
        self.span = (self.span.0.min(done.issue.at), self.span.1.max(done.end));
        self.stretched = self.stretched.max(done.shift);
        self.early.insert(done.ticket, (done.issue, done.think));
        while let Some((issue, think)) = self.early.remove(&self.next) {
            self.fidelity.issued(issue, think);
            self.next += 1;
        }
        let counts = &mut self.fidelity;
        counts.busy_ns += done.end.saturating_sub(done.issue.at);
        counts.peak = counts.peak.max(done.running);
        counts.bytes_done += done.bytes;
        counts.opens += done.opens;
        counts.larger += u64::from(done.larger);
        counts.operations_failed_again += u64::from(done.failed_again);
        match done.failure {
            None => counts.operations_done += 1,
            Some(failure) => {
                counts.operations_failed += 1;
                counts.first_failure.get_or_insert(failure);
            }
        }
    }

    /// Returns the numbers of operations that are over, including skipped ones, and of bytes that they transferred.
    pub(super) fn over(&self) -> (u64, u64) {
        let counts = &self.fidelity;
        (counts.operations_done + counts.operations_failed + counts.operations_skipped, counts.bytes_done)
    }

    pub(super) fn finish(mut self) -> Fidelity {
        self.fidelity.span_ns = self.span.1.saturating_sub(self.span.0);
        self.fidelity.stretched_ns = self.stretched;
        self.fidelity
    }
}
