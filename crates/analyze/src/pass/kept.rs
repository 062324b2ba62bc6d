//! The rows of a rank in 16 bytes each: kept where there are not too many, so that percentiles are exact and slow reads can be
//! counted by object.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::digest::Class;
use super::objects::{Locator, Map, NO_OBJECT, add_counts};
use super::part::{GROUPS, RankPart};
use super::tally::Reads;
use crate::histogram::{Found, UNKNOWN, Values, Wanted, bucket, lowest};

/// In [`KeptRow`]: a duration that needs more bits is in a list beside the rows.
const LONG: u32 = u32::MAX;
/// In [`KeptRow`]: no first byte.
const NO_FIRST: u32 = u32::MAX;

/// One row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeptRow {
    nanos: u32,
    first_byte: u32,
    object: u32,
    class: u32,
}

impl KeptRow {
    pub(crate) fn new(class: u32, object: u64, nanos: u64, first_byte: u64) -> Self {
        // The lower half tells objects apart well enough to count their slow reads.
        let object = u32::try_from(object & u64::from(u32::MAX)).unwrap_or(0);
        let first_byte = u32::try_from(first_byte).unwrap_or(NO_FIRST);
        Self { nanos: u32::try_from(nanos).unwrap_or(LONG), first_byte, object, class }
    }

    pub(crate) fn is_long(&self) -> bool {
        self.nanos == LONG
    }
}

/// The rows of one row group, in their order.
#[derive(Debug, Default)]
pub(crate) struct KeptGroup {
    pub(crate) rows: Vec<KeptRow>,
    /// Row, duration and time to the first byte of those that are long.
    pub(crate) long: Vec<(u32, [u64; 2])>,
}

impl KeptGroup {
    /// Each row with its number, duration and time to the first byte.
    fn iter(&self) -> impl Iterator<Item = (u32, &KeptRow, u64, u64)> {
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

/// The rows of one rank.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) groups: Vec<KeptGroup>,
    /// What the numbers in the rows stand for.
    pub(crate) classes: Vec<Class>,
    pub(crate) endpoints: Vec<String>,
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
pub(crate) struct SlowObjects(Map<u32, (Locator, u64)>);

/// Objects with slow reads that are looked at more closely.
const OBJECTS: usize = 4096;

/// Bits of a sieve, as a power of two: they stay in the cache.
const SIEVE: u32 = 22;

/// Tells most objects that are not among some from those: a bit for each of them, which few others share.
pub(crate) struct Sieve<'a> {
    objects: &'a SlowObjects,
    bits: Vec<u64>,
}

impl<'a> Sieve<'a> {
    pub(crate) fn new(objects: &'a SlowObjects) -> Self {
        let mut bits = vec![0; 1 << (SIEVE - 6)];
        for object in objects.0.keys() {
            let (word, bit) = Self::bit(*object);
            bits[word] |= bit;
        }
        Self { objects, bits }
    }

    fn bit(object: u32) -> (usize, u64) {
        let bit = object >> (32 - SIEVE);
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

    /// Keeps the objects with the most: only those are worth counting all their reads.
    pub(crate) fn cut(self) -> Self {
        let mut list: Vec<(u32, Locator, u64)> = self.into();
        list.sort_unstable_by_key(|(object, _, count)| (std::cmp::Reverse(*count), *object));
        list.truncate(OBJECTS);
        list.into()
    }

    /// Each object, where its name is, how many of its reads were counted by `reads`, and by this.
    pub(crate) fn beside(&self, reads: &Self) -> Vec<Reads> {
        let all = |object: u32| reads.0.get(&object).map_or(0, |(_, count)| *count);
        let reads = self.0.iter().map(|(object, (at, slow))| (*object, *at, all(*object), *slow));
        reads.map(|(object, at, all, slow)| Reads { object, at, all, slow }).collect()
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

impl Kept {
    /// By class: whether it is of reads that ended well.
    fn good_reads(&self) -> Vec<bool> {
        let good = |class: &Class| class.ok && class.kind().is_some_and(dlio_event::OpKind::is_read);
        self.classes.iter().map(good).collect()
    }

    /// Adds the objects with slow reads among the rows of a group.
    pub(crate) fn slow_objects(&self, group: usize, part: &RankPart, question: &Question, into: &mut SlowObjects) {
        let good = self.good_reads();
        let limit = lowest(question.slow_above + 1);
        for (at, row, nanos, _) in self.groups[group].iter() {
            if nanos >= limit && good[row.class as usize] && u64::from(row.object) != NO_OBJECT {
                let here = Locator { trace: part.index, group: u32::try_from(group).unwrap_or(u32::MAX), row: at };
                let known = into.0.entry(row.object).or_insert((here, 0));
                *known = (known.0.min(here), known.1 + 1);
            }
        }
    }

    /// A second look at the rows of a group; also counts the good reads of objects with slow ones.
    pub(crate) fn answer(
        &self,
        (group, part): (usize, &RankPart),
        question: &Question,
        slow: &Sieve<'_>,
        into: &mut Looked,
    ) {
        let scopes = Scopes::new(self, part, question);
        let good = self.good_reads();
        let endpoints = self.endpoints.len();
        let mut found: Vec<Found> = (0..GROUPS + endpoints + 3).map(|_| Found::default()).collect();
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
        let answer = &mut into.answer;
        for (at, found) in found.into_iter().enumerate().filter(|(_, found)| !found.is_empty()) {
            let known = match at.checked_sub(GROUPS) {
                None => answer.groups.entry(at).or_default(),
                Some(0) => answer.ranks.entry(part.index).or_default(),
                Some(1) => answer.hosts.entry(part.host.clone()).or_default(),
                Some(2) => &mut answer.reads,
                Some(at) => answer.endpoints.entry(self.endpoints[at - 3].clone()).or_default(),
            };
            known.merge(found);
        }
    }
}

/// What a second look found.
#[derive(Default)]
pub(crate) struct Looked {
    pub(crate) answer: Answer,
    pub(crate) reads: SlowObjects,
}

/// Of each class, where percentiles want its values.
struct Scopes {
    masks: Vec<[Mask; 3]>,
    /// Places in a list of what was found: group, rank, host, reads, endpoint.
    places: Vec<[usize; 5]>,
}

impl Scopes {
    fn new(kept: &Kept, part: &RankPart, question: &Question) -> Self {
        let none = Wanted::default();
        let (rank, host) = (question.ranks.get(&part.index), question.hosts.get(&part.host));
        let of = |class: &Class| {
            let group = usize::from(class.group);
            let mut wanted = [&none; 5];
            wanted[0] = question.groups.get(&group).unwrap_or(&none);
            let kind = class.kind();
            if kind.is_some_and(|kind| kind.is_read() || kind.is_write()) {
                let endpoint = kept.endpoints.get(usize::from(class.endpoint));
                wanted[1] = rank.unwrap_or(&none);
                wanted[2] = host.unwrap_or(&none);
                wanted[4] = endpoint.and_then(|name| question.endpoints.get(name)).unwrap_or(&none);
            }
            if class.ok && kind.is_some_and(dlio_event::OpKind::is_read) {
                wanted[3] = &question.reads;
            }
            let mask = |part: fn(&Wanted) -> &Vec<usize>| Mask::new(wanted.map(part));
            let masks =
                [mask(|wanted| &wanted.whole), mask(|wanted| &wanted.first_byte), mask(|wanted| &wanted.transfer)];
            (masks, [group, GROUPS, GROUPS + 1, GROUPS + 2, GROUPS + 3 + usize::from(class.endpoint)])
        };
        let (masks, places) = kept.classes.iter().map(of).unzip();
        Self { masks, places }
    }
}

/// By bucket, who wants its values: a bit for each of five.
struct Mask {
    first: usize,
    bits: Vec<u8>,
}

impl Mask {
    fn new(wanted: [&Vec<usize>; 5]) -> Self {
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

    fn take(&self, value: u64, places: &[usize; 5], found: &mut [Found], part: fn(&mut Found) -> &mut Values) {
        let bucket = bucket(value);
        let bits = self.bits.get(bucket.wrapping_sub(self.first)).copied().unwrap_or(0);
        if bits == 0 {
            return;
        }
        for (bit, place) in places.iter().enumerate() {
            if bits & (1 << bit) != 0 {
                part(&mut found[*place]).take(bucket, value);
            }
        }
    }
}
