//! What a run does: derived from the options and `workflow.*`.

use dlio_config::Workload;
use dlio_engine::StallLimits;

use crate::failure::Failure;
use crate::options::Options;

/// Work of a run, and how it is done.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of a command line")]
pub(crate) struct Work {
    /// Generate the dataset.
    pub(crate) generate: bool,
    /// Train on the dataset.
    pub(crate) train: bool,
    /// Check the content of the dataset.
    pub(crate) verify: bool,
    /// Keep the dataset after the run.
    pub(crate) keep: bool,
    /// Take checkpoints: during the training, or, without a training, nothing but checkpoints.
    pub(crate) checkpoint: bool,
    /// Write complete files of the dataset again.
    pub(crate) overwrite: bool,
    /// Compare the dataset with a listing.
    pub(crate) list: bool,
    /// Check endpoints, credentials and bucket before the run.
    pub(crate) preflight: bool,
    /// Times after which a wait is reported and ends the run.
    pub(crate) stall_limits: StallLimits,
    /// Run even if the training has no steps.
    pub(crate) allow_empty: bool,
}

impl Work {
    /// Returns a training with the switches of `target`.
    pub(crate) fn training(target: &Options) -> Self {
        Self {
            generate: false,
            train: true,
            verify: false,
            keep: true,
            checkpoint: false,
            overwrite: false,
            list: false,
            preflight: !target.no_preflight,
            stall_limits: target.stall_limits(),
            allow_empty: false,
        }
    }

    /// Returns the work that `workflow.*` asks for.
    ///
    /// # Errors
    /// If `workflow.*` asks for nothing.
    pub(crate) fn of_workflow(workload: &Workload, target: &Options) -> Result<Self, Failure> {
        let workflow = workload.workflow;
        if !workflow.generate_data && !workflow.train && !workflow.checkpoint {
            return Err(Failure::usage(
                "the workload asks for nothing that can be done: workflow.generate_data, workflow.train and workflow.checkpoint are all false",
            ));
        }
        // As in DLIO, a dataset that is generated without a training is kept.
        let keep = workload.dataset.keep_files || !workflow.train;
        let (generate, train, checkpoint) = (workflow.generate_data, workflow.train, workflow.checkpoint);
        Ok(Self { generate, train, keep, checkpoint, ..Self::training(target) })
    }
}
