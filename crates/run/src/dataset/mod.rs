//! The dataset that a run finds: files of other programs, missing files, shapes that differ.

pub mod discover;
pub mod files;
pub mod listing;
pub mod mismatches;
pub mod presence;
