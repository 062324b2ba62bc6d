//! What a panic does to the ranks of a run. This binary starts itself with `mpirun`, with the hook of the real one.
#![expect(clippy::panic, reason = "it is about panics")]
#![expect(clippy::disallowed_methods, reason = "looks at its own environment")]

#[expect(dead_code, reason = "only the code of a panic is used here")]
#[path = "../crates/cli/src/exit.rs"]
mod exit;
#[expect(unused_imports, reason = "its unit tests need a harness")]
#[path = "../crates/cli/src/panics.rs"]
mod panics;

use std::process::Command;

use dlio_comm::{Communicator as _, Mpi};

/// What panics, the main thread or another, and ranks per node.
const CASES: [(&str, &str); 4] = [("main", "9"), ("main", "1"), ("lane", "9"), ("lane", "1")];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(folder) = std::env::var_os("PANIC_FOLDER") {
        return rank(std::path::PathBuf::from(folder));
    }
    for (thread, ranks) in CASES {
        let folder = tempfile::tempdir()?;
        let output = Command::new("mpirun")
            .args(["--oversubscribe", "-np", "3", "-x", "PANIC_FOLDER", "-x", "PANIC_THREAD", "-x", "PANIC_NODES"])
            .arg(std::env::current_exe()?)
            .env("PANIC_FOLDER", folder.path())
            .env("PANIC_THREAD", thread)
            .env("PANIC_NODES", ranks)
            .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
            .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{thread}, {ranks}: {said}");
        for part in ["rank 1 on ", "the plan is empty", &format!("thread {thread}, "), "panics.rs:"] {
            assert!(said.contains(part), "{thread}, {ranks}: no `{part}` in {said}");
        }
        assert!(folder.path().join("saved").exists(), "{thread}, {ranks}: nothing was saved first");
    }
    Ok(())
}

/// Rank 1 panics while the others wait for it.
fn rank(folder: std::path::PathBuf) -> Result<(), Box<dyn std::error::Error>> {
    panics::end_the_run();
    let ranks = std::env::var("PANIC_NODES")?.parse()?;
    let mpi = Mpi::init_with_nodes_of(ranks)?;
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
