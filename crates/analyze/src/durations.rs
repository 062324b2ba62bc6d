//! Durations of operations and of their parts, as histograms and with the values that make percentiles exact.

use dlio_event::Histogram;
use serde::{Deserialize, Serialize};

use crate::bucket_values::{Values, percentile_buckets};
use crate::percentile::Latency;

/// Histograms of whole durations, and of their parts where they were measured.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct DurationHistograms {
    /// From start to end.
    pub(crate) whole: Histogram,
    /// From start to first byte.
    pub(crate) first_byte: Histogram,
    /// From first byte to end.
    pub(crate) transfer: Histogram,
}

/// Marks a first byte that was not measured.
pub(crate) const UNKNOWN: u64 = u64::MAX;

impl DurationHistograms {
    /// Adds an operation. `first_byte` is [`UNKNOWN`] if it was not measured.
    pub(crate) fn add(&mut self, whole: u64, first_byte: u64) {
        self.whole.record(whole);
        if first_byte != UNKNOWN {
            self.first_byte.record(first_byte);
            self.transfer.record(whole.saturating_sub(first_byte));
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.whole.merge(&other.whole);
        self.first_byte.merge(&other.first_byte);
        self.transfer.merge(&other.transfer);
    }

    pub(crate) fn buckets(&self) -> DurationBuckets {
        let mut wanted = DurationBuckets::default();
        percentile_buckets(&self.whole, &mut wanted.whole);
        percentile_buckets(&self.first_byte, &mut wanted.first_byte);
        percentile_buckets(&self.transfer, &mut wanted.transfer);
        wanted
    }

    /// Returns the percentiles of whole durations, of times to the first byte, and of transfers.
    pub(crate) fn latencies(&self, kept: &mut DurationValues) -> (Latency, Option<Latency>, Option<Latency>) {
        let part =
            |histogram: &Histogram, kept: &mut Values| (histogram.count() > 0).then(|| Latency::of(histogram, kept));
        (
            Latency::of(&self.whole, &mut kept.whole),
            part(&self.first_byte, &mut kept.first_byte),
            part(&self.transfer, &mut kept.transfer),
        )
    }
}

/// Buckets of [`DurationHistograms`] that percentiles fall into.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct DurationBuckets {
    pub(crate) whole: Vec<usize>,
    pub(crate) first_byte: Vec<usize>,
    pub(crate) transfer: Vec<usize>,
}

/// Values of these buckets.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct DurationValues {
    pub(crate) whole: Values,
    pub(crate) first_byte: Values,
    pub(crate) transfer: Values,
}

impl DurationValues {
    pub(crate) fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.first_byte.is_empty() && self.transfer.is_empty()
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.whole.merge(other.whole);
        self.first_byte.merge(other.first_byte);
        self.transfer.merge(other.transfer);
    }
}
