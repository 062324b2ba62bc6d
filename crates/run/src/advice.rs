//! Remedies in error messages, in terms of the command that was called: `dlio-rs` or `dlio_benchmark`.

use std::path::Path;

use crate::failure::Failure;
use crate::session::Session;

/// Returns how to generate the dataset.
pub(crate) fn generate(session: &Session) -> &'static str {
    if session.as_reference() {
        "run it with ++workload.workflow.generate_data=True and ++workload.workflow.train=False first"
    } else {
        "`dlio-rs generate` with the same configuration writes it"
    }
}

/// Returns how to generate more files; for `dlio_benchmark`, in DLIO's own words.
pub(crate) fn generate_more(session: &Session) -> &'static str {
    if session.as_reference() {
        "Please run the code with ++workload.workflow.generate_data=True"
    } else {
        generate(session)
    }
}

/// Converts an error of the engine and adds a remedy.
pub(crate) fn failure(session: &Session, error: &dlio_engine::Error) -> Failure {
    let mut failure = crate::failure::of_engine(error);
    if let dlio_engine::Error::Missing { object, .. } = error {
        failure.message = format!("{}: {}{}", failure.message, generate(session), from_here(object));
    }
    failure
}

/// Returns ` (relative to /current/folder)` for a relative path and an empty string for others.
pub(crate) fn from_here(object: &str) -> String {
    if object.contains("://") || Path::new(object).is_absolute() {
        return String::new();
    }
    let here = std::path::absolute(".").map(|here| here.components().collect::<std::path::PathBuf>());
    here.map_or_else(|_| String::new(), |here| format!(" (relative to {})", here.display()))
}
