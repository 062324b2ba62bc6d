//! Derives a workload from a trace that loads storage in a statistically similar way, and measures the similarity.
//!
//! Invariant: nothing that the trace does not contain is invented silently. Each guess is a note in the YAML.

mod candidates;
mod checkpoints;
mod derive;
mod distribution;
mod eval_preprocess;
mod predictor;
mod profile;
mod speed;
#[cfg(test)]
mod tests;
mod workload;
mod yaml;

pub use checkpoints::{CheckpointSchedule, Checkpoints};
pub use derive::fit;
pub use distribution::Compute;
pub use eval_preprocess::Evaluation;
pub use predictor::{Load, WorkloadPredictor};
pub use workload::{Dialect, Fit, Loader, Training};
