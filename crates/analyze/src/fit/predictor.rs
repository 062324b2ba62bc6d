//! Prediction of a workload's behaviour, which the caller of the fit implements.

/// Predicts the behaviour of workloads, given as the text that [`Fit::yaml`](super::Fit::yaml) returns.
pub trait WorkloadPredictor {
    /// Returns the mean size of a dataset file in bytes; `None` if there can be no such file.
    fn file_bytes(&self, yaml: &str) -> Option<f64>;

    /// Returns the load of the training; `None` if it cannot be run.
    fn training(&self, yaml: &str) -> Option<Load>;

    /// Returns the number of files per checkpoint and saving rank, and their bytes; `None` if it cannot be run.
    fn checkpoint(&self, yaml: &str) -> Option<(f64, f64)>;
}

/// Load of the training over all ranks and epochs.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Load {
    /// Number of steps.
    pub steps: f64,
    /// Number of bytes read.
    pub bytes: f64,
    /// Number of reads of any length.
    pub reads: f64,
    /// Number of opened files.
    pub opens: f64,
}
