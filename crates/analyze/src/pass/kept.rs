//! The rows of a rank in 32 bytes each: kept where there are not too many, so that percentiles are exact, the sweep over
//! starts and ends is possible, and slow reads can be counted by object.

use std::collections::BTreeMap;

use dlio_event::OpKind;
use serde::{Deserialize, Serialize};

use super::objects::{Locator, Map, NO_OBJECT};
use super::part::{RankPart, Together, group_of};
use super::walk::{NO_ENDPOINT, Span};
use crate::histogram::{Found, UNKNOWN, Wanted, bucket};
use crate::timeline::{Extent, Timeline};
use crate::why::between;

/// In [`KeptRow::group`]: a read that ended well.
const GOOD_READ: u16 = 1 << 15;

/// One row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeptRow {
    start: i64,
    nanos: u64,
    first_byte: u64,
    object: u32,
    endpoint: u16,
    group: u16,
}

impl KeptRow {
    pub(crate) fn storage(
        start: i64,
        (nanos, first_byte): (u64, u64),
        (object, endpoint): (u64, u16),
        (group, good_read): (usize, bool),
    ) -> Self {
        let flag = if good_read { GOOD_READ } else { 0 };
        let group = u16::try_from(group).unwrap_or(0) | flag;
        // The lower half tells objects apart well enough to count their slow reads.
        let object = u32::try_from(object & u64::from(u32::MAX)).unwrap_or(0);
        Self { start, nanos, first_byte, object, endpoint, group }
    }

    pub(crate) fn span(start: i64, nanos: u64, group: usize) -> Self {
        Self::storage(start, (nanos, UNKNOWN), (NO_OBJECT, NO_ENDPOINT), (group, false))
    }

    fn key(&self) -> usize {
        usize::from(self.group & !GOOD_READ)
    }

    fn kind(&self) -> Option<OpKind> {
        group_of(self.key()).map(|(kind, _)| kind)
    }

    fn end(&self) -> i64 {
        self.start.saturating_add(i64::try_from(self.nanos).unwrap_or(i64::MAX))
    }
}

/// The rows of one rank.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    rows: Vec<KeptRow>,
    /// Rows up to the end of each group.
    ends: Vec<usize>,
    /// Names of the numbers in the rows.
    pub(crate) endpoints: Vec<String>,
}

impl Kept {
    pub(crate) fn with_capacity(rows: usize) -> Self {
        Self { rows: Vec::with_capacity(rows), ..Self::default() }
    }

    pub(crate) fn push(&mut self, row: KeptRow) {
        self.rows.push(row);
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// What comes next is of the next row group.
    pub(crate) fn group_over(&mut self) {
        self.ends.push(self.rows.len());
    }

    fn locate(&self, trace: u32, row: usize) -> Locator {
        let group = self.ends.partition_point(|end| *end <= row);
        let first = group.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Locator { trace, group: small(group), row: small(row - first) }
    }

    /// Goes through all starts and ends of storage operations and computations: how long at least one operation was in
    /// flight, slice by slice, and what overlapped within `during`.
    pub(crate) fn sweep(
        &self,
        computes: &mut [Span],
        during: Option<Span>,
        extent: Extent,
    ) -> (Timeline, Option<Together>) {
        let storage = || {
            let long = self.rows.iter().filter(|row| row.nanos > 0);
            long.filter(|row| row.kind().is_some_and(OpKind::is_storage))
        };
        let mut starts: Vec<i64> = storage().map(|row| row.start).collect();
        starts.sort_unstable();
        let mut ends: Vec<i64> = storage().map(KeptRow::end).collect();
        ends.sort_unstable();
        computes.sort_unstable();
        let mut edges: Vec<(i64, i64)> = computes.iter().flat_map(|(start, end)| [(*start, 1), (*end, -1)]).collect();
        edges.sort_unstable();
        let mut sweep = Sweep {
            during: during.unwrap_or((0, 0)),
            busy: Timeline::default(),
            found: Together::default(),
            extent,
            at: i64::MIN,
            since: None,
        };
        sweep.run(&starts, &ends, &edges);
        if let Some((from, to)) = during {
            let inside = storage().filter(|row| row.start >= from && row.start < to);
            sweep.found.begun = inside.map(|row| row.nanos).sum();
        }
        (sweep.busy, during.map(|_| sweep.found))
    }
}

struct Sweep {
    during: Span,
    busy: Timeline,
    found: Together,
    extent: Extent,
    at: i64,
    since: Option<i64>,
}

impl Sweep {
    fn run(&mut self, starts: &[i64], ends: &[i64], edges: &[(i64, i64)]) {
        let (mut begun, mut ended, mut turned, mut computing) = (0, 0, 0, 0_i64);
        self.at = self.during.0;
        loop {
            let next = [starts.get(begun), ends.get(ended), edges.get(turned).map(|edge| &edge.0)];
            let Some(time) = next.into_iter().flatten().min().copied() else { break };
            self.pass(time, (begun - ended) as u64, computing > 0);
            while ends.get(ended) == Some(&time) {
                ended += 1;
            }
            while starts.get(begun) == Some(&time) {
                begun += 1;
            }
            while let Some((_, change)) = edges.get(turned).filter(|edge| edge.0 == time) {
                computing += change;
                turned += 1;
            }
            match (self.since, begun > ended) {
                (None, true) => self.since = Some(time),
                (Some(since), false) => {
                    self.busy.add(self.extent.stretch(since, time), between(since, time) as f64);
                    self.since = None;
                }
                _ => {}
            }
        }
        self.pass(self.during.1, 0, false);
    }

    /// Up to `time`, this many operations were in flight.
    fn pass(&mut self, time: i64, flying: u64, computing: bool) {
        let until = time.min(self.during.1);
        let nanos = between(self.at, until);
        if nanos == 0 {
            return;
        }
        let found = &mut self.found;
        let part = match (computing, flying > 0) {
            (true, true) => &mut found.both,
            (true, false) => &mut found.compute,
            (false, true) => &mut found.io,
            (false, false) => &mut found.neither,
        };
        *part += nanos;
        found.flying += nanos.saturating_mul(flying);
        found.most = found.most.max(flying);
        self.at = until;
    }
}

/// What a second look at the rows is for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) groups: BTreeMap<usize, Wanted>,
    pub(crate) ranks: BTreeMap<u32, Wanted>,
    pub(crate) hosts: BTreeMap<String, Wanted>,
    pub(crate) endpoints: BTreeMap<String, Wanted>,
    /// Of all reads that ended well.
    pub(crate) reads: Wanted,
    /// Reads are slow whose bucket is above this one.
    pub(crate) slow_above: usize,
}

/// What it found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) groups: BTreeMap<usize, Found>,
    pub(crate) ranks: BTreeMap<u32, Found>,
    pub(crate) hosts: BTreeMap<String, Found>,
    pub(crate) endpoints: BTreeMap<String, Found>,
    pub(crate) reads: Found,
}

impl Answer {
    pub(crate) fn merge(&mut self, other: Self) {
        fn all<K: Ord>(mine: &mut BTreeMap<K, Found>, theirs: BTreeMap<K, Found>) {
            for (key, found) in theirs {
                mine.entry(key).or_default().merge(found);
            }
        }
        all(&mut self.groups, other.groups);
        all(&mut self.ranks, other.ranks);
        all(&mut self.hosts, other.hosts);
        all(&mut self.endpoints, other.endpoints);
        self.reads.merge(other.reads);
    }
}

/// Objects with slow reads: where the name of each is, and a count.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(u32, Locator, u64)>", into = "Vec<(u32, Locator, u64)>")]
pub(crate) struct SlowObjects {
    counts: Map<u32, (Locator, u64)>,
    /// A bit for each of them, and for some others: most objects need no look-up.
    sieve: Vec<u64>,
}

/// Bits of the sieve, as a power of two: they stay in the cache.
const SIEVE: u32 = 22;

impl SlowObjects {
    fn bit(object: u32) -> (usize, u64) {
        let bit = object >> (32 - SIEVE);
        ((bit / 64) as usize, 1 << (bit % 64))
    }

    fn maybe(&self, object: u32) -> bool {
        let (word, bit) = Self::bit(object);
        self.sieve.get(word).is_some_and(|word| word & bit != 0)
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.sieve.resize(1 << (SIEVE - 6), 0);
        for (object, (at, count)) in other.counts {
            let (word, bit) = Self::bit(object);
            self.sieve[word] |= bit;
            let known = self.counts.entry(object).or_insert((at, 0));
            *known = (known.0.min(at), known.1 + count);
        }
    }

    /// Each object, where its name is, how many of its reads were counted by `reads`, and by this.
    pub(crate) fn beside(&self, reads: &Self) -> Vec<(u32, Locator, u64, u64)> {
        let all = |object: u32| reads.counts.get(&object).map_or(0, |(_, count)| *count);
        let mut rows: Vec<_> =
            self.counts.iter().map(|(object, (at, slow))| (*object, *at, all(*object), *slow)).collect();
        rows.sort_unstable();
        rows
    }
}

impl From<SlowObjects> for Vec<(u32, Locator, u64)> {
    fn from(objects: SlowObjects) -> Self {
        objects.counts.into_iter().map(|(object, (at, count))| (object, at, count)).collect()
    }
}

impl From<Vec<(u32, Locator, u64)>> for SlowObjects {
    fn from(list: Vec<(u32, Locator, u64)>) -> Self {
        let counts = list.into_iter().map(|(object, at, count)| (object, (at, count))).collect();
        let mut objects = Self::default();
        objects.merge(Self { counts, sieve: Vec::new() });
        objects
    }
}

impl Kept {
    /// Objects with slow reads among some of the rows.
    pub(crate) fn slow_objects(
        &self,
        rows: std::ops::Range<usize>,
        part: &RankPart,
        question: &Question,
    ) -> SlowObjects {
        let mut slow = SlowObjects::default();
        for (at, row) in rows.clone().zip(&self.rows[rows]) {
            let good = row.group & GOOD_READ != 0 && u64::from(row.object) != NO_OBJECT;
            if good && bucket(row.nanos) > question.slow_above {
                slow.counts.entry(row.object).or_insert_with(|| (self.locate(part.index, at), 0)).1 += 1;
            }
        }
        slow
    }

    /// A second look at some of the rows; also counts the good reads of objects with slow ones.
    pub(crate) fn answer(
        &self,
        rows: std::ops::Range<usize>,
        part: &RankPart,
        question: &Question,
        slow: &SlowObjects,
    ) -> (Answer, SlowObjects) {
        let mut answer = Answer::default();
        let mut objects = SlowObjects::default();
        let mut rank = Found::default();
        let mut host = Found::default();
        let mut groups: Vec<(Option<&Wanted>, Found)> =
            (0..super::part::GROUPS).map(|key| (question.groups.get(&key), Found::default())).collect();
        let mut endpoints: Vec<(Option<&Wanted>, Found)> =
            self.endpoints.iter().map(|name| (question.endpoints.get(name), Found::default())).collect();
        let (of_rank, of_host) = (question.ranks.get(&part.index), question.hosts.get(&part.host));
        for row in &self.rows[rows] {
            let (nanos, first) = (row.nanos, row.first_byte);
            if let Some((Some(wanted), found)) = groups.get_mut(row.key()) {
                found.take(wanted, nanos, first);
            }
            if !row.kind().is_some_and(|kind| kind.is_read() || kind.is_write()) {
                continue;
            }
            if let Some((Some(wanted), found)) = endpoints.get_mut(usize::from(row.endpoint)) {
                found.take(wanted, nanos, first);
            }
            for (wanted, found) in [(of_rank, &mut rank), (of_host, &mut host)] {
                if let Some(wanted) = wanted {
                    found.take(wanted, nanos, first);
                }
            }
            if row.group & GOOD_READ != 0 {
                answer.reads.take(&question.reads, nanos, UNKNOWN);
                if slow.maybe(row.object)
                    && let Some((at, _)) = slow.counts.get(&row.object)
                {
                    objects.counts.entry(row.object).or_insert((*at, 0)).1 += 1;
                }
            }
        }
        answer.ranks.insert(part.index, rank);
        answer.hosts.insert(part.host.clone(), host);
        answer.groups = groups.into_iter().map(|(_, found)| found).enumerate().collect();
        answer.endpoints = self.endpoints.iter().cloned().zip(endpoints.into_iter().map(|(_, found)| found)).collect();
        (answer, objects)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pass::part::group_key;

    #[test]
    fn what_overlaps_is_counted_within_the_training_only() {
        let key = group_key(OpKind::Read, 1);
        let row = |start: i64, nanos| KeptRow::storage(start, (nanos, UNKNOWN), (0, 0), (key, true));
        let mut kept = Kept::default();
        for row in [row(0, 20), row(10, 20), row(40, 10), row(95, 50), row(30, 0)] {
            kept.push(row);
        }
        let extent = Extent { start: 0, end: 200 };
        let (busy, found) = kept.sweep(&mut [(20, 60), (70, 100)], Some((10, 100)), extent);
        let found = found.unwrap();
        // 10–20 two operations; 20–30 one and computation; 40–50 again; 95–100 again.
        assert_eq!((found.io, found.both, found.most), (10, 10 + 10 + 5, 2));
        assert_eq!((found.compute, found.neither), (10 + 10 + 25, 10));
        assert_eq!((found.flying, found.begun), (20 + 10 + 10 + 5, 20 + 10 + 50));
        assert!((busy.amounts.iter().sum::<f64>() - 90.0).abs() < 1e-9);
        assert_eq!(std::mem::size_of::<KeptRow>(), 32);
    }
}
