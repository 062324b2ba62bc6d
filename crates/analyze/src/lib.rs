//! Computes metrics from measured times and from traces: the only definition of accelerator utilisation (AU) and
//! throughput, the reference's output files, and reports on traces.
//!
//! Invariants: live metrics and metrics that are recomputed from a trace use the same functions ([`metric`]); all
//! functions return bytes or values, and none writes a file.

pub mod compare;
pub mod diagnosis;
pub mod fit;
pub mod metric;
pub mod outputs;
pub mod percentile;
pub mod render;
pub mod report;

mod analysis;
mod bucket_values;
mod checkpoints;
mod durations;
mod ending;
mod epochs;
mod inputs;
mod ordered;
mod overview;
mod pass;
mod rank_timings;
mod report_builder;
mod threads;
mod timeline;
mod totals;
mod wait_breakdown;
mod warnings;

pub use analysis::{Analysis, MergedRounds, TraceShare, report};
pub use ending::{RunEnd, RunState};
pub use inputs::{EXACT_EVENTS, Options};
pub use report::Report;
