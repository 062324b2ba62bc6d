//! Traces in the formats of other tools.

pub mod pfw;
