//! Runs the conformance suite of communicators under a real launcher, and measures the cost of waiting:
//!
//! ```text
//! mpirun --oversubscribe -np 3 mpi_conformance check     # the suite; prints `ok` per rank
//! mpirun --oversubscribe -np 2 mpi_conformance measure   # init time, barrier latency, CPU burnt while waiting
//! mpirun --oversubscribe -np 2 mpi_conformance abort     # rank 1 ends the run with exit code 7
//! mpirun --oversubscribe -np 2 mpi_conformance panic     # rank 1 panics, and unwinds without the others
//! mpirun --oversubscribe -np 2 mpi_conformance pending 2 DIR  # rank 0 waits for ranks that it keeps away
//! ```
//!
//! `DLIO_RS_MPI` names the MPI library. A second argument is the number of ranks that make a node: several nodes on one machine.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]
#![expect(clippy::disallowed_methods, reason = "measures the wall clock, and has no Clock to wait on")]

use std::time::{Duration, Instant};

use dlio_comm::{Activity, Collective, Communicator, Mpi, Place, RankStatus, conformance, launcher};

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let ranks = std::env::args().nth(2).and_then(|ranks| ranks.parse().ok());
    let launcher = launcher::detect(&|name| std::env::var(name).ok());
    let library = std::env::var_os(launcher::MPI).map(std::path::PathBuf::from);
    let mpi = Mpi::init_with_nodes_of(ranks.unwrap_or(u32::MAX), library.as_deref(), launcher.as_ref())?;
    let init = start.elapsed();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mode = std::env::args().nth(1).unwrap_or_default();
    let rank = mpi.place().rank;
    match mode.as_str() {
        "measure" => runtime.block_on(measure(&mpi, init))?,
        "abort" => runtime.block_on(abort(&mpi))?,
        "panic" => runtime.block_on(panic(&mpi))?,
        "pending" => {
            let folder = std::env::args().nth(3).unwrap_or_default();
            runtime.block_on(pending(&mpi, std::path::Path::new(&folder)))?;
            println!("ok rank {rank}");
        }
        _ => {
            runtime.block_on(conformance::check(&mpi));
            let place = mpi.place().clone();
            let mpi = mpi.with_call_limit(1000);
            runtime.block_on(conformance::check(&mpi));
            println!("ok {place:?} {}", Mpi::library().map(|library| library.to_string()).unwrap_or_default());
        }
    }
    println!("rank {rank} done");
    Ok(())
}

/// CPU time of this process so far.
fn cpu() -> Duration {
    // utime and stime are fields 14 and 15, in ticks of 10 ms, which is precise enough for a CPU share over seconds.
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

/// Rank 1 panics, which must not wait for the other ranks, and exits with a code that makes the launcher end them.
async fn panic(mpi: &Mpi) -> Result<(), dlio_comm::Error> {
    mpi.barrier().await?;
    assert!(mpi.place().rank != 1, "rank 1 panics");
    mpi.barrier().await
}

/// Polls every collective of rank 0 while the other ranks wait for files that rank 0 creates afterwards.
async fn pending(mpi: &Mpi, folder: &std::path::Path) -> Result<(), dlio_comm::Error> {
    let Place { rank, size, local_size, .. } = *mpi.place();
    for round in 0..12u32 {
        let go = folder.join(round.to_string());
        let status = RankStatus { activity: Activity::Computing, epoch: 1, step: round };
        mpi.note(status);
        mpi.barrier().await?;
        if rank > 0 {
            while !go.exists() {
                std::thread::sleep(Duration::from_millis(1));
            }
            collective(mpi, round).await?;
            continue;
        }
        let mut entered = collective(mpi, round);
        assert!(futures::poll!(&mut entered).is_pending(), "round {round}: done without the others");
        // Timers and other tasks keep running while this rank waits.
        assert!(tokio::time::timeout(Duration::from_millis(5), &mut entered).await.is_err());
        let absent = mpi.missing();
        // Missing ranks of this node are visible; whether those of other nodes have arrived is unknown.
        assert!(absent.ranks.iter().map(|seen| seen.rank).eq(1..size), "{absent}");
        let here = absent.ranks.iter().take(local_size as usize - 1);
        assert!(here.into_iter().all(|seen| seen.status == Some(status) && seen.process.is_some()), "{absent}");
        std::fs::write(&go, "").map_err(|error| dlio_comm::Error::Library(error.to_string()))?;
        if round % 2 == 0 {
            entered.await?;
        }
        // Otherwise the future is dropped: the other ranks receive this rank's part, and the next barrier follows it.
    }
    let all = mpi.all_gather(&rank.to_le_bytes()).await?;
    assert!(all.iter().zip(0..).all(|(part, rank): (_, u32)| **part == rank.to_le_bytes()), "{all:?}");
    Ok(())
}

/// One of three collectives in turn; rank 0's part is long enough to need several calls.
fn collective(mpi: &Mpi, round: u32) -> Collective<'_, ()> {
    Box::pin(async move {
        let part = vec![1; 100_000];
        match round / 2 % 3 {
            0 => mpi.barrier().await,
            1 => mpi.all_gather(&part).await.map(|all| assert!(all.iter().all(|theirs| *theirs == part))),
            _ => mpi.broadcast(&part).await.map(|theirs| assert!(theirs == part)),
        }
    })
}
