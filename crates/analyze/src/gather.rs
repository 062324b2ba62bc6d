//! One pass over the trace of one rank: everything that the report needs, in a form that can be merged.

use std::collections::BTreeMap;

use dlio_event::{OpKind, Outcome, Phase};
use dlio_trace::{Batch, RankTrace};

use crate::rebuild::Spans;
use crate::timeline::{Extent, Timeline};

/// Bounds between the size classes of operations, bytes.
pub(crate) const SIZE_BOUNDS: &[u64] = &[0, 4 << 10, 64 << 10, 1 << 20, 16 << 20, 256 << 20];

/// The class of an operation by the bytes that it moved: 0 for none.
pub(crate) fn size_class(bytes: u64) -> usize {
    SIZE_BOUNDS.partition_point(|bound| *bound < bytes)
}

/// Counts and latencies of one group of operations.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) bytes: u64,
    pub(crate) errors: u64,
    pub(crate) retries: u64,
    pub(crate) latencies: Vec<u64>,
    pub(crate) first_bytes: Vec<u64>,
}

impl Group {
    pub(crate) fn merge(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.errors += other.errors;
        self.retries += other.retries;
        self.latencies.extend(other.latencies);
        self.first_bytes.extend(other.first_bytes);
    }
}

/// What one rank and one endpoint exchanged.
#[derive(Debug, Default, Clone)]
pub(crate) struct Flow {
    pub(crate) operations: u64,
    pub(crate) read_bytes: u64,
    pub(crate) written_bytes: u64,
    pub(crate) errors: u64,
    pub(crate) latencies: Vec<u64>,
}

/// Reads of one epoch by one rank.
#[derive(Debug, Default)]
pub(crate) struct EpochReads {
    pub(crate) bytes: u64,
    pub(crate) operation_ns: u64,
    /// Sample, and the step that read it.
    pub(crate) samples: Vec<(u64, u32)>,
}

/// How lanes spent their time, nanoseconds.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct LaneTime {
    pub(crate) storage: u64,
    pub(crate) client: u64,
}

/// Everything about one rank.
pub(crate) struct Gathered {
    pub(crate) groups: BTreeMap<(OpKind, usize), Group>,
    pub(crate) flows: BTreeMap<String, Flow>,
    pub(crate) epochs: BTreeMap<u32, EpochReads>,
    pub(crate) outcomes: BTreeMap<&'static str, u64>,
    pub(crate) spans: Spans,
    pub(crate) lanes: LaneTime,
    pub(crate) reads: Timeline,
    pub(crate) writes: Timeline,
    pub(crate) computing: Timeline,
    pub(crate) training: Timeline,
}

impl Gathered {
    fn new(extent: Extent) -> Self {
        Self {
            groups: BTreeMap::new(),
            flows: BTreeMap::new(),
            epochs: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            spans: Spans::new(extent.start),
            lanes: LaneTime::default(),
            reads: Timeline::new(extent),
            writes: Timeline::new(extent),
            computing: Timeline::new(extent),
            training: Timeline::new(extent),
        }
    }

    fn add(&mut self, batch: &Batch) {
        // Consecutive rows mostly share their endpoint: its flow is looked up once per change.
        let mut flows: Vec<Flow> = vec![Flow::default(); batch.endpoint.count() + 1];
        for row in 0..batch.len() {
            if batch.kind[row].is_storage() {
                self.storage(batch, row);
                let key = batch.endpoint.key(row).unwrap_or(batch.endpoint.count());
                flows[key].add(batch, row);
            } else {
                self.span(batch, row);
            }
        }
        for (key, flow) in flows.into_iter().enumerate().filter(|(_, flow)| flow.operations > 0) {
            let name = batch.endpoint.value(key).unwrap_or("local");
            self.flows.entry(name.to_owned()).or_default().merge(flow);
        }
    }

    fn storage(&mut self, batch: &Batch, row: usize) {
        let (kind, bytes, duration) = (batch.kind[row], batch.bytes[row], batch.duration(row));
        let group = self.groups.entry((kind, size_class(bytes))).or_default();
        group.bytes += bytes;
        group.latencies.push(duration);
        group.retries += u64::from(batch.attempt[row] > 0);
        if let Some(first_byte) = batch.first_byte[row] {
            group.first_bytes.push(u64::try_from(first_byte.saturating_sub(batch.start[row])).unwrap_or(0));
        }
        if batch.outcome[row] != Outcome::Ok {
            group.errors += 1;
            *self.outcomes.entry(batch.outcome[row].name()).or_default() += 1;
        }
        let (start, end) = (batch.start[row], batch.end[row]);
        if kind.is_read() {
            self.reads.add(start, end, bytes as f64);
        } else if kind.is_write() {
            self.writes.add(start, end, bytes as f64);
        }
        if batch.phase[row] == Phase::Train && batch.epoch[row] > 0 {
            self.train_read(batch, row);
        }
    }

    fn train_read(&mut self, batch: &Batch, row: usize) {
        let duration = batch.duration(row);
        self.lanes.storage += duration;
        if !batch.kind[row].is_read() {
            return;
        }
        let reads = self.epochs.entry(batch.epoch[row]).or_default();
        reads.bytes += batch.bytes[row];
        reads.operation_ns += duration;
        if let Some(sample) = batch.sample[row] {
            let one = (sample, batch.step[row]);
            // A sample that takes several reads takes them one after the other.
            if reads.samples.last() != Some(&one) {
                reads.samples.push(one);
            }
        }
    }

    fn span(&mut self, batch: &Batch, row: usize) {
        let (kind, duration) = (batch.kind[row], batch.duration(row));
        let train = batch.phase[row] == Phase::Train;
        let (start, end) = (batch.start[row], batch.end[row]);
        match kind {
            OpKind::Compute if train => self.computing.add(start, end, duration as f64),
            OpKind::Block => self.training.add(start, end, duration as f64),
            OpKind::Decode | OpKind::Preprocess if train => self.lanes.client += duration,
            _ => {}
        }
        let group = self.groups.entry((kind, 0)).or_default();
        group.bytes += batch.bytes[row];
        group.latencies.push(duration);
        self.spans.add(batch, row);
    }
}

impl Flow {
    fn add(&mut self, batch: &Batch, row: usize) {
        let (kind, bytes) = (batch.kind[row], batch.bytes[row]);
        self.operations += 1;
        self.read_bytes += if kind.is_read() { bytes } else { 0 };
        self.written_bytes += if kind.is_write() { bytes } else { 0 };
        self.errors += u64::from(batch.outcome[row] != Outcome::Ok);
        if kind.is_read() || kind.is_write() {
            self.latencies.push(batch.duration(row));
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.operations += other.operations;
        self.read_bytes += other.read_bytes;
        self.written_bytes += other.written_bytes;
        self.errors += other.errors;
        self.latencies.extend(other.latencies);
    }
}

/// Reads one rank's trace.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn gather(trace: &RankTrace, extent: Extent) -> Result<Gathered, dlio_trace::Error> {
    let mut gathered = Gathered::new(extent);
    for batch in trace.batches_without_names()? {
        gathered.add(&batch?);
    }
    Ok(gathered)
}
