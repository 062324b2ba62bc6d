//! What a run does beside the steps of training: evaluation, checkpoints, preprocessing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use dlio_event::{OpKind, Phase};
use dlio_trace::Batch;

use super::shape::Compute;

/// Evaluation, as a workload says it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// Files.
    pub files: u64,
    /// Samples per step and rank.
    pub batch: u64,
    /// The first epoch that is followed by one, and the epochs from one to the next.
    pub after: u32,
    /// Epochs from one to the next.
    pub between: u32,
    /// Seconds of computation per step.
    pub compute: Compute,
}

/// Checkpoints that are saved while a run trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoints {
    /// When.
    pub when: When,
    /// Bytes that a saving rank writes each time.
    pub bytes: u64,
    /// Ranks that save.
    pub ranks: u64,
}

/// When checkpoints are saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// After every so many steps of an epoch.
    Steps(u32),
    /// After the first of these epochs, and then every so many.
    Epochs(u32, u32),
}

/// What was recorded of it.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// Bytes of each rank by epoch and step of the checkpoint.
    saves: BTreeMap<(u32, u32), BTreeMap<u32, u64>>,
    /// Bytes that the writes of checkpoints moved, by rank: spans of other programs do not tell them.
    written: BTreeMap<u32, u64>,
    eval_files: HashSet<String>,
    eval_epochs: BTreeSet<u32>,
    eval_steps: HashMap<(u32, u32, u32), u64>,
    eval_compute: Vec<f64>,
    /// Seconds of preprocessing of each sample.
    pub(super) preprocess: Vec<f64>,
}

impl Beside {
    /// Takes a row that is not of training; returns the name of what the workload leaves out.
    pub(super) fn take(&mut self, rank: u32, batch: &Batch, row: usize) -> Option<&'static str> {
        let (kind, phase) = (batch.kind[row], batch.phase[row]);
        let (epoch, step, bytes) = (batch.epoch[row], batch.step[row], batch.bytes[row]);
        match (kind, phase) {
            (OpKind::CheckpointSave, _) => {
                *self.saves.entry((epoch, step)).or_default().entry(rank).or_default() += bytes;
            }
            (OpKind::CheckpointLoad, _) => return Some("load(s) of checkpoints"),
            (OpKind::GenerateFile, _) => return Some("generated file(s)"),
            (kind, Phase::Checkpoint) if kind.is_write() => *self.written.entry(rank).or_default() += bytes,
            (OpKind::Sample, Phase::Eval) => {
                self.eval_files.extend(batch.object.get(row).map(str::to_owned));
                self.eval_epochs.insert(epoch);
                *self.eval_steps.entry((rank, epoch, step)).or_default() += 1;
            }
            (OpKind::Compute, Phase::Eval) => self.eval_compute.push(batch.duration(row) as f64 / 1e9),
            _ => {}
        }
        None
    }

    pub(super) fn evaluation(&self, epochs: u32) -> Option<Evaluation> {
        let (after, between) = every(&self.eval_epochs, epochs)?;
        let compute =
            if self.eval_compute.is_empty() { Compute::Constant(0.0) } else { Compute::of(&self.eval_compute) };
        let files = self.eval_files.len() as u64;
        Some(Evaluation { files, batch: most_common(self.eval_steps.values()), after, between, compute })
    }

    /// Checkpoints of a run with so many ranks and epochs of so many steps.
    pub(super) fn checkpoints(&self, (epochs, steps): (u32, u32), notes: &mut Vec<String>) -> Option<Checkpoints> {
        let first = self.saves.keys().map(|(_, step)| *step).min()?;
        let when = if first <= steps {
            When::Steps(first.max(1))
        } else {
            let (after, between) = every(&self.saves.keys().map(|(epoch, _)| *epoch).collect(), epochs)?;
            When::Epochs(after, between)
        };
        let expected: BTreeSet<(u32, u32)> = match when {
            When::Steps(between) => {
                let steps = || (1..=steps / between).map(move |number| number * between);
                (1..=epochs).flat_map(|epoch| steps().map(move |step| (epoch, step))).collect()
            }
            When::Epochs(after, between) => {
                let taken = (after..=epochs).step_by(between as usize);
                taken.filter_map(|epoch| self.saves.keys().find(|(of, _)| *of == epoch).copied()).collect()
            }
        };
        if !self.saves.keys().eq(expected.iter()) {
            let (recorded, fitted) = (self.saves.len(), expected.len());
            notes.push(format!("{recorded} checkpoints were saved at uneven intervals; this workload saves {fitted}"));
        }
        let told = || self.saves.values().flatten().filter(|(_, bytes)| **bytes > 0);
        let count = self.saves.len() as u64;
        let (sum, ranks) = if told().next().is_some() {
            (told().map(|(_, bytes)| bytes).sum::<u64>(), told().map(|(rank, _)| rank).collect::<BTreeSet<_>>().len())
        } else {
            (self.written.values().sum(), self.written.len())
        };
        let ranks = ranks.max(1) as u64;
        Some(Checkpoints { when, bytes: sum / (count * ranks), ranks })
    }
}

/// The first of some epochs and the distance to the next; one that is alone is not repeated.
fn every(found: &BTreeSet<u32>, epochs: u32) -> Option<(u32, u32)> {
    let first = *found.first()?;
    let between = found.iter().nth(1).map_or(epochs.saturating_sub(first) + 1, |second| second - first);
    Some((first.max(1), between.max(1)))
}

/// The number that most say.
pub(super) fn most_common<'a>(counts: impl Iterator<Item = &'a u64>) -> u64 {
    let mut times: BTreeMap<u64, u64> = BTreeMap::new();
    for count in counts {
        *times.entry(*count).or_default() += 1;
    }
    times.into_iter().max_by_key(|(_, times)| *times).map_or(1, |(count, _)| count)
}
