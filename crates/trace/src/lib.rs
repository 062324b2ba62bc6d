//! Trace files: one Parquet file per rank that holds the rank's events. It is written while the run is in progress and read back
//! in batches.
//!
//! Invariants: recording never drops an event silently and never waits for I/O. A file on disk is valid up to its last complete
//! footer, whatever happens to the process. `docs/trace-format.md` describes every column in [`COLUMNS`].

mod checksum;
mod columns;
mod damage;
mod encoder;
mod error;
pub mod export;
mod file;
mod folder;
mod footer;
mod header;
pub mod import;
mod name_column;
mod names;
mod packed_events;
mod reader;
mod record_columns;
mod recorder;
mod regular_file;
mod repair;
mod replacement_file;
mod row_group;
mod rows;
pub mod tables;
mod verified_chunks;

pub use columns::{COLUMNS, Column, Storage};
pub use error::Error;
pub use file::Summary;
pub use folder::{file_name, list_dir};
pub use header::{ClockAnchor, Drift, FORMAT_MAJOR, FORMAT_MINOR, Header};
pub use name_column::NameColumn;
pub use reader::{RankTrace, RowReader, read_dir, read_file};
pub use recorder::{Health, TraceWriter};
pub use repair::{Repaired, repair};
pub use rows::{NO_BYTES, NO_CONNECTION, NO_SAMPLE, NO_TIME, Row, Rows};
