//! The `dlio-rs` binary: arguments, wiring, rendering of errors, exit codes. Nothing else.

mod args;
mod aws_profile;
mod checkpoints;
mod closing;
mod command_line;
mod commands;
mod connections;
mod counters;
mod credentials;
mod discover;
mod doctor;
mod drop_in;
mod endpoints;
mod environment;
mod exit;
mod foresee;
mod host;
mod launch;
mod lists;
mod location;
mod log;
mod memory;
mod meter;
mod mismatches;
mod once;
mod opening;
mod outages;
mod output_folder;
mod outputs;
mod page_cache;
mod panics;
mod places;
mod prepared;
mod presence;
mod profiler;
mod progress;
mod quantity;
mod ranks;
mod recording;
mod remedy;
mod renewal;
mod request;
mod result;
mod run;
mod serve_args;
mod session;
mod set_up;
mod shared_folder;
mod signals;
mod sizes;
mod sizing;
mod sources;
mod space;
mod storage;
mod suggest;
mod terminal;
mod text_args;
mod together;
mod trace_args;
mod trace_command_args;
mod trace_fidelity;
mod trace_prepare;
mod trace_replay;
mod unheeded;
mod version;
mod voice;
mod wall;
mod wire_path;
mod workload;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    commands::main(std::env::args_os())
}
