//! Effects of a panic on the ranks of a run. This binary starts itself with `mpirun` and uses the hook of the real binary.
#![expect(clippy::panic, reason = "it is about panics")]
#![expect(clippy::disallowed_methods, reason = "looks at its own environment")]

#[path = "../crates/comm/tests/mpis/mod.rs"]
mod mpis;
#[expect(unused_imports, reason = "its unit tests need a harness")]
#[path = "../crates/cli/src/panics.rs"]
mod panics;

use dlio_comm::{Communicator as _, Mpi, launcher};

/// The thread that panics (main or another), and the number of ranks per node.
const CASES: [(&str, &str); 4] = [("main", "9"), ("main", "1"), ("lane", "9"), ("lane", "1")];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(folder) = std::env::var_os("PANIC_FOLDER") {
        return rank(std::path::PathBuf::from(folder));
    }
    for mpi in mpis::all().0 {
        for (thread, ranks) in CASES {
            panics_under(&mpi, thread, ranks)?;
        }
    }
    Ok(())
}

fn panics_under(mpi: &mpis::TestMpi, thread: &str, ranks: &str) -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let output = mpi
        .ranks(3)
        .arg(std::env::current_exe()?)
        .env("PANIC_FOLDER", folder.path())
        .env("PANIC_THREAD", thread)
        .env("PANIC_NODES", ranks)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let case = format!("{}, {thread}, {ranks}", mpi.name);
    assert_eq!(output.status.code(), Some(1), "{case}: {said}");
    for part in ["rank 1 on ", "the plan is empty", &format!("thread {thread}, "), "panics.rs:"] {
        assert!(said.contains(part), "{case}: no `{part}` in {said}");
    }
    assert!(folder.path().join("saved").exists(), "{case}: nothing was saved first");
    Ok(())
}

/// Rank 1 panics while the others wait for it.
fn rank(folder: std::path::PathBuf) -> Result<(), Box<dyn std::error::Error>> {
    panics::end_the_run("serve");
    let ranks = std::env::var("PANIC_NODES")?.parse()?;
    let launcher = launcher::detect(&|name| std::env::var(name).ok());
    let library = std::env::var_os(launcher::MPI).map(std::path::PathBuf::from);
    let mpi = Mpi::init_with_nodes_of(ranks, library.as_deref(), launcher.as_ref())?;
    let rank = mpi.place().rank;
    panics::introduce(rank, &mpi.place().host);
    panics::set_last_words(move || drop(std::fs::write(folder.join("saved"), "")));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        mpi.barrier().await?;
        if rank == 1 {
            match std::env::var("PANIC_THREAD").as_deref() {
                Ok("lane") => {
                    let lane = std::thread::Builder::new().name("lane".to_owned());
                    lane.spawn(|| panic!("the plan is empty"))
                        .map(drop)
                        .map_err(|error| dlio_comm::Error::Library(error.to_string()))?;
                }
                _ => panic!("the plan is empty"),
            }
        }
        mpi.barrier().await?;
        // In the case of a thread, rank 1 waits as well.
        std::future::pending().await
    })
}
