//! `--list`: the computed file set against what the storage lists.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use dlio_plan::FileSet;
use dlio_storage::Storage;

use crate::failure::{Code, Failure};
use crate::outputs::meter::Task;
use crate::outputs::progress::Shows;
use crate::session::Session;

/// How many names a message shows.
const SHOWN: usize = 5;

/// Rank 0 lists and compares; the others have nothing to do.
///
/// # Errors
/// When files are missing; unexpected ones are a warning.
pub async fn list(session: &Session, storage: &dyn Storage, files: &FileSet) -> Result<(), Failure> {
    if session.rank() != 0 {
        return Ok(());
    }
    let mut missing: BTreeSet<String> = (0..files.total()).map(|number| files.file(number).key).collect();
    let (mut expected, mut unexpected, mut bytes) = (0u64, 0u64, 0u64);
    let shows = Shows::new(session);
    let meter = shows.begin(Task::counting("Listing", "files", files.total()));
    for folder in ["train/", "valid/"] {
        let mut page = |found: &[dlio_storage::Found]| {
            shows.tally.done().fetch_add(found.len() as u64, Ordering::Relaxed);
            for object in found {
                if missing.remove(&object.key) {
                    expected += 1;
                    bytes += object.size;
                } else {
                    unexpected += 1;
                }
            }
        };
        storage.list(folder, &mut page).await?;
    }
    drop(meter);
    session.say(&format!("Listing: {expected} of {} expected file(s), {bytes} bytes", files.total()));
    if unexpected > 0 {
        session.warn(&format!(
            "Listing: {unexpected} object(s) in the data folder are not part of this workload; they are not read"
        ));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().take(SHOWN).map(String::as_str).collect();
    Err(Failure::new(
        Code::Data,
        format_args!(
            "{} file(s) of the data set are missing in {}, among them {}: generate it with the same configuration",
            missing.len(),
            storage.uri(""),
            names.join(", ")
        ),
    ))
}
