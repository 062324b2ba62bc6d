//! Tests of the real binary under `mpirun` with real servers and independent readers.
#![expect(clippy::disallowed_methods, reason = "tests start processes, wait for them and look at the environment")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod analysis;
mod bad_input;
mod bundled;
mod causes;
mod checkpoints;
mod connections;
mod contact;
mod containers;
mod content;
mod credentials;
mod damage;
mod datasets;
mod doctor;
mod drop_in;
mod endings;
mod examples;
mod fits;
mod foreign;
mod imports;
mod mlperf;
mod mlperf_reads;
mod mpi;
#[path = "../../crates/comm/tests/mpis/mod.rs"]
mod mpis;
mod notices;
mod outages;
mod output_folders;
mod parquet_readers;
mod ranks;
mod replays;
mod runs;
mod serving;
mod setup;
mod shapes;
mod sizes;
#[path = "../skipped.rs"]
mod skipped;
mod support;
mod terminal;
mod texts;
mod traces;
mod waits;
