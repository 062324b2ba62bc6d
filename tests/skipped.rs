//! Reports of checks that a machine cannot run; tests of several crates include this file.

use std::io::Write as _;

/// Reports a check that cannot run on this machine: on standard error, past the capture of output, and in the list that
/// `scripts/test` prints at its end.
#[expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a helper of a test may fail the test; the list belongs to the caller of the tests"
)]
pub(crate) fn report(what: &str) {
    let mut error = std::io::stderr();
    writeln!(error, "SKIPPED: {what}").unwrap();
    if let Some(list) = std::env::var_os("DLIO_TEST_SKIPS") {
        let mut list = std::fs::OpenOptions::new().append(true).create(true).open(list).unwrap();
        writeln!(list, "{what}").unwrap();
    }
}
