//! Runs the conformance suite under the launcher of every installed MPI. This binary starts itself, in the modes of
//! the example.

mod mpis;
#[path = "../examples/mpi_conformance.rs"]
mod ranks;

use std::process::Output;

use mpis::TestMpi;

/// A run under the launcher, and its expected result.
struct Case {
    says: &'static str,
    processes: usize,
    arguments: &'static [&'static str],
    /// `None`: any code but 0, because launchers report a rank that ended on its own in different ways.
    exit_code: Option<i32>,
    oks: usize,
}

const CASES: &[Case] = &[
    Case { says: "one rank conforms", processes: 1, arguments: &["check"], exit_code: Some(0), oks: 1 },
    Case { says: "ranks of one node conform", processes: 3, arguments: &["check"], exit_code: Some(0), oks: 3 },
    Case {
        says: "ranks of several nodes conform",
        processes: 5,
        arguments: &["check", "2"],
        exit_code: Some(0),
        oks: 5,
    },
    Case { says: "nodes of one rank conform", processes: 3, arguments: &["check", "1"], exit_code: Some(0), oks: 3 },
    Case {
        says: "a rank that waits is never blocked",
        processes: 3,
        arguments: &["pending", "9"],
        exit_code: Some(0),
        oks: 3,
    },
    Case { says: "nor on other nodes", processes: 4, arguments: &["pending", "2"], exit_code: Some(0), oks: 4 },
    Case { says: "nor alone on its node", processes: 2, arguments: &["pending", "1"], exit_code: Some(0), oks: 2 },
    Case { says: "a panic does not wait for others", processes: 3, arguments: &["panic"], exit_code: None, oks: 0 },
    Case { says: "nor on other nodes", processes: 3, arguments: &["panic", "1"], exit_code: None, oks: 0 },
    Case { says: "an abort ends ranks that wait", processes: 3, arguments: &["abort"], exit_code: Some(7), oks: 0 },
    Case { says: "and ranks on other nodes", processes: 4, arguments: &["abort", "2"], exit_code: Some(7), oks: 0 },
];

fn launch(mpi: &TestMpi, case: &Case) -> Result<Output, Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let mut command = mpi.ranks(case.processes);
    command.arg(std::env::current_exe()?).args(case.arguments).arg(folder.path());
    Ok(command.output().map_err(|error| format!("the launcher of {} cannot be started: {error}", mpi.name))?)
}

/// Checks that the run ended as expected, and returns the library that the ranks used.
fn check(mpi: &TestMpi, case: &Case, output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    let oks = text.lines().filter(|line| line.starts_with("ok ")).count();
    let code = output.status.code();
    let ended = case.exit_code.map_or(code != Some(0), |expected| code == Some(expected));
    let library = cfg!(feature = "rsmpi") || case.arguments[0] != "check" || text.contains(mpi.version);
    assert!(
        ended && oks == case.oks && library,
        "{}, {}: {}, {oks} ranks ok of {}:\n{text}{}",
        mpi.name,
        case.says,
        output.status,
        case.oks,
        String::from_utf8_lossy(&output.stderr)
    );
}

#[expect(clippy::print_stdout, reason = "says which libraries were tried")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mode = std::env::args().nth(1).unwrap_or_default();
    if ["check", "abort", "panic", "pending"].contains(&mode.as_str()) {
        return ranks::main();
    }
    let (here, missing) = mpis::all();
    assert!(here.iter().any(|mpi| mpi.name == "openmpi"), "Open MPI's mpirun is not in PATH");
    // A linked build can use its own library only.
    let here = if cfg!(feature = "rsmpi") { &here[..1] } else { &here[..] };
    for mpi in here {
        for case in CASES {
            check(mpi, case, &launch(mpi, case)?);
        }
        println!("test {} cases under {} ... ok", CASES.len(), mpi.name);
    }
    for name in &missing {
        println!("test {} cases under {name} ... ignored: it is not on this machine", CASES.len());
    }
    println!("\ntest result: ok. {} passed; 0 failed; {} ignored", here.len(), missing.len());
    Ok(())
}
