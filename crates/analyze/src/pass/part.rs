//! What one rank's trace comes to: sums, histograms and lists that can be merged and sent to another process. Only whole
//! numbers (or bit patterns), so that it makes no difference where they are added up.

use std::collections::BTreeMap;

use dlio_event::{OpKind, RankTimings};
use serde::{Deserialize, Serialize};

use super::objects::Locator;
use super::samples::Order;
use super::walk::Opened;
use crate::histogram::{Histogram, Times};
use crate::metric::RankMetric;
use crate::rebuild::EpochTime;
use crate::timeline::Timeline;
use crate::why::Parts;

/// Bounds between the size classes of operations, bytes.
pub(crate) const SIZE_BOUNDS: &[u64] = &[0, 4 << 10, 64 << 10, 1 << 20, 16 << 20, 256 << 20];

/// The class of an operation by the bytes that it moved: 0 for none.
pub(crate) fn size_class(bytes: u64) -> usize {
    SIZE_BOUNDS.partition_point(|bound| *bound < bytes)
}

/// Kind and size class as one number.
pub(crate) fn group_key(kind: OpKind, class: usize) -> usize {
    (kind as usize) << 3 | class
}

/// The kind and size class of such a number.
pub(crate) fn group_of(key: usize) -> Option<(OpKind, usize)> {
    OpKind::ALL.get(key >> 3).map(|kind| (*kind, key & 7))
}

/// Numbers of possible groups.
pub(crate) const GROUPS: usize = OpKind::ALL.len() << 3;

/// Operations of one kind and size class.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) bytes: u64,
    pub(crate) errors: u64,
    pub(crate) retries: u64,
    pub(crate) times: Times,
}

impl Group {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.errors += other.errors;
        self.retries += other.retries;
        self.times.merge(&other.times);
    }
}

/// What was exchanged with an endpoint, or by a rank.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Flow {
    pub(crate) operations: u64,
    pub(crate) read_bytes: u64,
    pub(crate) written_bytes: u64,
    pub(crate) errors: u64,
    /// Reads and writes.
    pub(crate) times: Times,
    /// Reads that ended well.
    pub(crate) reads: Histogram,
}

impl Flow {
    /// Adds operations of one kind, size class and outcome.
    pub(crate) fn take(&mut self, kind: OpKind, ok: bool, group: &Group) {
        let count = group.times.whole.count;
        self.operations += count;
        self.read_bytes += if kind.is_read() { group.bytes } else { 0 };
        self.written_bytes += if kind.is_write() { group.bytes } else { 0 };
        self.errors += if ok { 0 } else { count };
        if kind.is_read() || kind.is_write() {
            self.times.merge(&group.times);
        }
        if kind.is_read() && ok {
            self.reads.merge(&group.times.whole);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.operations += other.operations;
        self.read_bytes += other.read_bytes;
        self.written_bytes += other.written_bytes;
        self.errors += other.errors;
        self.times.merge(&other.times);
        self.reads.merge(&other.reads);
    }
}

/// What all ranks of a process exchanged.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Exchanged {
    /// By kind and size class.
    pub(crate) groups: BTreeMap<usize, Group>,
    pub(crate) endpoints: BTreeMap<String, Flow>,
}

impl Exchanged {
    pub(crate) fn merge(&mut self, other: &Self) {
        for (key, group) in &other.groups {
            self.groups.entry(*key).or_default().merge(group);
        }
        for (name, flow) in &other.endpoints {
            self.endpoints.entry(name.clone()).or_default().merge(flow);
        }
    }
}

/// Reads of one epoch by one rank.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct EpochReads {
    pub(crate) bytes: u64,
    pub(crate) operation_ns: u64,
    pub(crate) reads: u64,
    /// Reads that were as fast as memory.
    pub(crate) from_memory: u64,
}

impl EpochReads {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.operation_ns += other.operation_ns;
        self.reads += other.reads;
        self.from_memory += other.from_memory;
    }
}

/// How lanes spent their time, nanoseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct LaneTime {
    pub(crate) storage: u64,
    pub(crate) client: u64,
}

/// Over the run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Lines {
    /// Bytes.
    pub(crate) reads: Timeline,
    pub(crate) writes: Timeline,
    /// Storage operations.
    pub(crate) operations: Timeline,
    /// Nanoseconds of storage operations: more than one may be in flight.
    pub(crate) flying: Timeline,
    /// Nanoseconds.
    pub(crate) computing: Timeline,
    pub(crate) training: Timeline,
    pub(crate) waiting: Timeline,
    /// Nanoseconds with at least one storage operation in flight; nothing if rows were not kept.
    pub(crate) busy: Timeline,
}

impl Lines {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.reads.merge(&other.reads);
        self.writes.merge(&other.writes);
        self.operations.merge(&other.operations);
        self.flying.merge(&other.flying);
        self.computing.merge(&other.computing);
        self.training.merge(&other.training);
        self.waiting.merge(&other.waiting);
        self.busy.merge(&other.busy);
    }
}

/// What the steps of one epoch that count waited for, and the barriers of all of its steps.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct EpochLoss {
    pub(crate) steps: u64,
    pub(crate) parts: Parts,
}

/// A step with a long wait.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LongWait {
    pub(crate) epoch: u32,
    pub(crate) step: u32,
    pub(crate) rank: u32,
    pub(crate) wait: u64,
    pub(crate) parts: Parts,
    pub(crate) object: Option<Locator>,
    pub(crate) endpoint: String,
}

/// The slowest first request of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Coldest {
    pub(crate) nanos: u64,
    pub(crate) rank: u32,
    pub(crate) epoch: u32,
    pub(crate) step: u32,
}

/// What happened at the same time, nanoseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Together {
    pub(crate) both: u64,
    pub(crate) compute: u64,
    pub(crate) io: u64,
    pub(crate) neither: u64,
    /// Operations in flight, times nanoseconds.
    pub(crate) flying: u64,
    pub(crate) most: u64,
    /// Nanoseconds of the operations that began then.
    pub(crate) begun: u64,
}

impl Together {
    /// For some time, this many operations were in flight.
    pub(crate) fn pass(&mut self, nanos: u64, flying: u64, computing: bool) {
        let part = match (computing, flying > 0) {
            (true, true) => &mut self.both,
            (true, false) => &mut self.compute,
            (false, true) => &mut self.io,
            (false, false) => &mut self.neither,
        };
        *part += nanos;
        self.flying += nanos.saturating_mul(flying);
        self.most = self.most.max(flying);
    }

    pub(crate) fn add(&mut self, later: &Self) {
        self.both += later.both;
        self.compute += later.compute;
        self.io += later.io;
        self.neither += later.neither;
        self.flying += later.flying;
        self.most = self.most.max(later.most);
        self.begun += later.begun;
    }
}

/// Values of which at most twice `MOST` are kept, evenly picked.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Picked {
    every: u64,
    seen: u64,
    pub(crate) values: Vec<u64>,
}

impl Picked {
    const MOST: usize = 2_048;

    pub(crate) fn push(&mut self, value: u64) {
        // `every` is a power of two. Which of so many is kept is chance: reads come in patterns.
        let every = self.every.max(1);
        let chance = |number: u64| number.wrapping_add(1).wrapping_mul(0x9fb2_1c65_1e98_df25) >> 32;
        if self.seen & (every - 1) == chance(self.seen / every) & (every - 1) {
            self.values.push(value);
        }
        self.seen += 1;
        if self.values.len() == 2 * Self::MOST {
            let pairs = self.values.chunks(2).zip(0..);
            self.values = pairs.filter_map(|(pair, at)| pair.get((chance(at) & 1) as usize).copied()).collect();
            self.every = every * 2;
        }
    }
}

/// Connection ages: first request, 2nd to 10th, 11th to 100th, later.
pub(crate) const AGES: [&str; 4] = ["first request", "2nd to 10th request", "11th to 100th request", "later requests"];

/// Everything about one rank.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct RankPart {
    /// Of the trace, in the order of all traces.
    pub(crate) index: u32,
    pub(crate) rank: u32,
    pub(crate) host: String,
    /// What it exchanged with all endpoints.
    pub(crate) flow: Flow,
    /// Nanoseconds of waits of training steps that operations of each endpoint took.
    pub(crate) waited_for: BTreeMap<String, u64>,
    pub(crate) epochs: BTreeMap<u32, EpochReads>,
    pub(crate) outcomes: BTreeMap<String, u64>,
    pub(crate) lanes: LaneTime,
    pub(crate) lines: Lines,
    /// Without the times of steps.
    pub(crate) timings: RankTimings,
    pub(crate) metric: RankMetric,
    /// Of each of its epochs, computation of the steps that count, and the time that it is divided by, nanoseconds.
    pub(crate) counted: Vec<(u64, u64)>,
    pub(crate) times: Vec<EpochTime>,
    pub(crate) losses: BTreeMap<u32, EpochLoss>,
    pub(crate) long_waits: Vec<LongWait>,
    pub(crate) waits: Picked,
    pub(crate) steps: Picked,
    /// The same with the barrier: AU and samples per second are of these.
    pub(crate) rounds: Picked,
    pub(crate) reads: Picked,
    pub(crate) waited: u64,
    /// All waits of steps that count, as far as operations explain them, and the part of failed attempts.
    pub(crate) explained: u64,
    pub(crate) retried: u64,
    pub(crate) opened: Opened,
    pub(crate) coldest: Option<Coldest>,
    /// Reads that ended well, by the age of their connection.
    pub(crate) ages: [Histogram; 4],
    /// Refusals by endpoint and second of the run.
    pub(crate) refused: BTreeMap<String, BTreeMap<u64, u64>>,
    pub(crate) together: Option<Together>,
    /// Operations that were met too late for it.
    pub(crate) late: u64,
    /// Bytes read, and of all but first reads of an object by a lane: how many, and how many continued the one before.
    pub(crate) read_bytes: u64,
    pub(crate) later_reads: u64,
    pub(crate) continued_reads: u64,
    pub(crate) orders: Vec<Order>,
}
