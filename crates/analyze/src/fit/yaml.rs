//! Text of a workload, with comments on its similarity to the trace.

use std::fmt::{Result, Write as _};

use dlio_event::S3Uri;

use super::checkpoints::{CheckpointSchedule, Checkpoints};
use super::eval_preprocess::Evaluation;
use super::workload::{Dialect, Fit, Loader, Training};

/// Optimizer state consists of three tensors of the size of their group.
const TENSORS_OF_GROUP: u64 = 3;

impl Fit {
    /// Returns the workload as YAML, with comments on its similarity to the trace.
    #[must_use]
    pub fn yaml(&self) -> String {
        let mut text = String::new();
        // Writing to a `String` cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> Result {
        let before = if self.training.is_some() { ", after `dlio-rs generate`" } else { "" };
        writeln!(text, "# Derived from a trace of {} rank(s): run it on as many{before}.", self.ranks)?;
        writeln!(text, "# Recorded value, and prediction for this workload with the recorded read durations:")?;
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
        self.write_model(text)?;
        let (train, checkpoint) = (self.training.is_some(), self.checkpoints.is_some());
        let evaluation = self.training.as_ref().is_some_and(|training| training.evaluation.is_some());
        writeln!(
            text,
            "workflow: {{generate_data: false, train: {train}, evaluation: {evaluation}, checkpoint: {checkpoint}}}"
        )?;
        if let Some(training) = &self.training {
            self.write_training(training, text)?;
        }
        self.checkpoints.as_ref().map_or(Ok(()), |checkpoints| self.write_checkpoints(checkpoints, text))
    }

    /// Returns the folder for data that the workload reads or writes.
    fn folder(&self, name: &str) -> String {
        let folder = format!("{name}/fitted");
        self.bucket.as_ref().map_or(folder.clone(), |bucket| S3Uri { bucket, key: &folder }.to_string())
    }

    fn write_training(&self, training: &Training, text: &mut String) -> Result {
        writeln!(text, "dataset:\n  data_folder: {}\n  format: {}", self.folder("data"), training.format)?;
        writeln!(text, "  num_files_train: {}\n  num_samples_per_file: {}", training.files, training.samples_per_file)?;
        writeln!(text, "  record_length_bytes: {}", training.record_length.round())?;
        if training.record_length_stdev > 0.0 {
            writeln!(text, "  record_length_bytes_stdev: {}", training.record_length_stdev.round())?;
        }
        if let Some(evaluation) = &training.evaluation {
            writeln!(text, "  num_files_eval: {}", evaluation.files)?;
        }
        writeln!(text, "reader:")?;
        match training.loader {
            Loader::Pytorch => writeln!(text, "  data_loader: pytorch")?,
            Loader::PytorchKept => writeln!(text, "  data_loader: pytorch\n  read_type: memory")?,
            Loader::Tensorflow => writeln!(text, "  data_loader: tensorflow")?,
        }
        writeln!(text, "  batch_size: {}\n  read_threads: {}", training.batch, training.readers)?;
        if let Some(evaluation) = &training.evaluation {
            writeln!(text, "  batch_size_eval: {}", evaluation.batch)?;
        }
        if let Some(preprocess) = &training.preprocess {
            writeln!(text, "  preprocess_time: {}", preprocess.yaml())?;
        }
        writeln!(text, "train:\n  epochs: {}\n  computation_time: {}", training.epochs, training.compute.yaml())?;
        if let Some(steps) = training.steps {
            writeln!(text, "  total_training_steps: {steps}")?;
        }
        if let Some(Evaluation { after, between, compute, .. }) = &training.evaluation {
            writeln!(text, "evaluation:\n  eval_time: {}", compute.yaml())?;
            writeln!(text, "  eval_after_epoch: {after}\n  epochs_between_evals: {between}")?;
        }
        match training.dialect {
            Dialect::Dlio => Ok(()),
            Dialect::Native => writeln!(text, "dlio_rs:\n  dialect: native"),
        }
    }

    /// The first file of a checkpoint has the generic state, the last of several has the optimizer's, and one between
    /// them has that of layers.
    fn write_model(&self, text: &mut String) -> Result {
        writeln!(text, "model:\n  name: fitted")?;
        if let Some(Checkpoints { files, ranks, .. }) = &self.checkpoints {
            writeln!(text, "  model_size_bytes: {}", files.first().copied().unwrap_or(0))?;
            if let [_, between @ .., optimizer] = &files[..] {
                for bytes in between {
                    writeln!(text, "  num_layers: 1\n  layer_parameters: [{}]", bytes * ranks)?;
                }
                writeln!(text, "  optimization_groups: [{}]", (optimizer / TENSORS_OF_GROUP).max(1))?;
            }
            if *ranks > 1 {
                writeln!(text, "  parallelism: {{tensor: {ranks}}}")?;
            }
        }
        let loader = self.training.as_ref().map(|training| training.loader);
        writeln!(text, "framework: {}", if loader == Some(Loader::Tensorflow) { "tensorflow" } else { "pytorch" })
    }

    fn write_checkpoints(&self, checkpoints: &Checkpoints, text: &mut String) -> Result {
        writeln!(text, "checkpoint:\n  checkpoint_folder: {}", self.folder("checkpoints"))?;
        if checkpoints.fsync {
            writeln!(text, "  fsync: true")?;
        }
        match checkpoints.schedule {
            CheckpointSchedule::Steps(between) => writeln!(text, "  steps_between_checkpoints: {between}"),
            CheckpointSchedule::Epochs(after, between) => {
                writeln!(text, "  checkpoint_after_epoch: {after}\n  epochs_between_checkpoints: {between}")
            }
            CheckpointSchedule::WithoutTraining { writes, reads, pause } => {
                writeln!(text, "  num_checkpoints_write: {writes}\n  num_checkpoints_read: {reads}")?;
                // The reference only accepts a number here.
                writeln!(text, "  time_between_checkpoints: {pause:.9}")
            }
        }
    }
}
