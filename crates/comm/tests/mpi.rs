//! The conformance suite under a real launcher. This binary starts itself with `mpirun`, in the modes of the example.

#[path = "../examples/mpi_conformance.rs"]
mod ranks;

use std::process::{Command, Output};

/// A run under the launcher, and what it must show.
struct Case {
    says: &'static str,
    processes: usize,
    arguments: &'static [&'static str],
    exit_code: i32,
    oks: usize,
}

const CASES: &[Case] = &[
    Case { says: "one rank conforms", processes: 1, arguments: &["check"], exit_code: 0, oks: 1 },
    Case { says: "ranks of one node conform", processes: 3, arguments: &["check"], exit_code: 0, oks: 3 },
    Case { says: "ranks of several nodes conform", processes: 5, arguments: &["check", "2"], exit_code: 0, oks: 5 },
    Case { says: "nodes of one rank conform", processes: 3, arguments: &["check", "1"], exit_code: 0, oks: 3 },
    Case {
        says: "a rank that waits is never blocked",
        processes: 3,
        arguments: &["pending", "9"],
        exit_code: 0,
        oks: 3,
    },
    Case { says: "nor on other nodes", processes: 4, arguments: &["pending", "2"], exit_code: 0, oks: 4 },
    Case { says: "nor alone on its node", processes: 2, arguments: &["pending", "1"], exit_code: 0, oks: 2 },
    Case { says: "a panic does not wait for others", processes: 3, arguments: &["panic"], exit_code: 101, oks: 0 },
    Case { says: "nor on other nodes", processes: 3, arguments: &["panic", "1"], exit_code: 101, oks: 0 },
    Case { says: "an abort ends ranks that wait", processes: 3, arguments: &["abort"], exit_code: 7, oks: 0 },
    Case { says: "and ranks on other nodes", processes: 4, arguments: &["abort", "2"], exit_code: 7, oks: 0 },
];

fn launch(case: &Case) -> Result<Output, Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let output = Command::new("mpirun")
        .args(["-np", &case.processes.to_string()])
        .arg(std::env::current_exe()?)
        .args(case.arguments)
        .arg(folder.path())
        // More ranks than cores, and root in containers: Open MPI 4 and 5 ask for leave by these.
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .env("OMPI_MCA_rmaps_base_oversubscribe", "1")
        .env("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe")
        .output();
    Ok(output.map_err(|error| format!("mpirun, which comes with the MPI library, cannot be started: {error}"))?)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mode = std::env::args().nth(1).unwrap_or_default();
    if ["check", "abort", "panic", "pending"].contains(&mode.as_str()) {
        return ranks::main();
    }
    for case in CASES {
        let output = launch(case)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let oks = text.lines().filter(|line| line.starts_with("ok ")).count();
        assert!(
            output.status.code() == Some(case.exit_code) && oks == case.oks,
            "{}: {}, {oks} ranks ok of {}:\n{text}{}",
            case.says,
            output.status,
            case.oks,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
