//! The `dlio-rs` binary: arguments, wiring, rendering of errors, exit codes. Nothing else.

mod args;
mod command_line;
mod commands;
mod doctor;
mod drop_in;
mod environment;
mod exit;
mod front;
mod launch;
mod location;
mod log;
mod memory;
mod meter;
mod on_ranks;
mod outcome;
mod panics;
mod quantity;
mod rank0_only;
mod serve_args;
mod signals;
mod stop;
mod terminal;
mod text_args;
mod trace_args;
mod trace_command_args;
mod version;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    commands::main(std::env::args_os())
}
