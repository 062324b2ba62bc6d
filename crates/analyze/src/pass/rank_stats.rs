//! Statistics of one rank's trace: sums, histograms and lists that can be merged and sent to another process. They are
//! integers or bit patterns, so that results do not depend on the order of merging.

use std::collections::BTreeMap;

use dlio_event::Histogram;
use dlio_event::{OpKind, RankTimings};
use serde::{Deserialize, Serialize};

use super::objects::Locator;
use super::samples::Order;
use super::step_attribution::ConnectionOpenings;
use crate::durations::DurationHistograms;
use crate::metric::RankMetric;
use crate::rank_timings::EpochTime;
use crate::timeline::Timeline;
use crate::wait_breakdown::WaitBreakdown;

/// Operations of one kind and size class.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct GroupStats {
    pub(crate) bytes: u64,
    pub(crate) errors: u64,
    pub(crate) retries: u64,
    pub(crate) times: DurationHistograms,
}

impl GroupStats {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.errors += other.errors;
        self.retries += other.retries;
        self.times.merge(&other.times);
    }
}

/// I/O of an endpoint or of a rank.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct IoStats {
    pub(crate) operations: u64,
    pub(crate) read_bytes: u64,
    pub(crate) written_bytes: u64,
    pub(crate) errors: u64,
    /// Durations of reads and writes.
    pub(crate) times: DurationHistograms,
    /// Durations of reads that ended well.
    pub(crate) reads: Histogram,
}

impl IoStats {
    /// Adds operations of one kind, size class and success.
    pub(crate) fn take(&mut self, kind: OpKind, ok: bool, group: &GroupStats) {
        let count = group.times.whole.count();
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

/// I/O of all ranks of a process.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct IoTotals {
    /// Operations by kind and size class.
    pub(crate) groups: BTreeMap<usize, GroupStats>,
    pub(crate) endpoints: BTreeMap<String, IoStats>,
}

impl IoTotals {
    pub(crate) fn merge(&mut self, other: &Self) {
        for (key, group) in &other.groups {
            self.groups.entry(*key).or_default().merge(group);
        }
        for (name, flow) in &other.endpoints {
            self.endpoints.entry(name.clone()).or_default().merge(flow);
        }
    }
}

/// Reads of one rank in one epoch.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct EpochReads {
    pub(crate) bytes: u64,
    pub(crate) operation_ns: u64,
    pub(crate) reads: u64,
    /// Number of reads that were as fast as memory.
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

/// Time of lanes by activity, nanoseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct LaneTime {
    pub(crate) storage: u64,
    pub(crate) client: u64,
}

/// Rates and shares over the run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Timelines {
    /// Bytes read and written.
    pub(crate) reads: Timeline,
    pub(crate) writes: Timeline,
    /// Number of storage operations.
    pub(crate) operations: Timeline,
    /// Duration of storage operations, nanoseconds; several may be in flight at a time.
    pub(crate) in_flight: Timeline,
    /// Durations, nanoseconds.
    pub(crate) computing: Timeline,
    pub(crate) training: Timeline,
    pub(crate) waiting: Timeline,
    /// Nanoseconds with at least one storage operation in flight; empty if rows are not retained.
    pub(crate) busy: Timeline,
}

impl Timelines {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.reads.merge(&other.reads);
        self.writes.merge(&other.writes);
        self.operations.merge(&other.operations);
        self.in_flight.merge(&other.in_flight);
        self.computing.merge(&other.computing);
        self.training.merge(&other.training);
        self.waiting.merge(&other.waiting);
        self.busy.merge(&other.busy);
    }
}

/// Waits of the counted steps of one epoch, and the barriers of all of its steps.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct EpochWait {
    pub(crate) steps: u64,
    pub(crate) parts: WaitBreakdown,
}

/// A step with a long wait.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LongWait {
    pub(crate) epoch: u32,
    pub(crate) step: u32,
    pub(crate) rank: u32,
    pub(crate) wait: u64,
    pub(crate) parts: WaitBreakdown,
    pub(crate) object: Option<Locator>,
    pub(crate) endpoint: String,
}

/// The slowest first request of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct SlowestFirstRequest {
    pub(crate) nanos: u64,
    pub(crate) rank: u32,
    pub(crate) epoch: u32,
    pub(crate) step: u32,
}

/// Overlap of computation and storage operations, nanoseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct OverlapTime {
    pub(crate) both: u64,
    pub(crate) compute: u64,
    pub(crate) io: u64,
    pub(crate) neither: u64,
    /// Operations in flight, integrated over time in nanoseconds.
    pub(crate) in_flight: u64,
    pub(crate) most: u64,
    /// Total duration of the operations that began in that time, nanoseconds.
    pub(crate) begun: u64,
}

impl OverlapTime {
    /// Adds a period with a constant number of operations in flight.
    pub(crate) fn pass(&mut self, nanos: u64, in_flight: u64, computing: bool) {
        let part = match (computing, in_flight > 0) {
            (true, true) => &mut self.both,
            (true, false) => &mut self.compute,
            (false, true) => &mut self.io,
            (false, false) => &mut self.neither,
        };
        *part += nanos;
        self.in_flight += nanos.saturating_mul(in_flight);
        self.most = self.most.max(in_flight);
    }

    pub(crate) fn add(&mut self, later: &Self) {
        self.both += later.both;
        self.compute += later.compute;
        self.io += later.io;
        self.neither += later.neither;
        self.in_flight += later.in_flight;
        self.most = self.most.max(later.most);
        self.begun += later.begun;
    }
}

/// A random sample of values, of at most twice `MOST`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ReservoirSample {
    every: u64,
    seen: u64,
    pub(crate) values: Vec<u64>,
}

impl ReservoirSample {
    const MOST: usize = 2_048;

    pub(crate) fn push(&mut self, value: u64) {
        // `every` is a power of two. The choice is pseudorandom, because reads repeat in patterns.
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

/// Ages of connections: first request, 2nd to 10th, 11th to 100th, later.
pub(crate) const CONNECTION_AGES: [&str; 4] =
    ["first request", "2nd to 10th request", "11th to 100th request", "later requests"];

/// All statistics of one rank.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct RankStats {
    /// Index of the trace among all traces.
    pub(crate) index: u32,
    pub(crate) rank: u32,
    pub(crate) host: String,
    /// I/O with all endpoints.
    pub(crate) flow: IoStats,
    /// Waiting of training steps by endpoint, nanoseconds.
    pub(crate) waited_for: BTreeMap<String, u64>,
    pub(crate) epochs: BTreeMap<u32, EpochReads>,
    pub(crate) outcomes: BTreeMap<String, u64>,
    pub(crate) lanes: LaneTime,
    pub(crate) timelines: Timelines,
    /// Timings without those of single steps.
    pub(crate) timings: RankTimings,
    pub(crate) metric: RankMetric,
    /// Computation of the counted steps, and the time that AU divides it by, per epoch, nanoseconds.
    pub(crate) counted: Vec<(u64, u64)>,
    pub(crate) times: Vec<EpochTime>,
    pub(crate) losses: BTreeMap<u32, EpochWait>,
    pub(crate) long_waits: Vec<LongWait>,
    pub(crate) waits: ReservoirSample,
    pub(crate) steps: ReservoirSample,
    /// Steps with their barriers, which determine AU and samples per second, nanoseconds.
    pub(crate) rounds: ReservoirSample,
    pub(crate) reads: ReservoirSample,
    pub(crate) waited: u64,
    /// Waits of counted steps that operations explain, and their share in failed attempts, nanoseconds.
    pub(crate) explained: u64,
    pub(crate) retried: u64,
    pub(crate) opened: ConnectionOpenings,
    pub(crate) slowest_first: Option<SlowestFirstRequest>,
    /// Durations of reads that ended well, by age of the connection.
    pub(crate) ages: [Histogram; 4],
    /// Throttled requests by endpoint and second of the run.
    pub(crate) refused: BTreeMap<String, BTreeMap<u64, u64>>,
    pub(crate) overlap: Option<OverlapTime>,
    /// Number of operations that came too late for the overlap.
    pub(crate) late: u64,
    /// Bytes read; number of reads after a lane's first read of an object; and how many of these continued the previous
    /// one.
    pub(crate) read_bytes: u64,
    pub(crate) later_reads: u64,
    pub(crate) continued_reads: u64,
    pub(crate) orders: Vec<Order>,
}
