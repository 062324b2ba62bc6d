//! From measured times and traces to numbers: the only definition of accelerator utilisation (AU) and throughput, the
//! reference's output files, and reports on traces.
//!
//! Invariants: live metrics and metrics recomputed from a trace pass through the same functions ([`metric`]);
//! everything here returns bytes or values, and nothing writes a file.

pub mod compare;
pub mod metric;
pub mod outputs;
pub mod percentile;
pub mod render;
pub mod report;
pub mod why;

mod build;
mod checkpoints;
mod coverage;
mod gather;
mod ordered;
mod rebuild;
mod timeline;
mod warnings;

pub use build::report;
pub use report::Report;
