//! Evaluation and preprocessing of a trace.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use dlio_event::{OpKind, Phase};
use dlio_trace::Row;

use super::distribution::Compute;

/// Evaluation of a workload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// Number of files.
    pub files: u64,
    /// Samples per step and rank.
    pub batch: u64,
    /// First epoch that is followed by an evaluation.
    pub after: u32,
    /// Number of epochs from one evaluation to the next.
    pub between: u32,
    /// Distribution of the seconds of computation per step.
    pub compute: Compute,
}

/// Evaluation and preprocessing as recorded in a trace.
#[derive(Debug, Default)]
pub(super) struct EvalPreprocess {
    eval_files: HashSet<String>,
    eval_epochs: BTreeSet<u32>,
    eval_steps: HashMap<(u32, u32, u32), u64>,
    eval_compute: Vec<f64>,
    /// Preprocessing time of each sample, seconds.
    pub(super) preprocess: Vec<f64>,
}

impl EvalPreprocess {
    /// Takes a row outside of training.
    pub(super) fn take(&mut self, rank: u32, row: Row<'_>) {
        let (epoch, step) = (row.epoch(), row.step());
        match (row.kind(), row.phase()) {
            (OpKind::Sample, Phase::Eval) => {
                self.eval_files.extend(row.object().map(str::to_owned));
                self.eval_epochs.insert(epoch);
                *self.eval_steps.entry((rank, epoch, step)).or_default() += 1;
            }
            (OpKind::Compute, Phase::Eval) => self.eval_compute.push(row.duration() as f64 / 1e9),
            _ => {}
        }
    }

    pub(super) fn evaluation(&self, epochs: u32) -> Option<Evaluation> {
        let (after, between) = every(&self.eval_epochs, epochs)?;
        let compute =
            if self.eval_compute.is_empty() { Compute::Constant(0.0) } else { Compute::of(&self.eval_compute) };
        let files = self.eval_files.len() as u64;
        Some(Evaluation { files, batch: most_common(self.eval_steps.values()), after, between, compute })
    }
}

/// Returns the first of the given epochs, and the interval to the next one; a single epoch is not repeated.
pub(super) fn every(found: &BTreeSet<u32>, epochs: u32) -> Option<(u32, u32)> {
    let first = *found.first()?;
    let between = found.iter().nth(1).map_or(epochs.saturating_sub(first) + 1, |second| second - first);
    Some((first.max(1), between.max(1)))
}

/// Returns the most common number.
pub(super) fn most_common<'a>(counts: impl Iterator<Item = &'a u64>) -> u64 {
    let mut times: BTreeMap<u64, u64> = BTreeMap::new();
    for count in counts {
        *times.entry(*count).or_default() += 1;
    }
    times.into_iter().max_by_key(|(_, times)| *times).map_or(1, |(count, _)| count)
}
