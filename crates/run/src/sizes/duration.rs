//! A lower bound of the duration of a run.

use std::fmt::Write as _;

use dlio_config::Workload;
use dlio_plan::{Split, TrainingPlan};

use super::CheckpointSizes;

/// The time that a run takes without waiting for storage, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Duration {
    /// Emulated computation of all training steps of a rank, in seconds.
    pub computation: f64,
    /// Emulated computation of all evaluation steps of a rank, in seconds.
    pub evaluation: f64,
    /// Emulated preprocessing that exceeds the computation of a rank, in seconds.
    pub preprocessing: f64,
    /// Pauses before checkpoints in a run that only takes checkpoints, in seconds.
    pub pauses: f64,
}

impl Duration {
    pub(super) fn new(
        workload: &Workload,
        training: Option<&TrainingPlan>,
        checkpoints: Option<&CheckpointSizes>,
    ) -> Self {
        let mut least = Self::default();
        if let Some(plan) = training {
            let evaluations = plan.evaluations();
            let steps = plan.steps(Split::Train) as f64 * f64::from(plan.epochs());
            let eval_steps = plan.steps(Split::Eval) as f64 * evaluations as f64;
            least.computation = steps * workload.train.computation_time.mean().abs();
            least.evaluation = eval_steps * workload.evaluation.eval_time.mean().abs();
            let samples =
                steps * plan.batch_size(Split::Train) as f64 + eval_steps * plan.batch_size(Split::Eval) as f64;
            let preprocess = samples * workload.reader.preprocess_time.mean().abs();
            least.preprocessing = match plan.lanes() {
                // The training loop reads by itself, so preprocessing and computation do not overlap.
                0 => preprocess,
                lanes => (preprocess / f64::from(lanes) - least.computation - least.evaluation).max(0.0),
            };
        }
        if let Some(checkpoints) = checkpoints {
            least.pauses = checkpoints.pause * checkpoints.writes.saturating_add(checkpoints.reads) as f64;
        }
        least
    }

    /// Returns the sum of all parts in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        let Self { computation, evaluation, preprocessing, pauses } = self;
        computation + evaluation + preprocessing + pauses
    }

    /// Returns a description of the parts.
    #[must_use]
    pub fn parts(&self) -> String {
        let Self { computation, evaluation, preprocessing, pauses } = *self;
        let named = [
            ("computation", computation),
            ("evaluation", evaluation),
            ("preprocessing beyond that", preprocessing),
            ("pauses before checkpoints", pauses),
        ];
        let mut text = String::new();
        for (name, seconds) in named.into_iter().filter(|(_, seconds)| *seconds > 0.0) {
            let comma = if text.is_empty() { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(text, "{comma}{name} {}", clock(seconds));
        }
        text
    }
}

/// Formats a time in the largest suitable units: `3 h 12 min`, `4.2 s`.
pub(super) fn clock(seconds: f64) -> String {
    match seconds {
        ..60.0 => format!("{seconds:.3} s"),
        60.0..3600.0 => format!("{:.0} min {:02.0} s", (seconds / 60.0).floor(), (seconds % 60.0).floor()),
        3600.0..360_000.0 => {
            format!("{:.0} h {:02.0} min", (seconds / 3600.0).floor(), (seconds % 3600.0 / 60.0).floor())
        }
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_the_largest_units_that_fit() {
        assert_eq!(clock(4.845), "4.845 s");
        assert_eq!(clock(61.0), "1 min 01 s");
        assert_eq!(clock(3.0 * 3600.0 + 720.0), "3 h 12 min");
        assert_eq!(clock(864_000.0), "10.0 days");
    }

    #[test]
    fn all_parts_count_and_those_that_are_nothing_are_not_named() {
        let least = Duration { computation: 3.0, evaluation: 0.0, preprocessing: 1.0, pauses: 0.5 };
        assert!((least.seconds() - 4.5).abs() < 1e-12);
        assert_eq!(
            least.parts(),
            "computation 3.000 s, preprocessing beyond that 1.000 s, pauses before checkpoints 0.500 s"
        );
    }
}
