//! The workload that is derived from a trace.

use super::checkpoints::Checkpoints;
use super::distribution::Compute;
use super::eval_preprocess::Evaluation;

/// A workload that was derived from a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// Number of ranks of the trace.
    pub ranks: u64,
    /// Training; `None` for a workload of checkpoints only.
    pub training: Option<Training>,
    /// Checkpoints, if there were any.
    pub checkpoints: Option<Checkpoints>,
    /// Bucket of the dataset, or of the checkpoints of a run without dataset; `None` for a folder.
    pub bucket: Option<String>,
    /// Compared numbers: name, recorded value, predicted value.
    pub similarity: Vec<(&'static str, f64, f64)>,
    /// Kolmogorov-Smirnov distances by name.
    pub distances: Vec<(&'static str, f64)>,
    /// Guesses, and parts of the trace that are left out.
    pub notes: Vec<String>,
}

/// A dataset and its training.
#[derive(Debug, Clone, PartialEq)]
pub struct Training {
    /// Format of the files.
    pub format: &'static str,
    /// Dialect of the keys.
    pub dialect: Dialect,
    /// Loader of the files.
    pub loader: Loader,
    /// Number of files.
    pub files: u64,
    /// Number of samples per file.
    pub samples_per_file: u64,
    /// Mean bytes per sample.
    pub record_length: f64,
    /// Standard deviation of the bytes per sample, over files; 0 if it is less than 1 % of the mean.
    pub record_length_stdev: f64,
    /// Samples per step and rank.
    pub batch: u64,
    /// Number of reader lanes per rank; 0 if the training loop reads.
    pub readers: u64,
    /// Number of epochs.
    pub epochs: u64,
    /// Number of steps after which each epoch ends early.
    pub steps: Option<u64>,
    /// Distribution of the seconds of computation per step.
    pub compute: Compute,
    /// Seconds of preprocessing per sample, if there was any.
    pub preprocess: Option<Compute>,
    /// Evaluation, if there was any.
    pub evaluation: Option<Evaluation>,
}

/// Dialect of a workload's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The reference's interpretation.
    Dlio,
    /// The literal interpretation.
    Native,
}

/// Loader of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loader {
    /// `PyTorch`'s loader, which opens a file for every sample.
    Pytorch,
    /// `PyTorch`'s loader, with files that stay open.
    PytorchKept,
    /// `TensorFlow`'s loader, which reads file after file.
    Tensorflow,
}

impl Fit {
    pub(super) fn bare(ranks: u64, bucket: Option<String>, notes: Vec<String>) -> Self {
        let (similarity, distances) = (Vec::new(), Vec::new());
        Self { ranks, training: None, checkpoints: None, bucket, similarity, distances, notes }
    }

    /// Returns the fit with another training.
    pub(super) fn with(&self, training: Training) -> Self {
        Self { training: Some(training), ..self.clone() }
    }
}
