//! One pass over the traces: what there is to derive a workload from.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use dlio_event::{Lane, OpKind, Outcome, Phase};
use dlio_trace::{Batch, Error, RankTrace};

use super::beside::{Beside, most_common};

/// What a trace holds, as far as a workload depends on it.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) ranks: u64,
    /// Sizes of the objects that were read.
    pub(super) sizes: Vec<u64>,
    /// Samples, each counted once.
    pub(super) samples: u64,
    /// Samples, as often as they were read.
    pub(super) visits: u64,
    /// Seconds that each reading of a sample took.
    pub(super) durations: Vec<f64>,
    /// Seconds of each computation.
    pub(super) compute: Vec<f64>,
    pub(super) readers: u64,
    pub(super) epochs: u64,
    pub(super) span_seconds: f64,
    pub(super) notes: Vec<String>,
    pub(super) beside: Beside,
    /// The last step of any epoch.
    pub(super) steps_seen: u32,
    /// Samples and bytes by rank, epoch and step.
    steps: HashMap<(u32, u32, u32), (u64, u64)>,
    /// Time of the training loop, by rank and epoch: first fetch, end of the last computation, fetches.
    loops: HashMap<(u32, u32), (i64, i64, u64)>,
    suffixes: BTreeMap<String, u64>,
}

/// What the second look at objects needs.
#[derive(Default)]
struct Objects {
    sizes: HashMap<String, u64>,
    told: HashSet<String>,
    samples: HashSet<u64>,
    lanes: BTreeSet<(u32, u16)>,
    first: Option<i64>,
    last: i64,
}

impl Gathered {
    pub(super) fn of(traces: &[RankTrace]) -> Result<Self, Error> {
        let mut spans = false;
        for trace in traces {
            for batch in trace.batches_without_names()? {
                spans |= batch?.kind.contains(&OpKind::Sample);
            }
        }
        let mut gathered = Self { ranks: traces.len() as u64, ..Self::default() };
        let mut objects = Objects::default();
        let mut left_out: BTreeMap<&'static str, u64> = BTreeMap::new();
        for trace in traces {
            for batch in trace.batches()? {
                let batch = batch?;
                for row in 0..batch.len() {
                    if let Some(what) = gathered.take((trace.header.rank, spans), &batch, row, &mut objects) {
                        *left_out.entry(what).or_default() += 1;
                    }
                }
            }
        }
        for (what, count) in left_out {
            gathered.notes.push(format!("{count} {what} of the trace are not part of this workload"));
        }
        if !spans {
            gathered
                .notes
                .push("the trace has no spans of samples: each reading of an object counts as one".to_owned());
        }
        gathered.finish(objects, spans);
        Ok(gathered)
    }

    /// Takes a row; returns the name of what the workload leaves out.
    fn take(
        &mut self,
        (rank, spans): (u32, bool),
        batch: &Batch,
        row: usize,
        objects: &mut Objects,
    ) -> Option<&'static str> {
        let (kind, phase) = (batch.kind[row], batch.phase[row]);
        if spans && phase != Phase::Train {
            return self.beside.take(rank, batch, row);
        }
        let seconds = batch.duration(row) as f64 / 1e9;
        let (epoch, step) = (batch.epoch[row], batch.step[row]);
        match kind {
            OpKind::Compute => {
                self.compute.push(seconds);
                self.steps_seen = self.steps_seen.max(step);
            }
            OpKind::Preprocess => self.beside.preprocess.push(seconds),
            OpKind::Fetch => {
                self.steps_seen = self.steps_seen.max(step);
                let turn = self.loops.entry((rank, epoch)).or_insert((batch.start[row], batch.end[row], 0));
                *turn = (turn.0.min(batch.start[row]), turn.1.max(batch.end[row]), turn.2 + 1);
            }
            OpKind::Sample => {
                self.visit(rank, (epoch, step), (batch.bytes[row], seconds));
                objects.samples.extend(batch.sample[row]);
                objects.lanes.insert((rank, batch.lane[row].0));
                objects.told.extend(batch.object.get(row).map(str::to_owned));
            }
            _ => {}
        }
        if matches!(kind, OpKind::Compute | OpKind::Barrier)
            && let Some(turn) = self.loops.get_mut(&(rank, epoch))
        {
            turn.1 = turn.1.max(batch.end[row]);
        }
        if kind.is_write() {
            return (!spans).then_some("write(s)");
        }
        if !kind.is_storage() || batch.outcome[row] != Outcome::Ok {
            return None;
        }
        let name = batch.object.get(row)?;
        if kind.is_read() {
            objects.first = Some(objects.first.map_or(batch.start[row], |first| first.min(batch.start[row])));
            objects.last = objects.last.max(batch.end[row]);
            if !spans {
                self.visit(rank, (epoch, step), (batch.bytes[row], seconds));
                objects.lanes.insert((rank, batch.lane[row].0));
                objects.told.insert(name.to_owned());
            }
        }
        let reach = if kind.is_read() { batch.offset[row].saturating_add(batch.bytes[row]) } else { 0 };
        let size = batch.object_size[row].unwrap_or(0).max(reach);
        if size > 0 {
            let known = objects.sizes.entry(name.to_owned()).or_default();
            *known = (*known).max(size);
        }
        None
    }

    fn visit(&mut self, rank: u32, (epoch, step): (u32, u32), (bytes, seconds): (u64, f64)) {
        self.visits += 1;
        self.durations.push(seconds);
        if step > 0 {
            let entry = self.steps.entry((rank, epoch, step)).or_default();
            *entry = (entry.0 + 1, entry.1 + bytes);
        }
    }

    fn finish(&mut self, objects: Objects, spans: bool) {
        let Objects { sizes, told, samples, lanes, first, last } = objects;
        for name in &told {
            // A sample's row names its object as the reads do, unless it is one of an archive's members.
            let Some(size) = sizes.get(name) else { continue };
            self.sizes.push(*size);
            let suffix = name.rsplit_once('.').map_or("", |(_, suffix)| suffix).to_ascii_lowercase();
            *self.suffixes.entry(suffix).or_default() += 1;
        }
        self.sizes.sort_unstable();
        self.samples = if samples.is_empty() { told.len() as u64 } else { samples.len() as u64 };
        let reading = |rank: u32| lanes.iter().filter(|(of, lane)| *of == rank && *lane != Lane::MAIN.0).count() as u64;
        let ranks: BTreeSet<u32> = lanes.iter().map(|(rank, _)| *rank).collect();
        self.readers = ranks.into_iter().map(reading).max().unwrap_or(0);
        self.epochs = self.loops.keys().map(|(_, epoch)| *epoch).collect::<BTreeSet<_>>().len() as u64;
        self.span_seconds = first.map_or(0.0, |first| last.saturating_sub(first) as f64 / 1e9);
        if spans && self.loops.is_empty() {
            self.notes.push("the trace has no fetches: its epochs and steps are guessed".to_owned());
        }
    }

    /// Samples per step: what most steps have.
    pub(super) fn batch(&self) -> u64 {
        most_common(self.steps.values().map(|(samples, _)| samples))
    }

    pub(super) fn bytes_per_step(&self) -> f64 {
        if self.steps.is_empty() {
            return self.sizes.iter().sum::<u64>() as f64 / self.sizes.len().max(1) as f64;
        }
        self.steps.values().map(|(_, bytes)| *bytes).sum::<u64>() as f64 / self.steps.len() as f64
    }

    pub(super) fn steps_per_epoch(&self, batch: u64) -> u64 {
        (self.samples / (batch * self.ranks).max(1)).max(1)
    }

    fn loop_seconds(&self) -> f64 {
        self.loops.values().map(|(first, last, _)| last.saturating_sub(*first) as f64 / 1e9).sum()
    }

    pub(super) fn steps_per_second(&self, batch: u64) -> f64 {
        let fetches: u64 = self.loops.values().map(|(_, _, fetches)| fetches).sum();
        let (steps, seconds) = if fetches > 0 {
            (fetches as f64, self.loop_seconds())
        } else {
            (self.visits as f64 / (batch * self.ranks) as f64, self.span_seconds)
        };
        if seconds > 0.0 { steps / seconds } else { 0.0 }
    }

    /// Samples that a rank reads at a time, on average.
    pub(super) fn concurrency(&self) -> f64 {
        let seconds = if self.loops.is_empty() { self.span_seconds * self.ranks as f64 } else { self.loop_seconds() };
        if seconds > 0.0 { self.durations.iter().sum::<f64>() / seconds } else { 0.0 }
    }

    /// The format that most names tell.
    pub(super) fn format(&self, notes: &mut Vec<String>) -> &'static str {
        let suffix = self.suffixes.iter().max_by_key(|(_, count)| **count).map_or("", |(suffix, _)| suffix.as_str());
        match suffix {
            "npz" => "npz",
            "npy" => "npy",
            "h5" | "hdf5" => "hdf5",
            "tfrecord" | "tfrecords" => "tfrecord",
            "csv" => "csv",
            "jpg" | "jpeg" => "jpeg",
            "png" => "png",
            "parquet" => "parquet",
            _ => {
                notes.push(format!("no name tells the format of the files (.{suffix}): npz is a guess"));
                "npz"
            }
        }
    }
}
