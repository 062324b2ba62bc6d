//! Totals over the ranks of a run.

use std::collections::BTreeMap;

use crate::pass::class::group_of;
use crate::pass::rank_stats::{GroupStats, IoStats, Timelines};
use crate::pass::summary::Summary;
use dlio_event::{Histogram, OpKind};

/// Totals over the ranks.
pub(crate) struct RunTotals {
    pub(crate) groups: BTreeMap<usize, GroupStats>,
    pub(crate) ranks: BTreeMap<u32, IoStats>,
    pub(crate) hosts: BTreeMap<String, (u32, IoStats)>,
    pub(crate) endpoints: BTreeMap<String, IoStats>,
    /// Durations of reads that ended well.
    pub(crate) reads: Histogram,
    pub(crate) timelines: Timelines,
}

impl RunTotals {
    pub(crate) fn of(summary: &Summary) -> Self {
        let io = summary.io.clone();
        let mut sums = Self {
            groups: io.groups,
            ranks: BTreeMap::new(),
            hosts: BTreeMap::new(),
            endpoints: io.endpoints,
            reads: Histogram::default(),
            timelines: Timelines::default(),
        };
        for part in &summary.parts {
            sums.ranks.insert(part.index, part.flow.clone());
            let (ranks, host) = sums.hosts.entry(part.host.clone()).or_default();
            *ranks += 1;
            host.merge(&part.flow);
            sums.reads.merge(&part.flow.reads);
            sums.timelines.merge(&part.timelines);
        }
        sums
    }

    /// Returns the durations of each kind of storage operation over all sizes, by the number of the kind.
    pub(crate) fn kinds(&self) -> BTreeMap<usize, Histogram> {
        let mut kinds: BTreeMap<usize, Histogram> = BTreeMap::new();
        for (kind, group) in self.kinds_and_groups().filter(|(kind, _)| kind.is_storage()) {
            kinds.entry(kind as usize).or_default().merge(&group.times.whole);
        }
        kinds
    }

    /// Returns the durations of all operations whose kind satisfies `counts`.
    pub(crate) fn merged(&self, counts: fn(OpKind) -> bool) -> Histogram {
        let mut all = Histogram::default();
        for (_, group) in self.kinds_and_groups().filter(|(kind, _)| counts(*kind)) {
            all.merge(&group.times.whole);
        }
        all
    }

    fn kinds_and_groups(&self) -> impl Iterator<Item = (OpKind, &GroupStats)> {
        self.groups.iter().filter_map(|(key, group)| group_of(*key).map(|(kind, _)| (kind, group)))
    }
}
