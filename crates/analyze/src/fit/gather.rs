//! One pass over the traces: what there is to derive a workload from.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use dlio_event::{Lane, OpKind, Outcome, Phase, S3Uri};
use dlio_trace::{Error, RankTrace, Row};

use super::beside::{Beside, most_common};
use super::saves::Saves;
use super::shape;

/// What a trace holds, as far as a workload depends on it.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) ranks: u64,
    /// The trace has spans of samples, so it says what a sample is.
    pub(super) spans: bool,
    /// Objects of the data set.
    pub(super) objects: Vec<Object>,
    /// Samples, each counted once; 0: nobody says.
    pub(super) samples: u64,
    /// Samples, as often as they were read.
    pub(super) visits: u64,
    /// Seconds that each reading of a sample took.
    pub(super) durations: Vec<f64>,
    /// Seconds that each batch took its reader.
    pub(super) batches_read: Vec<f64>,
    /// Seconds of each wait for a batch, and of each meeting of the ranks after a step.
    waits: Vec<f64>,
    meetings: Vec<f64>,
    /// Seconds of each computation.
    pub(super) compute: Vec<f64>,
    pub(super) readers: u64,
    pub(super) epochs: u64,
    pub(super) span_seconds: f64,
    pub(super) notes: Vec<String>,
    pub(super) beside: Beside,
    pub(super) saves: Saves,
    /// The last step of any epoch.
    pub(super) steps_seen: u32,
    /// Steps of training, of all ranks and epochs.
    pub(super) steps: u64,
    /// Reads of the data set, what they moved, and how often an object was opened for them.
    pub(super) reads: u64,
    pub(super) bytes: u64,
    pub(super) opens: u64,
    /// Reads by their bytes, of traces that do not say what a sample is.
    pub(super) pieces: BTreeMap<u64, u64>,
    /// The bucket that most objects are in, if they are in one.
    pub(super) bucket: Option<String>,
    /// Samples by rank, epoch and step.
    batches: HashMap<(u32, u32, u32), u64>,
    /// Time of the training loop, by rank and epoch: first fetch, end of the last computation, fetches.
    loops: HashMap<(u32, u32), (i64, i64, u64)>,
    suffixes: BTreeMap<String, u64>,
    /// Files of the data sets that names tell.
    named: BTreeMap<u64, u64>,
}

/// What was read of an object.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Object {
    pub(super) size: u64,
    pub(super) bytes: u64,
    reads: u64,
    opens: u64,
}

/// What the second look at objects needs.
#[derive(Default)]
struct Found {
    objects: HashMap<String, Object>,
    /// Objects that samples name.
    told: HashSet<String>,
    /// Objects that a rank opened and has neither read nor written since.
    opened: HashSet<(u32, String)>,
    samples: HashSet<u64>,
    lanes: BTreeSet<(u32, u16)>,
    /// Lanes that read, of traces whose samples are in no lane.
    reading: BTreeSet<(u32, u16)>,
    first: Option<i64>,
    last: i64,
}

/// Different lengths of reads that are told apart.
const PIECES_MAX: usize = 4096;

impl Gathered {
    pub(super) fn of(traces: &[RankTrace]) -> Result<Self, Error> {
        let mut spans = false;
        for trace in traces {
            for batch in trace.batches_without_names()? {
                spans |= batch?.kind.contains(&OpKind::Sample);
            }
        }
        let mut gathered = Self { ranks: traces.len() as u64, spans, ..Self::default() };
        let mut found = Found::default();
        let mut left_out: BTreeMap<&'static str, u64> = BTreeMap::new();
        for trace in traces {
            for batch in trace.batches()? {
                let batch = batch?;
                for row in batch.iter() {
                    if let Some(what) = gathered.take(trace.header.rank, row, &mut found) {
                        *left_out.entry(what).or_default() += 1;
                    }
                }
            }
        }
        gathered.finish(found);
        // Without anything that reads, what was written is all that there is.
        if gathered.objects.is_empty() && gathered.saves.take_loose(&mut gathered.notes) {
            left_out.remove("write(s)");
        }
        if !gathered.objects.is_empty() && gathered.saves.loads() > 0 {
            left_out.insert("load(s) of checkpoints", gathered.saves.loads());
        }
        for (what, count) in left_out {
            gathered.notes.push(format!("{count} {what} of the trace are not part of this workload"));
        }
        Ok(gathered)
    }

    /// Takes a row; returns the name of what the workload leaves out.
    fn take(&mut self, rank: u32, row: Row<'_>, found: &mut Found) -> Option<&'static str> {
        let (kind, phase) = (row.kind(), row.phase());
        if phase == Phase::Checkpoint || matches!(kind, OpKind::CheckpointSave | OpKind::CheckpointLoad) {
            self.saves.take(rank, row);
            return None;
        }
        if phase == Phase::Generate {
            return (kind == OpKind::GenerateFile).then_some("generated file(s)");
        }
        if self.spans && phase != Phase::Train {
            self.beside.take(rank, row);
            return None;
        }
        self.take_span(rank, row, found);
        if kind.is_write() {
            self.saves.take_write(rank, row);
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
    fn take_span(&mut self, rank: u32, row: Row<'_>, found: &mut Found) {
        let kind = row.kind();
        let seconds = row.duration() as f64 / 1e9;
        let (epoch, step) = (row.epoch(), row.step());
        match kind {
            OpKind::Compute => {
                self.compute.push(seconds);
                self.steps_seen = self.steps_seen.max(step);
            }
            OpKind::Preprocess => self.beside.preprocess.push(seconds),
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

    fn take_operation(&mut self, rank: u32, row: Row<'_>, found: &mut Found) {
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
            // An end of file that is looked for reads nothing.
            if bytes > 0 && (self.pieces.len() < PIECES_MAX || self.pieces.contains_key(&bytes)) {
                *self.pieces.entry(bytes).or_default() += 1;
            }
        }
    }

    fn finish(&mut self, found: Found) {
        let Found { objects, told, samples, lanes, reading, first, last, .. } = found;
        let mut buckets: BTreeMap<&str, u64> = BTreeMap::new();
        // Samples that name no object are in those that were read; archives have members that nobody opens.
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
            self.notes.push("the trace has no fetches: its epochs and steps are guessed".to_owned());
        }
    }

    /// Samples per step: what most steps have.
    pub(super) fn batch(&self) -> u64 {
        most_common(self.batches.values())
    }

    /// Steps of all ranks, where so many samples are read.
    pub(super) fn steps_of(&self, visits: f64) -> f64 {
        if self.steps > 0 { self.steps as f64 } else { visits / self.batch() as f64 }
    }

    pub(super) fn mean_size(&self) -> f64 {
        self.objects.iter().map(|object| object.size as f64).sum::<f64>() / self.objects.len().max(1) as f64
    }

    fn loop_seconds(&self) -> f64 {
        self.loops.values().map(|(first, last, _)| last.saturating_sub(*first) as f64 / 1e9).sum()
    }

    /// Steps per second and rank of a loop that takes so many steps in all.
    pub(super) fn steps_per_second(&self, steps: f64) -> f64 {
        let fetches: u64 = self.loops.values().map(|(_, _, fetches)| fetches).sum();
        let (steps, seconds) = if fetches > 0 {
            (fetches as f64, self.loop_seconds())
        } else {
            (steps / self.ranks as f64, self.span_seconds)
        };
        if seconds > 0.0 { steps / seconds } else { 0.0 }
    }

    /// Seconds of a step that are neither reading nor computation: waits for what is ready, which are the shortest ones where there
    /// are readers, and meetings.
    pub(super) fn between(&self, readers: u64) -> f64 {
        let taking = if readers > 0 { shape::quantile(&self.waits, 0.1) } else { 0.0 };
        taking + shape::quantile(&self.meetings, 0.5)
    }

    /// Samples that a rank reads at a time, on average.
    pub(super) fn concurrency(&self) -> f64 {
        let seconds = if self.loops.is_empty() { self.span_seconds * self.ranks as f64 } else { self.loop_seconds() };
        if seconds > 0.0 { self.durations.iter().sum::<f64>() / seconds } else { 0.0 }
    }

    /// How many files the data set has, as the names of all that were read tell.
    pub(super) fn files_of_names(&self) -> Option<u64> {
        let (count, times) = self.named.first_key_value()?;
        (*times == self.objects.len() as u64).then_some(*count)
    }

    /// The format that most names tell.
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

/// The files of the data set that a file is of: 168 of `img_012_of_168.npz`.
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
        let gathered = Gathered { waits, meetings: vec![0.001, 0.002, 0.5], ..Gathered::default() };
        assert!((gathered.between(2) - 0.012).abs() < 1e-9);
        assert!((gathered.between(0) - 0.002).abs() < 1e-9, "a loop that reads by itself waits for its own reading");
        assert!(Gathered::default().between(2).abs() < 1e-9);
    }
}
