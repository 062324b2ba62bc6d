//! The warning about files whose shape differs from the workload's.

use std::collections::BTreeSet;

use dlio_format::Error;
use serde::{Deserialize, Serialize};

use crate::collective::gather;
use crate::dataset::files::DataSet;
use crate::failure::Failure;
use crate::session::Session;

/// Mismatches of one rank: combined numbers of files, and the difference of the first one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Met {
    files: Vec<u64>,
    first: Option<(u64, String)>,
}

/// Warns about the number of files with another shape on all ranks, and the difference of the first one. Every rank must call it.
///
/// # Errors
/// The communication between ranks fails.
pub(crate) async fn log(session: &Session, data: &DataSet) -> Result<(), Failure> {
    let mismatches = data.layout.mismatches();
    let first = mismatches.first().map(|(file, error)| (file, difference(&error)));
    let all = gather(&*session.comm, &Met { files: mismatches.files(), first }).await?;
    let files: BTreeSet<u64> = all.iter().flat_map(|met| met.files.iter().copied()).collect();
    let Some((file, difference)) = all.into_iter().filter_map(|met| met.first).min() else { return Ok(()) };
    if session.rank() == 0 {
        let refusing = if data.layout.refuses_mismatches() {
            "this format's files are never refused for it"
        } else {
            "`dlio_rs.shape_mismatch: error` refuses such files"
        };
        session.warn(&format!(
            "{} of {} file(s) have another shape than the workload says and were read as they are: in {}, {difference}. The trace \
             has the bytes that were read; rates in bytes per second in summary.json follow the workload's record length, as in \
             the reference; {refusing}",
            files.len(),
            data.files.total(),
            data.files.file(file).key,
        ));
    }
    Ok(())
}

fn difference(error: &Error) -> String {
    match error {
        Error::Differs { noun, expected, found } => format!("the {noun} is {found}, not {expected}"),
        Error::Trailing { noun, expected, found } => {
            format!("{noun} ends after {expected} bytes, and the file after {found} or more")
        }
        other => other.to_string(),
    }
}
