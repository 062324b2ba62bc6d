//! From measured times and traces to numbers: the only definition of accelerator utilisation (AU) and throughput, the
//! reference's output files, and reports on traces.
//!
//! Invariants: live metrics and metrics recomputed from a trace pass through the same functions ([`metric`]);
//! everything here returns bytes or values, and nothing writes a file.

pub mod compare;
pub mod fit;
pub mod metric;
pub mod outputs;
pub mod percentile;
pub mod render;
pub mod report;
pub mod why;

mod analysis;
mod build;
mod checkpoints;
mod ending;
mod histogram;
mod ordered;
mod overview;
mod pass;
mod rebuild;
mod timeline;
mod warnings;

pub use analysis::{Analysis, Asked, EXACT_EVENTS, Options, Share, report};
pub use ending::{RunEnd, RunState};
pub use report::Report;
