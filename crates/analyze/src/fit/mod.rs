//! From a trace to a workload that loads storage in a statistically similar way, and how similar.
//!
//! Invariant: what the trace does not tell is not made up silently: each guess is a note in the YAML.

mod beside;
mod gather;
mod shape;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use dlio_trace::{Error, RankTrace};

pub use beside::{Checkpoints, Evaluation, When};
use gather::Gathered;
pub use shape::Compute;
use shape::Simulated;

/// A workload that was derived from a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// Format of the files.
    pub format: &'static str,
    /// Files.
    pub files: u64,
    /// Samples in one file.
    pub samples_per_file: u64,
    /// Mean bytes of a sample.
    pub record_length: f64,
    /// Standard deviation of that, per file; 0 if it is below a hundredth of the mean.
    pub record_length_stdev: f64,
    /// Samples per step and rank.
    pub batch: u64,
    /// Reader lanes per rank; 0: the training loop reads.
    pub readers: u64,
    /// Epochs.
    pub epochs: u64,
    /// Ranks that the trace was recorded with.
    pub ranks: u64,
    /// Seconds of computation per step.
    pub compute: Compute,
    /// Seconds of preprocessing per sample, if there was any.
    pub preprocess: Option<Compute>,
    /// Evaluation, if there was any.
    pub evaluation: Option<Evaluation>,
    /// Checkpoints that were saved in training, if there were any.
    pub checkpoints: Option<Checkpoints>,
    /// What was compared: name, recorded, fitted.
    pub similarity: Vec<(&'static str, f64, f64)>,
    /// Kolmogorov-Smirnov distances by name.
    pub distances: Vec<(&'static str, f64)>,
    /// What had to be guessed, and what was left out.
    pub notes: Vec<String>,
}

/// Derives a workload from traces; `None`: nothing in them reads an object.
///
/// # Errors
/// When a trace cannot be read.
pub fn fit(traces: &[RankTrace]) -> Result<Option<Fit>, Error> {
    let gathered = Gathered::of(traces)?;
    Ok((!gathered.sizes.is_empty()).then(|| derive(&gathered)))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded quotients of counts")]
fn derive(gathered: &Gathered) -> Fit {
    let mut notes = gathered.notes.clone();
    let files = gathered.sizes.len() as u64;
    let samples_per_file = ((gathered.samples as f64 / files as f64).round() as u64).max(1);
    let per_sample: Vec<f64> = gathered.sizes.iter().map(|size| *size as f64 / samples_per_file as f64).collect();
    let (mean, stdev) = shape::moments(&per_sample);
    let stdev = if stdev < mean / 100.0 { 0.0 } else { stdev };
    let batch = gathered.batch();
    let readers = gathered.readers;
    let compute = if gathered.compute.is_empty() {
        let steps = (gathered.visits as f64 / (batch * gathered.ranks) as f64).max(1.0);
        let mean = (gathered.span_seconds / steps).max(0.0);
        notes.push(format!("the trace has no spans of computation: {mean:.6} s per step keep its rate"));
        Compute::Constant(mean)
    } else {
        Compute::of(&gathered.compute)
    };
    let epochs = gathered.epochs.max((gathered.visits as f64 / gathered.samples.max(1) as f64).round() as u64).max(1);
    let simulated = Simulated::run(
        (gathered.steps_per_epoch(batch), epochs),
        (readers.max(1), batch),
        &gathered.durations,
        compute.mean(),
    );
    let bytes = mean * batch as f64;
    let similarity = vec![
        ("bytes per step and rank", gathered.bytes_per_step(), bytes),
        ("steps per second and rank", gathered.steps_per_second(batch), simulated.steps_per_second),
        ("samples under way per rank", gathered.concurrency(), simulated.concurrency),
        ("seconds of computation per step", shape::moments(&gathered.compute).0, compute.mean()),
    ];
    let sizes = if stdev > 0.0 {
        shape::distance(&per_sample, |x| shape::normal_cdf(x, mean, stdev))
    } else {
        shape::distance_to_point(&per_sample, mean)
    };
    let mut distances = vec![("sizes of samples", sizes)];
    if !gathered.compute.is_empty() {
        distances.push(("times of computation", compute.distance(&gathered.compute)));
    }
    let last_epoch = u32::try_from(epochs).unwrap_or(u32::MAX);
    let evaluation = gathered.beside.evaluation(last_epoch);
    let saves = gathered.beside.checkpoints((last_epoch, gathered.steps_seen), &mut notes);
    let checkpoints = saves.map(|saves| whole_ranks(saves, gathered.ranks, &mut notes));
    let preprocess = &gathered.beside.preprocess;
    notes.push(
        "not derived: the order of the samples (shuffling), ranges within files, and what readers keep open".to_owned(),
    );
    Fit {
        preprocess: (!preprocess.is_empty()).then(|| Compute::of(preprocess)),
        evaluation,
        checkpoints,
        format: gathered.format(&mut notes),
        files,
        samples_per_file,
        record_length: mean,
        record_length_stdev: stdev,
        batch,
        readers,
        epochs,
        ranks: gathered.ranks,
        compute,
        similarity,
        distances,
        notes,
    }
}

/// Tensor parallelism makes as many ranks save as did, where these divide the world; otherwise one saves for all.
fn whole_ranks(saves: Checkpoints, ranks: u64, notes: &mut Vec<String>) -> Checkpoints {
    if ranks.is_multiple_of(saves.ranks) {
        return saves;
    }
    notes.push(format!("{} of {ranks} ranks saved checkpoints; in this workload one saves as much", saves.ranks));
    Checkpoints { bytes: saves.bytes * saves.ranks, ranks: 1, ..saves }
}

impl Fit {
    /// The workload, with comments that say how similar it is.
    #[must_use]
    pub fn yaml(&self) -> Vec<u8> {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut text);
        text.into_bytes()
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "# Derived from a trace of {} rank(s): run it on as many, after `dlio-rs generate`.",
            self.ranks
        )?;
        writeln!(text, "# Recorded, and predicted of this workload with the recorded times of reading:")?;
        for (name, recorded, fitted) in &self.similarity {
            let change =
                if *recorded > 0.0 { format!(" ({:+.1} %)", (fitted / recorded - 1.0) * 100.0) } else { String::new() };
            writeln!(text, "#   {name}: {recorded:.6}, {fitted:.6}{change}")?;
        }
        for (name, distance) in &self.distances {
            writeln!(text, "#   {name}: Kolmogorov-Smirnov distance {distance:.3}")?;
        }
        for note in &self.notes {
            writeln!(text, "# Note: {note}")?;
        }
        let length = self.record_length.round();
        self.write_model(text)?;
        let (evaluation, checkpoint) = (self.evaluation.is_some(), self.checkpoints.is_some());
        writeln!(
            text,
            "workflow: {{generate_data: false, train: true, evaluation: {evaluation}, checkpoint: {checkpoint}}}\ndataset:"
        )?;
        writeln!(text, "  data_folder: data/fitted\n  format: {}", self.format)?;
        writeln!(text, "  num_files_train: {}\n  num_samples_per_file: {}", self.files, self.samples_per_file)?;
        writeln!(text, "  record_length_bytes: {length}")?;
        if self.record_length_stdev > 0.0 {
            writeln!(text, "  record_length_bytes_stdev: {}", self.record_length_stdev.round())?;
        }
        if let Some(evaluation) = &self.evaluation {
            writeln!(text, "  num_files_eval: {}", evaluation.files)?;
        }
        writeln!(
            text,
            "reader:\n  data_loader: pytorch\n  batch_size: {}\n  read_threads: {}",
            self.batch, self.readers
        )?;
        if let Some(evaluation) = &self.evaluation {
            writeln!(text, "  batch_size_eval: {}", evaluation.batch)?;
        }
        if let Some(preprocess) = &self.preprocess {
            writeln!(text, "  preprocess_time: {}", preprocess.yaml())?;
        }
        writeln!(text, "train:\n  epochs: {}\n  computation_time: {}", self.epochs, self.compute.yaml())?;
        self.write_beside(text)
    }

    fn write_model(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "model:\n  name: fitted")?;
        if let Some(Checkpoints { bytes, ranks, .. }) = self.checkpoints {
            writeln!(text, "  model_size_bytes: {bytes}")?;
            if ranks > 1 {
                writeln!(text, "  parallelism: {{tensor: {ranks}}}")?;
            }
        }
        writeln!(text, "framework: pytorch")
    }

    fn write_beside(&self, text: &mut String) -> std::fmt::Result {
        if let Some(Evaluation { after, between, compute, .. }) = &self.evaluation {
            writeln!(text, "evaluation:\n  eval_time: {}", compute.yaml())?;
            writeln!(text, "  eval_after_epoch: {after}\n  epochs_between_evals: {between}")?;
        }
        match self.checkpoints.map(|checkpoints| checkpoints.when) {
            Some(When::Steps(between)) => {
                writeln!(text, "checkpoint:\n  checkpoint_folder: checkpoints/fitted")?;
                writeln!(text, "  steps_between_checkpoints: {between}")
            }
            Some(When::Epochs(after, between)) => {
                writeln!(text, "checkpoint:\n  checkpoint_folder: checkpoints/fitted")?;
                writeln!(text, "  checkpoint_after_epoch: {after}\n  epochs_between_checkpoints: {between}")
            }
            None => Ok(()),
        }
    }
}
