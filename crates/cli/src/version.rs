//! The version of this binary: number, commit, MPI support and features.

use std::sync::OnceLock;

use crate::launch;

/// Commit that the binary was built from, if known.
const COMMIT: Option<&str> = option_env!("DLIO_RS_COMMIT");

/// `0.1.0 (0123456789ab, MPI opened at run time, features: none)`
pub(crate) fn line() -> &'static str {
    static LINE: OnceLock<String> = OnceLock::new();
    LINE.get_or_init(|| {
        let mpi = if cfg!(feature = "rsmpi") { "MPI linked" } else { "MPI opened at run time" };
        let commit = COMMIT.map_or_else(String::new, |commit| format!("{commit}, "));
        format!("{} ({commit}{mpi}, features: {})", env!("CARGO_PKG_VERSION"), features())
    })
}

/// Returns the version with one fact per line, including the MPI library that ranks would use here.
pub(crate) fn long() -> String {
    let facts = [
        ("commit", COMMIT.unwrap_or("not known: built outside of a repository").to_owned()),
        ("mpi", library()),
        ("features", features().to_owned()),
        ("platform", format!("{} {}", std::env::consts::ARCH, std::env::consts::OS)),
        ("trace format", format!("{}.{}", dlio_trace::FORMAT_MAJOR, dlio_trace::FORMAT_MINOR)),
    ];
    let lines = facts.iter().map(|(name, fact)| format!("{name}: {fact}\n"));
    std::iter::once(format!("dlio-rs {}\n", env!("CARGO_PKG_VERSION"))).chain(lines).collect()
}

/// Returns the cargo features that the binary was built with.
fn features() -> &'static str {
    if cfg!(feature = "rsmpi") { "rsmpi" } else { "none" }
}

/// Returns the MPI library that ranks would use, or the reason why there is none.
fn library() -> String {
    let env = crate::environment::environment();
    let launcher = dlio_run::launch::detect(&env);
    let found = dlio_comm::look(launch::mpi_library(&env).as_deref(), launcher.as_ref());
    found.map_or_else(|error| format!("none: {error}"), |library| library.to_string())
}
