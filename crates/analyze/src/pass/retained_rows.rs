//! Retained rows of a rank, 16 bytes each. They make percentiles exact, and slow reads can be counted by object.

use std::collections::BTreeMap;

use dlio_event::OpKind;
use dlio_event::histogram::{bounds, bucket};
use serde::{Deserialize, Serialize};

use super::class::{Class, GROUPS};
use super::object_reads::ObjectReadCounts;
use super::objects::{Locator, Map, NO_OBJECT, add_counts};
use super::rank_stats::RankStats;
use crate::bucket_values::Values;
use crate::durations::{DurationBuckets, DurationValues, UNKNOWN};

/// In [`RetainedRow`]: the duration needs more bits and is in a separate list.
const LONG: u32 = u32::MAX;
/// In [`RetainedRow`]: no first byte was measured.
const NO_FIRST: u32 = u32::MAX;

/// A retained row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetainedRow {
    nanos: u32,
    first_byte: u32,
    object: u32,
    class: u32,
}

impl RetainedRow {
    pub(crate) fn new(class: u32, object: u64, nanos: u64, first_byte: u64) -> Self {
        // The lower half of the hash distinguishes objects well enough to count their slow reads.
        let object = u32::try_from(object & u64::from(u32::MAX)).unwrap_or(0);
        let first_byte = u32::try_from(first_byte).unwrap_or(NO_FIRST);
        Self { nanos: u32::try_from(nanos).unwrap_or(LONG), first_byte, object, class }
    }

    pub(crate) fn is_long(&self) -> bool {
        self.nanos == LONG
    }
}

/// Retained rows of one row group, in their order.
#[derive(Debug, Default)]
pub(crate) struct RetainedGroup {
    pub(crate) rows: Vec<RetainedRow>,
    /// Row number, duration and time to the first byte of rows with long durations.
    pub(crate) long: Vec<(u32, [u64; 2])>,
}

impl RetainedGroup {
    /// Iterates over rows with their number, duration and time to the first byte.
    fn iter(&self) -> impl Iterator<Item = (u32, &RetainedRow, u64, u64)> {
        let mut long = self.long.iter();
        (0_u32..).zip(&self.rows).map(move |(at, row)| {
            if row.is_long() {
                let [nanos, first] = long.next().map_or([u64::from(LONG), UNKNOWN], |(_, long)| *long);
                return (at, row, nanos, first);
            }
            let first = if row.first_byte == NO_FIRST { UNKNOWN } else { u64::from(row.first_byte) };
            (at, row, u64::from(row.nanos), first)
        })
    }
}

/// Retained rows of one rank.
#[derive(Debug, Default)]
pub(crate) struct RetainedRows {
    pub(crate) groups: Vec<RetainedGroup>,
    /// Meaning of the class and endpoint numbers.
    pub(crate) classes: Vec<Class>,
    pub(crate) endpoints: Vec<String>,
}

/// Query to the retained rows: the buckets whose values are needed for percentiles.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct PercentileQuery {
    pub(crate) groups: BTreeMap<usize, DurationBuckets>,
    pub(crate) ranks: BTreeMap<u32, DurationBuckets>,
    pub(crate) hosts: BTreeMap<String, DurationBuckets>,
    pub(crate) endpoints: BTreeMap<String, DurationBuckets>,
    /// All reads that ended well.
    pub(crate) reads: DurationBuckets,
    /// All operations of a storage kind, by its number; all reads; and all writes. Whole durations only.
    pub(crate) kinds: BTreeMap<usize, DurationBuckets>,
    pub(crate) all_reads: DurationBuckets,
    pub(crate) all_writes: DurationBuckets,
    /// Bucket above which reads are slow.
    pub(crate) slow_above: usize,
}

/// Values in the buckets of a [`PercentileQuery`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct PercentileResult {
    pub(crate) groups: BTreeMap<usize, DurationValues>,
    pub(crate) ranks: BTreeMap<u32, DurationValues>,
    pub(crate) hosts: BTreeMap<String, DurationValues>,
    pub(crate) endpoints: BTreeMap<String, DurationValues>,
    pub(crate) reads: DurationValues,
    pub(crate) kinds: BTreeMap<usize, DurationValues>,
    pub(crate) all_reads: DurationValues,
    pub(crate) all_writes: DurationValues,
}

impl PercentileResult {
    pub(crate) fn merge(&mut self, other: Self) {
        fn all<K: Ord>(mine: &mut BTreeMap<K, DurationValues>, theirs: BTreeMap<K, DurationValues>) {
            for (key, found) in theirs {
                mine.entry(key).or_default().merge(found);
            }
        }
        all(&mut self.groups, other.groups);
        all(&mut self.ranks, other.ranks);
        all(&mut self.hosts, other.hosts);
        all(&mut self.endpoints, other.endpoints);
        all(&mut self.kinds, other.kinds);
        self.reads.merge(other.reads);
        self.all_reads.merge(other.all_reads);
        self.all_writes.merge(other.all_writes);
    }
}

/// Objects with slow reads: the location of each name, and a count.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(u32, Locator, u64)>", into = "Vec<(u32, Locator, u64)>")]
pub(crate) struct SlowObjects(Map<u32, (Locator, u64)>);

/// Largest number of objects with slow reads that are examined.
const OBJECTS: usize = 4096;

/// Size of the filter in bits, as a power of two: it fits into the processor cache.
const FILTER_BITS: u32 = 22;

/// Filter for a set of objects: a hashed bit for each rejects most other objects without a look-up.
pub(crate) struct ObjectFilter<'a> {
    objects: &'a SlowObjects,
    bits: Vec<u64>,
}

impl<'a> ObjectFilter<'a> {
    pub(crate) fn new(objects: &'a SlowObjects) -> Self {
        let mut bits = vec![0; 1 << (FILTER_BITS - 6)];
        for object in objects.0.keys() {
            let (word, bit) = Self::bit(*object);
            bits[word] |= bit;
        }
        Self { objects, bits }
    }

    fn bit(object: u32) -> (usize, u64) {
        let bit = object >> (32 - FILTER_BITS);
        ((bit / 64) as usize, 1 << (bit % 64))
    }

    fn find(&self, object: u32) -> Option<Locator> {
        let (word, bit) = Self::bit(object);
        let maybe = self.bits[word] & bit != 0;
        maybe.then(|| self.objects.0.get(&object)).flatten().map(|(at, _)| *at)
    }
}

impl SlowObjects {
    pub(crate) fn merge(&mut self, mut other: Self) {
        if self.0.len() < other.0.len() {
            std::mem::swap(self, &mut other);
        }
        add_counts(&mut self.0, other.0.into_iter());
    }

    /// Keeps the objects with the most slow reads: only for these is it worth counting all reads.
    pub(crate) fn cut(self) -> Self {
        let mut list: Vec<(u32, Locator, u64)> = self.into();
        list.sort_unstable_by_key(|(object, _, count)| (std::cmp::Reverse(*count), *object));
        list.truncate(OBJECTS);
        list.into()
    }

    /// Returns each object with the location of its name, the number of its reads from `reads`, and its number of slow
    /// reads from `self`.
    pub(crate) fn with_all_reads(&self, reads: &Self) -> Vec<ObjectReadCounts> {
        let all = |object: u32| reads.0.get(&object).map_or(0, |(_, count)| *count);
        let reads = self.0.iter().map(|(object, (at, slow))| (*object, *at, all(*object), *slow));
        reads.map(|(object, at, all, slow)| ObjectReadCounts { object, at, all, slow }).collect()
    }
}

impl From<SlowObjects> for Vec<(u32, Locator, u64)> {
    fn from(objects: SlowObjects) -> Self {
        objects.0.into_iter().map(|(object, (at, count))| (object, at, count)).collect()
    }
}

impl From<Vec<(u32, Locator, u64)>> for SlowObjects {
    fn from(list: Vec<(u32, Locator, u64)>) -> Self {
        Self(list.into_iter().map(|(object, at, count)| (object, (at, count))).collect())
    }
}

impl RetainedRows {
    /// Returns, for each class, whether it consists of reads that ended well.
    fn good_reads(&self) -> Vec<bool> {
        let good = |class: &Class| class.ok && class.kind().is_some_and(OpKind::is_read);
        self.classes.iter().map(good).collect()
    }

    /// Adds the objects with slow reads among the rows of a group.
    pub(crate) fn slow_objects(&self, group: usize, part: &RankStats, query: &PercentileQuery, into: &mut SlowObjects) {
        let good = self.good_reads();
        let limit = bounds(query.slow_above + 1).0;
        for (at, row, nanos, _) in self.groups[group].iter() {
            if nanos >= limit && good[row.class as usize] && u64::from(row.object) != NO_OBJECT {
                let here = Locator { trace: part.index, group: u32::try_from(group).unwrap_or(u32::MAX), row: at };
                let known = into.0.entry(row.object).or_insert((here, 0));
                *known = (known.0.min(here), known.1 + 1);
            }
        }
    }

    /// Runs a query on the rows of a group, and counts the successful reads of objects with slow reads.
    pub(crate) fn look_up(
        &self,
        (group, part): (usize, &RankStats),
        query: &PercentileQuery,
        slow: &ObjectFilter<'_>,
        into: &mut QueryResult,
    ) {
        let scopes = ScopeMasks::new(self, part, query);
        let good = self.good_reads();
        let scopes_count = ENDPOINTS_AT + self.endpoints.len();
        let mut found: Vec<DurationValues> = (0..scopes_count).map(|_| DurationValues::default()).collect();
        for (_, row, nanos, first) in self.groups[group].iter() {
            let class = row.class as usize;
            let [of_whole, of_first, of_transfer] = &scopes.masks[class];
            of_whole.take(nanos, &scopes.places[class], &mut found, |found| &mut found.whole);
            if first != UNKNOWN {
                of_first.take(first, &scopes.places[class], &mut found, |found| &mut found.first_byte);
                let rest = nanos.saturating_sub(first);
                of_transfer.take(rest, &scopes.places[class], &mut found, |found| &mut found.transfer);
            }
            if good[class]
                && let Some(at) = slow.find(row.object)
            {
                into.reads.0.entry(row.object).or_insert((at, 0)).1 += 1;
            }
        }
        let result = &mut into.percentiles;
        for (at, found) in found.into_iter().enumerate().filter(|(_, found)| !found.is_empty()) {
            let known = match at {
                RANK_AT => result.ranks.entry(part.index).or_default(),
                HOST_AT => result.hosts.entry(part.host.clone()).or_default(),
                READS_AT => &mut result.reads,
                ALL_READS_AT => &mut result.all_reads,
                ALL_WRITES_AT => &mut result.all_writes,
                _ if at < GROUPS => result.groups.entry(at).or_default(),
                _ if at < ENDPOINTS_AT => result.kinds.entry(at - KINDS_AT).or_default(),
                _ => result.endpoints.entry(self.endpoints[at - ENDPOINTS_AT].clone()).or_default(),
            };
            known.merge(found);
        }
    }
}

/// Result of the second look at the retained rows.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct QueryResult {
    /// Values near percentiles.
    pub(crate) percentiles: PercentileResult,
    /// Successful reads of the objects with slow reads.
    pub(crate) reads: SlowObjects,
}

impl QueryResult {
    pub(crate) fn merge(&mut self, other: Self) {
        self.percentiles.merge(other.percentiles);
        self.reads.merge(other.reads);
    }
}

/// Positions in the list of values by scope: groups come first, then these, then kinds and endpoints.
const RANK_AT: usize = GROUPS;
const HOST_AT: usize = GROUPS + 1;
const READS_AT: usize = GROUPS + 2;
const ALL_READS_AT: usize = GROUPS + 3;
const ALL_WRITES_AT: usize = GROUPS + 4;
const KINDS_AT: usize = GROUPS + 5;
const ENDPOINTS_AT: usize = KINDS_AT + OpKind::ALL.len();
/// Number of scopes that an operation can belong to.
const SCOPES: usize = 7;

/// Scopes that need the values of each class of operations.
struct ScopeMasks {
    masks: Vec<[BucketMask; 3]>,
    /// Positions in the list of values: group, rank, host, reads, endpoint, kind, direction.
    places: Vec<[usize; SCOPES]>,
}

impl ScopeMasks {
    fn new(retained: &RetainedRows, part: &RankStats, query: &PercentileQuery) -> Self {
        let none = DurationBuckets::default();
        let (rank, host) = (query.ranks.get(&part.index), query.hosts.get(&part.host));
        let of = |class: &Class| {
            let group = usize::from(class.group);
            let mut wanted = [&none; SCOPES];
            wanted[0] = query.groups.get(&group).unwrap_or(&none);
            let kind = class.kind();
            if kind.is_some_and(|kind| kind.is_read() || kind.is_write()) {
                let endpoint = retained.endpoints.get(usize::from(class.endpoint));
                wanted[1] = rank.unwrap_or(&none);
                wanted[2] = host.unwrap_or(&none);
                wanted[4] = endpoint.and_then(|name| query.endpoints.get(name)).unwrap_or(&none);
            }
            if class.ok && kind.is_some_and(OpKind::is_read) {
                wanted[3] = &query.reads;
            }
            let mut direction = ALL_READS_AT;
            if let Some(kind) = kind.filter(|kind| kind.is_storage()) {
                wanted[5] = query.kinds.get(&(kind as usize)).unwrap_or(&none);
                if kind.is_read() {
                    wanted[6] = &query.all_reads;
                } else if kind.is_write() {
                    (wanted[6], direction) = (&query.all_writes, ALL_WRITES_AT);
                }
            }
            let mask = |part: fn(&DurationBuckets) -> &Vec<usize>| BucketMask::new(wanted.map(part));
            let masks =
                [mask(|wanted| &wanted.whole), mask(|wanted| &wanted.first_byte), mask(|wanted| &wanted.transfer)];
            let endpoint = ENDPOINTS_AT + usize::from(class.endpoint);
            let kind = KINDS_AT + kind.map_or(0, |kind| kind as usize);
            (masks, [group, RANK_AT, HOST_AT, READS_AT, endpoint, kind, direction])
        };
        let (masks, places) = retained.classes.iter().map(of).unzip();
        Self { masks, places }
    }
}

/// For each bucket, the scopes that need its values, one bit each.
struct BucketMask {
    first: usize,
    bits: Vec<u8>,
}

impl BucketMask {
    fn new(wanted: [&Vec<usize>; SCOPES]) -> Self {
        let all = || wanted.iter().copied().flatten();
        let first = all().min().copied().unwrap_or(0);
        let mut bits = vec![0; all().max().map_or(0, |last| last - first + 1)];
        for (bit, buckets) in wanted.iter().enumerate() {
            for bucket in *buckets {
                bits[bucket - first] |= 1 << bit;
            }
        }
        Self { first, bits }
    }

    fn take(
        &self,
        value: u64,
        places: &[usize; SCOPES],
        found: &mut [DurationValues],
        part: fn(&mut DurationValues) -> &mut Values,
    ) {
        let bucket = bucket(value);
        let mut bits = self.bits.get(bucket.wrapping_sub(self.first)).copied().unwrap_or(0);
        while bits != 0 {
            part(&mut found[places[bits.trailing_zeros() as usize]]).take(bucket, value);
            bits &= bits - 1;
        }
    }
}
