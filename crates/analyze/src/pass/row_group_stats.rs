//! Statistics of a row group that do not depend on the rows before it. Any thread computes them right after decoding,
//! in any order of groups. Sums are integers; floating-point amounts are added up in the order of groups.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dlio_event::{OpKind, Phase};
use dlio_trace::{NO_TIME, Rows};

use super::class::{Class, GROUPS, group_key, size_class, went_well};
use super::context::{PassContext, RowBatch};
use super::objects::NO_OBJECT;
use super::overlap::Edges;
use super::rank_stats::{EpochReads, GroupStats, IoStats, IoTotals, LaneTime, RankStats, Timelines};
use super::retained_rows::RetainedRow;
use super::step_attribution::NO_ENDPOINT;
use crate::durations::UNKNOWN;
use crate::timeline::between;

/// Speed of a read in bytes per nanosecond (GB/s) that only memory reaches, and the smallest size to judge it.
const MEMORY_BYTES_PER_NS: f64 = 4.0;
const MEMORY_BYTES: u64 = 16 << 10;
/// Marks a class that has no number yet.
const NEW: u32 = u32::MAX;

/// Endpoint names and classes of a rank, numbered in the order of their first use.
#[derive(Debug, Default)]
pub(crate) struct ClassRegistry(Mutex<ClassTable>);

#[derive(Debug, Default)]
pub(crate) struct ClassTable {
    pub(crate) endpoints: Vec<String>,
    pub(crate) classes: Vec<Class>,
    numbers: BTreeMap<Class, u32>,
}

impl ClassRegistry {
    fn lock(&self) -> MutexGuard<'_, ClassTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn take(&self) -> ClassTable {
        std::mem::take(&mut self.lock())
    }

    fn class(&self, class: Class) -> u32 {
        let mut all = self.lock();
        if let Some(known) = all.numbers.get(&class) {
            return *known;
        }
        let number = u32::try_from(all.classes.len()).unwrap_or(NEW - 1);
        all.classes.push(class);
        all.numbers.insert(class, number);
        number
    }

    /// Returns the numbers of the endpoint names of a batch; the first is for rows without a name. Names that no
    /// storage operation uses have no number.
    pub(crate) fn endpoints(&self, rows: &Rows) -> Vec<u16> {
        let mut used = vec![false; rows.endpoint.count() + 1];
        for (row, kind) in rows.kind.iter().enumerate() {
            if kind.is_storage() {
                used[rows.endpoint.key(row).map_or(0, |key| key + 1)] = true;
            }
        }
        let mut all = self.lock();
        let name = |key: usize| key.checked_sub(1).and_then(|key| rows.endpoint.value(key)).unwrap_or("local");
        let mut number = |(key, used): (usize, bool)| {
            if !used {
                return NO_ENDPOINT;
            }
            let known = all.endpoints.iter().position(|known| known == name(key));
            let at = known.unwrap_or_else(|| {
                all.endpoints.push(name(key).to_owned());
                all.endpoints.len() - 1
            });
            u16::try_from(at).unwrap_or(NO_ENDPOINT)
        };
        used.into_iter().enumerate().map(&mut number).collect()
    }
}

/// Totals over row groups of one rank; each thread has its own.
#[derive(Debug, Default)]
pub(crate) struct RankTotals {
    classes: Vec<GroupStats>,
    /// Numbers of the classes that this thread has looked up.
    known: Vec<u32>,
    epochs: BTreeMap<u32, EpochReads>,
    lanes: LaneTime,
    read_bytes: u64,
}

/// Statistics of one row group besides the totals.
#[derive(Debug, Default)]
pub(crate) struct RowGroupStats {
    pub(crate) timelines: Timelines,
    pub(crate) retained: Vec<RetainedRow>,
    /// Durations that do not fit into a retained row.
    pub(crate) long: Vec<(u32, [u64; 2])>,
    pub(crate) edges: Edges,
}

/// A storage operation.
struct Operation {
    start: i64,
    end: i64,
    nanos: u64,
    first: u64,
    class: u32,
    object: u64,
}

impl RankTotals {
    /// Adds the rows of a batch.
    pub(crate) fn add(
        &mut self,
        batch: &RowBatch,
        registry: &ClassRegistry,
        (stats, context): (&mut RowGroupStats, &PassContext<'_>),
    ) {
        for row in 0..batch.rows.len() {
            if batch.rows.kind[row].is_storage() {
                self.storage(batch, row, registry, (stats, context));
            } else {
                self.span(&batch.rows, row, registry, (stats, context));
            }
        }
    }

    /// Returns the number of a class, and its totals.
    fn class(&mut self, class: Class, registry: &ClassRegistry) -> (u32, &mut GroupStats) {
        let endpoint = usize::from(class.endpoint.wrapping_add(1));
        let at = (endpoint * GROUPS + usize::from(class.group)) * 2 + usize::from(class.ok);
        if at >= self.known.len() {
            self.known.resize(at + 1, NEW);
        }
        if self.known[at] == NEW {
            self.known[at] = registry.class(class);
        }
        let number = self.known[at];
        if number as usize >= self.classes.len() {
            self.classes.resize_with(number as usize + 1, GroupStats::default);
        }
        (number, &mut self.classes[number as usize])
    }

    fn storage(
        &mut self,
        batch: &RowBatch,
        row: usize,
        registry: &ClassRegistry,
        (stats, context): (&mut RowGroupStats, &PassContext<'_>),
    ) {
        let rows = &batch.rows;
        let (kind, bytes, start, end) = (rows.kind[row], rows.bytes[row], rows.start[row], rows.end[row]);
        let nanos = between(start, end);
        let first = match rows.first_byte[row] {
            NO_TIME => UNKNOWN,
            first => between(start, first).min(nanos),
        };
        let endpoint = batch.endpoints[rows.endpoint.key(row).map_or(0, |key| key + 1)];
        let group = u16::try_from(group_key(kind, size_class(bytes))).unwrap_or(0);
        let ok = went_well(kind, rows.outcome[row]);
        let (class, sums) = self.class(Class { endpoint, group, ok }, registry);
        sums.bytes += bytes;
        sums.retries += u64::from(rows.attempt[row] > 0);
        sums.times.add(nanos, first);
        let (read, object) = (kind.is_read(), batch.objects[row]);
        let stretch = context.axis.stretch(start, end);
        stats.timelines.operations.add(stretch, 1.0);
        stats.timelines.in_flight.add(stretch, nanos as f64);
        if read {
            stats.timelines.reads.add(stretch, bytes as f64);
            self.read_bytes += if object == NO_OBJECT { 0 } else { bytes };
        } else if kind.is_write() {
            stats.timelines.writes.add(stretch, bytes as f64);
        }
        stats.keep(&Operation { start, end, nanos, first, class, object }, context.keep);
        if rows.phase[row] == Phase::Train && rows.epoch[row] > 0 {
            self.lanes.storage += nanos;
            if read {
                let reads = self.epochs.entry(rows.epoch[row]).or_default();
                reads.bytes += bytes;
                reads.operation_ns += nanos;
                reads.reads += 1;
                let fast = bytes >= MEMORY_BYTES && bytes as f64 >= MEMORY_BYTES_PER_NS * nanos as f64;
                reads.from_memory += u64::from(fast);
            }
        }
    }

    fn span(
        &mut self,
        rows: &Rows,
        row: usize,
        registry: &ClassRegistry,
        (stats, context): (&mut RowGroupStats, &PassContext<'_>),
    ) {
        let (kind, start, end) = (rows.kind[row], rows.start[row], rows.end[row]);
        let (train, nanos) = (rows.phase[row] == Phase::Train, between(start, end));
        let stretch = || context.axis.stretch(start, end);
        match kind {
            OpKind::Compute if train => stats.timelines.computing.add(stretch(), nanos as f64),
            OpKind::Fetch if train => stats.timelines.waiting.add(stretch(), nanos as f64),
            OpKind::Block => stats.timelines.training.add(stretch(), nanos as f64),
            OpKind::Decode | OpKind::Preprocess if train => self.lanes.client += nanos,
            _ => {}
        }
        let stepping = train && rows.epoch[row] > 0 && rows.step[row] > 0;
        stats.edges.span(kind, train, stepping, (start, end));
        let group = u16::try_from(group_key(kind, 0)).unwrap_or(0);
        let (class, sums) = self.class(Class { endpoint: NO_ENDPOINT, group, ok: true }, registry);
        sums.bytes += rows.bytes[row];
        sums.times.add(nanos, UNKNOWN);
        if context.keep {
            stats.push(class, NO_OBJECT, nanos, UNKNOWN);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        if other.classes.len() > self.classes.len() {
            self.classes.resize_with(other.classes.len(), GroupStats::default);
        }
        for (mine, theirs) in self.classes.iter_mut().zip(&other.classes) {
            mine.merge(theirs);
        }
        for (epoch, reads) in &other.epochs {
            self.epochs.entry(*epoch).or_default().merge(reads);
        }
        self.lanes.storage += other.lanes.storage;
        self.lanes.client += other.lanes.client;
        self.read_bytes += other.read_bytes;
    }

    /// Returns the totals as a report needs them, and fills in those of the rank.
    pub(crate) fn finish(self, registry: &ClassTable, part: &mut RankStats) -> IoTotals {
        let mut all = IoTotals::default();
        for (class, mut sums) in registry.classes.iter().zip(self.classes) {
            let Some(kind) = class.kind() else { continue };
            if kind.is_storage() {
                let mut flow = IoStats::default();
                flow.take(kind, class.ok, &sums);
                part.flow.merge(&flow);
                if let Some(name) = registry.endpoints.get(usize::from(class.endpoint)) {
                    all.endpoints.entry(name.clone()).or_default().merge(&flow);
                }
            }
            sums.errors = if class.ok { 0 } else { sums.times.whole.count() };
            all.groups.entry(usize::from(class.group)).or_default().merge(&sums);
        }
        (part.epochs, part.lanes, part.read_bytes) = (self.epochs, self.lanes, self.read_bytes);
        all
    }
}

impl RowGroupStats {
    /// Creates the statistics of a group of `rows` rows.
    pub(crate) fn new(rows: usize, keep: bool) -> Self {
        // The limit guards against a damaged file with an arbitrary number.
        let rows = rows.min(1 << 20);
        let retained = if keep { Vec::with_capacity(rows) } else { Vec::new() };
        Self { retained, edges: Edges::with_room(rows), ..Self::default() }
    }

    /// Finishes the group after all rows have been added.
    pub(crate) fn close(&mut self) {
        self.edges.sort();
    }

    fn keep(&mut self, operation: &Operation, keep: bool) {
        let Operation { start, end, nanos, first, class, object } = *operation;
        if nanos > 0 {
            self.edges.operation(start, end);
        }
        if keep {
            self.push(class, object, nanos, first);
        }
    }

    fn push(&mut self, class: u32, object: u64, nanos: u64, first: u64) {
        let row = u32::try_from(self.retained.len()).unwrap_or(u32::MAX);
        let retained = RetainedRow::new(class, object, nanos, first);
        if retained.is_long() {
            self.long.push((row, [nanos, first]));
        }
        self.retained.push(retained);
    }
}
