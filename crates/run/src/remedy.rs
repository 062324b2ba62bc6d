//! What to do about what a run found, in the words of the command that was called: `dlio-rs`, or the reference by its name.

use std::path::Path;

use crate::failure::Failure;
use crate::session::Session;

/// How the data set comes to be there.
pub fn generate(session: &Session) -> &'static str {
    if session.as_reference() {
        "run it with ++workload.workflow.generate_data=True and ++workload.workflow.train=False first"
    } else {
        "`dlio-rs generate` with the same configuration writes it"
    }
}

/// The same for a run that finds too few files; the reference's words by its name.
pub fn generate_more(session: &Session) -> &'static str {
    if session.as_reference() {
        "Please run the code with ++workload.workflow.generate_data=True"
    } else {
        generate(session)
    }
}

/// The failure of an engine with what to do about it.
pub fn failure(session: &Session, error: &dlio_engine::Error) -> Failure {
    let mut failure = crate::execute::failure(error);
    if let dlio_engine::Error::Missing { object, .. } = error {
        failure.message = format!("{}: {}{}", failure.message, generate(session), from_here(object));
    }
    failure
}

/// ` (relative to /current/folder)` for a path that is relative, nothing for others.
pub fn from_here(object: &str) -> String {
    if object.contains("://") || Path::new(object).is_absolute() {
        return String::new();
    }
    let here = std::path::absolute(".").map(|here| here.components().collect::<std::path::PathBuf>());
    here.map_or_else(|_| String::new(), |here| format!(" (relative to {})", here.display()))
}

/// An error and its sources in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}
