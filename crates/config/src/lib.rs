//! DLIO YAML plus Hydra-style overrides become one validated [`Workload`].
//!
//! Text in, value out: this crate reads no file, no environment and no clock.

pub mod time;
pub mod vocabulary;
pub mod workload;

pub use workload::Workload;
