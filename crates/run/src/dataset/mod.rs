//! The dataset of a run: its files, listings, files of other programs, missing files, and files with other shapes.

pub mod discover;
pub mod files;
pub mod listing;
pub mod mismatches;
pub mod presence;
