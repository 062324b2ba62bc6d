//! Checkpoints of a trace: when they were saved or loaded, by which ranks, in which files.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dlio_event::{OpKind, Outcome};
use dlio_trace::Row;

use super::distribution::moments;
use super::eval_preprocess::{every, most_common};

/// Checkpoints that a workload saves or loads.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoints {
    /// Schedule of the checkpoints.
    pub schedule: CheckpointSchedule,
    /// Bytes of each file that a saving rank writes per checkpoint: one to three files.
    pub files: Vec<u64>,
    /// Number of ranks that save.
    pub ranks: u64,
    /// Whether files are synchronised to stable storage (fsync).
    pub fsync: bool,
}

/// Schedule of checkpoints.
#[derive(Debug, Clone, PartialEq)]
pub enum CheckpointSchedule {
    /// After every given number of steps of an epoch.
    Steps(u32),
    /// After the first given epoch, and then at an interval of epochs.
    Epochs(u32, u32),
    /// Checkpoints without training.
    WithoutTraining {
        /// Number of checkpoints that are saved.
        writes: u64,
        /// Number of checkpoints that are loaded afterwards.
        reads: u64,
        /// Pause before each checkpoint, seconds.
        pause: f64,
    },
}

/// Epoch, number and step of a checkpoint.
type Moment = (u32, u32, u32);

/// Largest number of files of different sizes that a workload can give a rank.
const FILES_MAX: usize = 3;

/// Checkpoints as recorded in a trace.
#[derive(Debug, Default)]
pub(super) struct RecordedCheckpoints {
    /// Bytes of each rank, by checkpoint.
    saved: BTreeMap<Moment, BTreeMap<u32, u64>>,
    loaded: BTreeMap<Moment, BTreeMap<u32, u64>>,
    /// Start and end of each save and load, by rank.
    times: BTreeMap<u32, Vec<(i64, i64)>>,
    /// Files that were written, and read, in each checkpoint, by rank.
    written: BTreeMap<(Moment, u32), Files>,
    read: BTreeMap<(Moment, u32), Files>,
    /// Files that a rank wrote for an unknown purpose.
    loose: BTreeMap<u32, Files>,
    fsync: bool,
    /// Name of one object of a checkpoint, as an example.
    pub(super) object: Option<String>,
}

/// Files in the order of their first bytes, with the start of the first operation and the end of the last one.
#[derive(Debug, Default)]
struct Files {
    bytes: Vec<u64>,
    times: Vec<(i64, i64)>,
    numbers: HashMap<String, usize>,
}

impl Files {
    fn add(&mut self, row: Row<'_>) {
        let (bytes, start, end) = (row.bytes(), row.start(), row.end());
        let name = row.object().unwrap_or("");
        if let Some(&number) = self.numbers.get(name) {
            self.bytes[number] += bytes;
            self.times[number].1 = self.times[number].1.max(end);
        } else {
            self.numbers.insert(name.to_owned(), self.bytes.len());
            self.bytes.push(bytes);
            self.times.push((start, end));
        }
    }

    /// Returns the bytes of each file of one checkpoint; these files belong to `checkpoints` checkpoints.
    fn sizes(&self, checkpoints: usize) -> Vec<u64> {
        let count = self.bytes.len();
        let sizes = if count.is_multiple_of(checkpoints) {
            let each = count / checkpoints;
            let sum = |place: usize| self.bytes.iter().skip(place).step_by(each).sum::<u64>() / checkpoints as u64;
            (0..each).map(sum).collect()
        } else {
            vec![self.bytes.iter().sum::<u64>() / checkpoints as u64]
        };
        match &sizes[..] {
            [first, more @ .., last] if sizes.len() > FILES_MAX => vec![*first, more.iter().sum(), *last],
            _ => sizes,
        }
    }
}

impl RecordedCheckpoints {
    /// Takes a row of a checkpoint.
    pub(super) fn take(&mut self, rank: u32, row: Row<'_>) {
        let moment = (row.epoch(), row.block(), row.step());
        let spans = match row.kind() {
            OpKind::CheckpointSave => &mut self.saved,
            OpKind::CheckpointLoad => &mut self.loaded,
            _ if row.outcome() != Outcome::Ok => return,
            kind if kind.is_write() || kind.is_read() => {
                if row.object().is_some_and(belongs_to_bundle) {
                    return;
                }
                let of = if kind.is_write() { &mut self.written } else { &mut self.read };
                of.entry((moment, rank)).or_default().add(row);
                if self.object.is_none() {
                    self.object = row.object().map(str::to_owned);
                }
                return;
            }
            kind => {
                self.fsync |= kind == OpKind::Fsync;
                return;
            }
        };
        *spans.entry(moment).or_default().entry(rank).or_default() += row.bytes();
        self.times.entry(rank).or_default().push((row.start(), row.end()));
    }

    /// Takes a write whose purpose the trace does not contain.
    pub(super) fn take_write(&mut self, rank: u32, row: Row<'_>) {
        if row.outcome() == Outcome::Ok {
            self.loose.entry(rank).or_default().add(row);
            if self.object.is_none() {
                self.object = row.object().map(str::to_owned);
            }
        }
    }

    /// Treats each written object as a checkpoint if the trace has no other checkpoints. Returns whether it did.
    pub(super) fn take_loose(&mut self, notes: &mut Vec<String>) -> bool {
        let loose = std::mem::take(&mut self.loose);
        if self.has_spans() || loose.is_empty() {
            return false;
        }
        for (rank, files) in loose {
            for (number, (bytes, time)) in (1..).zip(files.bytes.iter().zip(&files.times)) {
                self.saved.entry((0, number, number)).or_default().insert(rank, *bytes);
                self.times.entry(rank).or_default().push(*time);
            }
        }
        notes.push("the trace has no spans of checkpoints: each object that a rank wrote counts as one".to_owned());
        true
    }

    fn has_spans(&self) -> bool {
        !self.saved.is_empty() || !self.loaded.is_empty()
    }

    /// Returns the number of loads over all ranks.
    pub(super) fn loads(&self) -> u64 {
        self.loaded.values().map(|ranks| ranks.len() as u64).sum()
    }

    /// Checkpoints that were saved and loaded.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.saved.len() as u64, self.loaded.len() as u64)
    }

    /// Returns the number of files per checkpoint and saving rank, and their bytes: those of the contents, if the trace
    /// has them.
    pub(super) fn recorded(&self) -> (f64, f64) {
        let (spans, files) =
            if self.saved.is_empty() { (&self.loaded, &self.read) } else { (&self.saved, &self.written) };
        let told: Vec<u64> = spans.values().flatten().map(|(_, bytes)| *bytes).filter(|bytes| *bytes > 0).collect();
        let ranks: BTreeSet<u32> = files.keys().map(|(_, rank)| *rank).collect();
        let times = (spans.len() * ranks.len()).max(1) as f64;
        let count: usize = files.values().map(|files| files.bytes.len()).sum();
        let written: u64 = files.values().flat_map(|files| &files.bytes).sum();
        let bytes =
            if told.is_empty() { written as f64 / times } else { told.iter().sum::<u64>() as f64 / told.len() as f64 };
        (if files.is_empty() { 1.0 } else { count as f64 / times }, bytes)
    }

    /// Returns the checkpoints of a run without training.
    pub(super) fn without_training(&self, ranks: u64, notes: &mut Vec<String>) -> Option<Checkpoints> {
        if !self.has_spans() {
            return None;
        }
        let (writes, reads) = (self.saved.len() as u64, self.loaded.len() as u64);
        let pause = self.pause();
        if writes < reads {
            notes.push(format!(
                "{reads} checkpoints were loaded and {writes} saved: save the same number first, with checkpoint.num_checkpoints_write={reads} \
                 checkpoint.num_checkpoints_read=0"
            ));
        }
        Some(self.checkpoints(CheckpointSchedule::WithoutTraining { writes, reads, pause }, ranks, notes))
    }

    /// Returns the mean time between checkpoints in seconds, of the rank that waits the least for the others.
    fn pause(&self) -> f64 {
        let mut pauses: Vec<f64> = Vec::new();
        for times in self.times.values() {
            let mut times = times.clone();
            times.sort_unstable();
            let gaps = times.windows(2).map(|pair| pair[1].0.saturating_sub(pair[0].1).max(0) as f64 / 1e9);
            for (number, gap) in gaps.enumerate() {
                match pauses.get_mut(number) {
                    Some(least) => *least = least.min(gap),
                    None => pauses.push(gap),
                }
            }
        }
        moments(&pauses).0
    }

    /// Returns the checkpoints of a run with training, from its number of epochs and of steps per epoch.
    pub(super) fn in_training(
        &self,
        (epochs, steps): (u32, u32),
        ranks: u64,
        notes: &mut Vec<String>,
    ) -> Option<Checkpoints> {
        let taken: BTreeSet<(u32, u32)> = self.saved.keys().map(|(epoch, _, step)| (*epoch, *step)).collect();
        let first = taken.iter().map(|(_, step)| *step).min()?;
        let when = if first <= steps {
            CheckpointSchedule::Steps(first.max(1))
        } else {
            let (after, between) = every(&taken.iter().map(|(epoch, _)| *epoch).collect(), epochs)?;
            CheckpointSchedule::Epochs(after, between)
        };
        let expected: BTreeSet<(u32, u32)> = if let CheckpointSchedule::Epochs(after, between) = when {
            let epochs = (after..=epochs).step_by(between as usize);
            epochs.filter_map(|epoch| taken.iter().find(|(of, _)| *of == epoch).copied()).collect()
        } else {
            let between = first.max(1);
            let steps = || (1..=steps / between).map(move |number| number * between);
            (1..=epochs).flat_map(|epoch| steps().map(move |step| (epoch, step))).collect()
        };
        if taken != expected {
            let (recorded, fitted) = (taken.len(), expected.len());
            notes.push(format!("{recorded} checkpoints were saved at uneven intervals; this workload saves {fitted}"));
        }
        Some(self.checkpoints(when, ranks, notes))
    }

    /// Returns the checkpoints with their files and ranks. Tensor parallelism makes the recorded number of ranks save,
    /// if it divides the world size; otherwise one rank saves for all.
    fn checkpoints(&self, when: CheckpointSchedule, ranks: u64, notes: &mut Vec<String>) -> Checkpoints {
        let (spans, files) =
            if self.saved.is_empty() { (&self.loaded, &self.read) } else { (&self.saved, &self.written) };
        let told: Vec<(u32, u64)> =
            spans.values().flatten().filter(|(_, bytes)| **bytes > 0).map(|(rank, bytes)| (*rank, *bytes)).collect();
        let moments: BTreeSet<Moment> = files.keys().map(|(moment, _)| *moment).collect();
        // Operations of other programs do not name their checkpoint, so that all operations of a rank are counted
        // together.
        let together = (spans.len() / moments.len().max(1)).max(1);
        let sizes: Vec<Vec<u64>> = files.values().map(|files| files.sizes(together)).collect();
        let mut mean = means(&sizes);
        let saving: BTreeSet<u32> = if told.is_empty() {
            files.keys().map(|(_, rank)| *rank).collect()
        } else {
            told.iter().map(|(rank, _)| *rank).collect()
        };
        if !told.is_empty() {
            // Files contain more than the saved state.
            let bytes = told.iter().map(|(_, bytes)| bytes).sum::<u64>() / told.len() as u64;
            scale(&mut mean, bytes);
        }
        let count = saving.len().max(1) as u64;
        let fsync = self.fsync;
        if ranks.is_multiple_of(count) {
            return Checkpoints { schedule: when, files: mean, ranks: count, fsync };
        }
        notes.push(format!("{count} of {ranks} ranks saved checkpoints; in this workload one saves as much"));
        Checkpoints { schedule: when, files: mean.iter().map(|bytes| bytes * count).collect(), ranks: 1, fsync }
    }
}

/// Returns whether a file belongs to a `TensorFlow` bundle as its index or as the pointer to the latest one. They are
/// small, and every bundle writes them.
fn belongs_to_bundle(name: &str) -> bool {
    let name = name.rsplit('/').next().unwrap_or(name);
    name == "checkpoint" || name.rsplit_once('.').is_some_and(|(_, ending)| ending == "index")
}

/// Returns the mean bytes of each file, over the lists of the most common length.
fn means(sizes: &[Vec<u64>]) -> Vec<u64> {
    let counts: Vec<u64> = sizes.iter().map(|sizes| sizes.len() as u64).collect();
    let count = usize::try_from(most_common(counts.iter())).unwrap_or(FILES_MAX);
    let such: Vec<&Vec<u64>> = sizes.iter().filter(|sizes| sizes.len() == count).collect();
    let mean = |place: usize| such.iter().map(|sizes| sizes[place]).sum::<u64>() / such.len().max(1) as u64;
    if such.is_empty() { Vec::new() } else { (0..count).map(mean).collect() }
}

/// Scales sizes so that they add up to `bytes`, in the same proportions.
fn scale(sizes: &mut Vec<u64>, bytes: u64) {
    let sum: u64 = sizes.iter().sum();
    if sum == 0 {
        *sizes = vec![bytes];
        return;
    }
    let scaled = |size: u64| u64::try_from(u128::from(size) * u128::from(bytes) / u128::from(sum)).unwrap_or(size);
    for size in sizes.iter_mut() {
        *size = scaled(*size);
    }
    let rest = bytes.saturating_sub(sizes.iter().sum());
    if let Some(first) = sizes.first_mut() {
        *first += rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_checkpoint_sum_up_to_what_was_saved_and_are_three_at_most() {
        let files = |bytes: &[u64]| Files { bytes: bytes.to_vec(), ..Files::default() };
        assert_eq!(files(&[10, 20]).sizes(1), [10, 20]);
        assert_eq!(files(&[10, 20, 12, 24]).sizes(2), [11, 22], "two checkpoints one after the other");
        assert_eq!(files(&[10, 20, 30]).sizes(2), [30], "nobody knows which are of which");
        assert_eq!(files(&[1, 2, 3, 4, 5]).sizes(1), [1, 9, 5]);
        assert_eq!(means(&[vec![10, 20], vec![20, 40], vec![7]]), [15, 30]);
        let mut sizes = vec![101, 202];
        scale(&mut sizes, 300);
        assert_eq!(sizes, [100, 200]);
        let mut unknown = Vec::new();
        scale(&mut unknown, 300);
        assert_eq!(unknown, [300]);
    }
}
