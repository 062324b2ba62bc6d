//! The communicators' conformance suite under a real launcher, and what waiting costs:
//!
//! ```text
//! mpirun --oversubscribe -np 3 mpi_conformance check     # the suite; prints `ok` per rank
//! mpirun --oversubscribe -np 2 mpi_conformance measure   # init time, barrier latency, CPU burnt while waiting
//! mpirun --oversubscribe -np 2 mpi_conformance abort     # rank 1 ends the run with exit code 7
//! ```
//!
//! A second argument is the number of ranks that make a node: several nodes on one machine.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]
#![expect(clippy::disallowed_methods, reason = "measures the wall clock, and has no Clock to wait on")]

use std::time::{Duration, Instant};

use dlio_comm::{Communicator, Mpi, conformance};

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let ranks = std::env::args().nth(2).and_then(|ranks| ranks.parse().ok());
    let mpi = ranks.map_or_else(Mpi::init, Mpi::init_with_nodes_of)?;
    let init = start.elapsed();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mode = std::env::args().nth(1).unwrap_or_default();
    let rank = mpi.place().rank;
    match mode.as_str() {
        "measure" => runtime.block_on(measure(&mpi, init))?,
        "abort" => runtime.block_on(abort(&mpi))?,
        _ => {
            runtime.block_on(conformance::check(&mpi));
            let place = mpi.place().clone();
            let mpi = mpi.with_call_limit(1000);
            runtime.block_on(conformance::check(&mpi));
            println!("ok {place:?} {}", Mpi::library());
        }
    }
    println!("rank {rank} done");
    Ok(())
}

/// CPU time of this process so far.
fn cpu() -> Duration {
    // utime and stime are fields 14 and 15, in ticks of 10 ms, which is precise enough for a share of seconds.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

async fn measure(mpi: &Mpi, init: Duration) -> Result<(), dlio_comm::Error> {
    const ROUNDS: u32 = 2000;
    let rank = mpi.place().rank;
    for _ in 0..100 {
        mpi.barrier().await?;
    }
    let start = Instant::now();
    for _ in 0..ROUNDS {
        mpi.barrier().await?;
    }
    let latency = start.elapsed() / ROUNDS;
    let before = cpu();
    let start = Instant::now();
    if rank == 0 {
        std::thread::sleep(Duration::from_secs(2));
    }
    mpi.barrier().await?;
    println!(
        "rank {rank}: init {init:?}, barrier {latency:?}, waited {:?} with {:?} of CPU",
        start.elapsed(),
        cpu().saturating_sub(before)
    );
    Ok(())
}

async fn abort(mpi: &Mpi) -> Result<(), dlio_comm::Error> {
    mpi.barrier().await?;
    if mpi.place().rank == 1 {
        mpi.abort("rank 1 failed", 7);
    }
    mpi.barrier().await
}
