//! What a run writes and reports: the log, progress, traces, and the reference's output files.

pub(crate) mod endpoint_notices;
pub mod file;
pub(crate) mod log;
pub mod meter;
pub(crate) mod opening;
pub(crate) mod outages;
pub(crate) mod parameters;
pub(crate) mod progress;
pub(crate) mod rank_trace;
pub(crate) mod reference_log;
pub(crate) mod results;
pub(crate) mod trace_folder;
