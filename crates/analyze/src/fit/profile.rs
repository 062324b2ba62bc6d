//! Collects the facts that a workload is derived from, in one pass over the traces.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use dlio_event::percentile::P50;
use dlio_event::{Lane, OpKind, Outcome, Phase, S3Uri};
use dlio_trace::{Error, RankTrace, Row};

use super::checkpoints::RecordedCheckpoints;
use super::distribution::percentile;
use super::eval_preprocess::{EvalPreprocess, most_common};

/// Facts of a trace that a workload is derived from.
#[derive(Debug, Default)]
pub(super) struct TraceProfile {
    pub(super) ranks: u64,
    /// Whether the trace has spans of samples, which define a sample.
    pub(super) spans: bool,
    /// Objects of the dataset.
    pub(super) objects: Vec<Object>,
    /// Number of distinct samples; 0 if unknown.
    pub(super) samples: u64,
    /// Number of readings of samples.
    pub(super) visits: u64,
    /// Duration of each reading of a sample, seconds.
    pub(super) durations: Vec<f64>,
    /// Time that a reader took for each batch, seconds.
    pub(super) batches_read: Vec<f64>,
    /// Duration of each wait for a batch, and of each barrier after a step, seconds.
    waits: Vec<f64>,
    meetings: Vec<f64>,
    /// Duration of each computation, seconds.
    pub(super) compute: Vec<f64>,
    pub(super) readers: u64,
    pub(super) epochs: u64,
    pub(super) span_seconds: f64,
    pub(super) notes: Vec<String>,
    pub(super) eval_preprocess: EvalPreprocess,
    pub(super) checkpoints: RecordedCheckpoints,
    /// Largest step number of any epoch.
    pub(super) steps_seen: u32,
    /// Number of training steps over all ranks and epochs.
    pub(super) steps: u64,
    /// Number of reads of the dataset, their bytes, and the number of opens for them.
    pub(super) reads: u64,
    pub(super) bytes: u64,
    pub(super) opens: u64,
    /// Number of reads by length, of traces that do not define samples.
    pub(super) pieces: BTreeMap<u64, u64>,
    /// Bucket of most objects, if they are in a bucket.
    pub(super) bucket: Option<String>,
    /// Number of samples by rank, epoch and step.
    batches: HashMap<(u32, u32, u32), u64>,
    /// Time of the training loop by rank and epoch: start of the first fetch, end of the last computation, number of
    /// fetches.
    loops: HashMap<(u32, u32), (i64, i64, u64)>,
    suffixes: BTreeMap<String, u64>,
    /// Number of files of the dataset according to object names, with the number of names.
    named: BTreeMap<u64, u64>,
}

/// Reads of one object.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Object {
    pub(super) size: u64,
    pub(super) bytes: u64,
    reads: u64,
    opens: u64,
}

/// Intermediate state of the pass over the traces.
#[derive(Default)]
struct ReadObjects {
    objects: HashMap<String, Object>,
    /// Objects that samples refer to.
    told: HashSet<String>,
    /// Objects that a rank has opened and not yet read or written.
    opened: HashSet<(u32, String)>,
    samples: HashSet<u64>,
    lanes: BTreeSet<(u32, u16)>,
    /// Lanes with reads, for traces whose samples have no lane.
    reading: BTreeSet<(u32, u16)>,
    first: Option<i64>,
    last: i64,
}

/// Waits up to this percentile, in parts of ten thousand, are for batches that were ready.
const P10: u64 = 1_000;
/// Largest number of distinct read lengths.
const PIECES_MAX: usize = 4096;

impl TraceProfile {
    pub(super) fn of(traces: &[RankTrace]) -> Result<Self, Error> {
        let mut spans = false;
        for trace in traces {
            for batch in trace.batches_without_names()? {
                spans |= batch?.kind.contains(&OpKind::Sample);
            }
        }
        let mut profile = Self { ranks: traces.len() as u64, spans, ..Self::default() };
        let mut found = ReadObjects::default();
        let mut left_out: BTreeMap<&'static str, u64> = BTreeMap::new();
        for trace in traces {
            for batch in trace.batches()? {
                let batch = batch?;
                for row in batch.views() {
                    if let Some(what) = profile.take(trace.header.rank, row, &mut found) {
                        *left_out.entry(what).or_default() += 1;
                    }
                }
            }
        }
        profile.finish(found);
        // Without any reads, the written objects are the whole trace.
        if profile.objects.is_empty() && profile.checkpoints.take_loose(&mut profile.notes) {
            left_out.remove("write(s)");
        }
        if !profile.objects.is_empty() && profile.checkpoints.loads() > 0 {
            left_out.insert("load(s) of checkpoints", profile.checkpoints.loads());
        }
        for (what, count) in left_out {
            profile.notes.push(format!("{count} {what} of the trace are not part of this workload"));
        }
        Ok(profile)
    }

    /// Takes a row. Returns a name for rows that the workload leaves out.
    fn take(&mut self, rank: u32, row: Row<'_>, found: &mut ReadObjects) -> Option<&'static str> {
        let (kind, phase) = (row.kind(), row.phase());
        if phase == Phase::Checkpoint || matches!(kind, OpKind::CheckpointSave | OpKind::CheckpointLoad) {
            self.checkpoints.take(rank, row);
            return None;
        }
        if phase == Phase::Generate {
            return (kind == OpKind::GenerateFile).then_some("generated file(s)");
        }
        if self.spans && phase != Phase::Train {
            self.eval_preprocess.take(rank, row);
            return None;
        }
        self.take_span(rank, row, found);
        if kind.is_write() {
            self.checkpoints.take_write(rank, row);
            if let Some(name) = row.object() {
                found.opened.remove(&(rank, name.to_owned()));
            }
            return Some("write(s)");
        }
        if kind.is_storage() && row.outcome() == Outcome::Ok {
            self.take_operation(rank, row, found);
        }
        None
    }

    /// Takes a span of the training loop or of its readers.
    fn take_span(&mut self, rank: u32, row: Row<'_>, found: &mut ReadObjects) {
        let kind = row.kind();
        let seconds = row.duration() as f64 / 1e9;
        let (epoch, step) = (row.epoch(), row.step());
        match kind {
            OpKind::Compute => {
                self.compute.push(seconds);
                self.steps_seen = self.steps_seen.max(step);
            }
            OpKind::Preprocess => self.eval_preprocess.preprocess.push(seconds),
            OpKind::Batch => self.batches_read.push(seconds),
            OpKind::Barrier if step > 0 => self.meetings.push(seconds),
            OpKind::Fetch => {
                self.waits.push(seconds);
                self.steps += 1;
                self.steps_seen = self.steps_seen.max(step);
                let turn = self.loops.entry((rank, epoch)).or_insert((row.start(), row.end(), 0));
                *turn = (turn.0.min(row.start()), turn.1.max(row.end()), turn.2 + 1);
            }
            OpKind::Sample => {
                self.visits += 1;
                self.durations.push(seconds);
                if step > 0 {
                    *self.batches.entry((rank, epoch, step)).or_default() += 1;
                }
                found.samples.extend(row.sample());
                found.lanes.insert((rank, row.lane().0));
                found.told.extend(row.object().map(str::to_owned));
            }
            _ => {}
        }
        if matches!(kind, OpKind::Compute | OpKind::Barrier)
            && let Some(turn) = self.loops.get_mut(&(rank, epoch))
        {
            turn.1 = turn.1.max(row.end());
        }
    }

    fn take_operation(&mut self, rank: u32, row: Row<'_>, found: &mut ReadObjects) {
        let (kind, Some(name)) = (row.kind(), row.object()) else { return };
        if kind == OpKind::Open {
            found.opened.insert((rank, name.to_owned()));
            return;
        }
        let object = found.objects.entry(name.to_owned()).or_default();
        object.size = object.size.max(row.object_size().unwrap_or(0));
        if !kind.is_read() {
            return;
        }
        let bytes = row.bytes();
        object.size = object.size.max(row.offset().saturating_add(bytes));
        object.reads += 1;
        object.bytes += bytes;
        object.opens += u64::from(found.opened.remove(&(rank, name.to_owned())));
        found.first = Some(found.first.map_or(row.start(), |first| first.min(row.start())));
        found.last = found.last.max(row.end());
        found.reading.insert((rank, row.lane().0));
        if !self.spans {
            self.durations.push(row.duration() as f64 / 1e9);
            // A read at the end of a file returns no bytes.
            if bytes > 0 && (self.pieces.len() < PIECES_MAX || self.pieces.contains_key(&bytes)) {
                *self.pieces.entry(bytes).or_default() += 1;
            }
        }
    }

    fn finish(&mut self, found: ReadObjects) {
        let ReadObjects { objects, told, samples, lanes, reading, first, last, .. } = found;
        let mut buckets: BTreeMap<&str, u64> = BTreeMap::new();
        // Samples without an object refer to all objects that were read; archives have members that are never opened.
        let any_told = objects.iter().any(|(name, object)| object.reads > 0 && told.contains(name));
        for (name, object) in objects.iter().filter(|(_, object)| object.reads > 0 && object.size > 0) {
            (self.reads, self.bytes, self.opens) =
                (self.reads + object.reads, self.bytes + object.bytes, self.opens + object.opens);
            if any_told && !told.contains(name) {
                continue;
            }
            self.objects.push(*object);
            let file = name.rsplit('/').next().unwrap_or(name);
            let suffix = file.rsplit_once('.').map_or("", |(_, suffix)| suffix).to_ascii_lowercase();
            *self.suffixes.entry(suffix).or_default() += 1;
            if let Some(count) = count_in(file) {
                *self.named.entry(count).or_default() += 1;
            }
            let bucket = S3Uri::parse(name).map(|uri| uri.bucket);
            if let Some(bucket) = bucket {
                *buckets.entry(bucket).or_default() += 1;
            }
        }
        self.objects.sort_unstable_by_key(|object| object.size);
        let bucket = buckets.into_iter().max_by_key(|(_, count)| *count);
        self.bucket =
            bucket.filter(|(_, count)| count * 2 > self.objects.len() as u64).map(|(name, _)| name.to_owned());
        self.samples = if samples.is_empty() && self.spans { self.objects.len() as u64 } else { samples.len() as u64 };
        let lanes =
            if lanes.iter().all(|(_, lane)| *lane == Lane::MAIN.0) && !reading.is_empty() { reading } else { lanes };
        let reading = |rank: u32| lanes.iter().filter(|(of, lane)| *of == rank && *lane != Lane::MAIN.0).count() as u64;
        let ranks: BTreeSet<u32> = lanes.iter().map(|(rank, _)| *rank).collect();
        self.readers = ranks.into_iter().map(reading).max().unwrap_or(0);
        self.epochs = self.loops.keys().map(|(_, epoch)| *epoch).collect::<BTreeSet<_>>().len() as u64;
        self.span_seconds = first.map_or(0.0, |first| last.saturating_sub(first) as f64 / 1e9);
        if self.spans && self.loops.is_empty() && !self.objects.is_empty() {
            self.notes.push("the trace has no fetches: the numbers of epochs and steps are guesses".to_owned());
        }
    }

    /// Returns the most common number of samples per step.
    pub(super) fn batch(&self) -> u64 {
        most_common(self.batches.values())
    }

    /// Returns the number of steps over all ranks in which `visits` samples are read.
    pub(super) fn steps_of(&self, visits: f64) -> f64 {
        if self.steps > 0 { self.steps as f64 } else { visits / self.batch() as f64 }
    }

    pub(super) fn mean_size(&self) -> f64 {
        self.objects.iter().map(|object| object.size as f64).sum::<f64>() / self.objects.len().max(1) as f64
    }

    fn loop_seconds(&self) -> f64 {
        self.loops.values().map(|(first, last, _)| last.saturating_sub(*first) as f64 / 1e9).sum()
    }

    /// Returns the steps per second and rank of a training loop with `steps` steps over all ranks.
    pub(super) fn steps_per_second(&self, steps: f64) -> f64 {
        let fetches: u64 = self.loops.values().map(|(_, _, fetches)| fetches).sum();
        let (steps, seconds) = if fetches > 0 {
            (fetches as f64, self.loop_seconds())
        } else {
            (steps / self.ranks as f64, self.span_seconds)
        };
        if seconds > 0.0 { steps / seconds } else { 0.0 }
    }

    /// Returns the seconds of a step that are neither reading nor computation: taking a batch that is ready (the
    /// shortest waits if there are readers), and the barrier.
    pub(super) fn seconds_between(&self, readers: u64) -> f64 {
        let taking = if readers > 0 { percentile(&self.waits, P10) } else { 0.0 };
        taking + percentile(&self.meetings, P50)
    }

    /// Returns the mean number of samples that a rank reads at a time.
    pub(super) fn concurrency(&self) -> f64 {
        let seconds = if self.loops.is_empty() { self.span_seconds * self.ranks as f64 } else { self.loop_seconds() };
        if seconds > 0.0 { self.durations.iter().sum::<f64>() / seconds } else { 0.0 }
    }

    /// Returns the number of files of the dataset, if the names of all objects agree on it.
    pub(super) fn files_of_names(&self) -> Option<u64> {
        let (count, times) = self.named.first_key_value()?;
        (*times == self.objects.len() as u64).then_some(*count)
    }

    /// Returns the format that most object names suggest, or their suffix.
    pub(super) fn format(&self) -> Result<&'static str, &str> {
        let suffix = self.suffixes.iter().max_by_key(|(_, count)| **count).map_or("", |(suffix, _)| suffix.as_str());
        match suffix {
            "npz" => Ok("npz"),
            "npy" => Ok("npy"),
            "h5" | "hdf5" => Ok("hdf5"),
            "tfrecord" | "tfrecords" => Ok("tfrecord"),
            "csv" => Ok("csv"),
            "jpg" | "jpeg" => Ok("jpeg"),
            "png" => Ok("png"),
            "parquet" => Ok("parquet"),
            "indexed_binary" => Ok("indexed_binary"),
            other => Err(other),
        }
    }
}

/// Returns the number of files in a file name: 168 for `img_012_of_168.npz`.
fn count_in(file: &str) -> Option<u64> {
    let (_, end) = file.rsplit_once("_of_")?;
    end.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_how_many_files_a_data_set_has() {
        assert_eq!(count_in("img_012_of_168.npz"), Some(168));
        assert_eq!(count_in("img_7_of_8"), Some(8));
        for other in ["img_012.npz", "one_of_them.npz", "_of_.npz"] {
            assert_eq!(count_in(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_between_reading_and_computing_is_taking_what_is_ready_and_meeting() {
        let waits = (0..100).map(|number| f64::from(number) / 1000.0).collect();
        let profile = TraceProfile { waits, meetings: vec![0.001, 0.002, 0.5], ..TraceProfile::default() };
        assert!((profile.seconds_between(2) - 0.011).abs() < 1e-9);
        assert!(
            (profile.seconds_between(0) - 0.002).abs() < 1e-9,
            "a loop that reads by itself waits for its own reading"
        );
        assert!(TraceProfile::default().seconds_between(2).abs() < 1e-9);
    }
}
