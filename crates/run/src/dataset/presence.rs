//! Checks that a dataset exists before it is read, like the MLPerf fork: by listing it, or by looking up some names.

use std::collections::BTreeSet;

use dlio_config::workload::Dataset;
use dlio_plan::{FileName, FileSet, Split};
use dlio_storage::{ErrorKind, ListEntry, Storage};
use futures::{StreamExt as _, TryStreamExt as _};

use crate::dataset::files::DataSet;
use crate::dataset::listing::{self, Listing};
use crate::failure::{Code, Failure};
use crate::outputs::meter::{Tally, Task};
use crate::outputs::progress::ProgressReporter;
use crate::session::Session;

/// Number of concurrent look-ups.
const AT_ONCE: usize = 16;
/// Largest number of names in a message.
const SHOWN: usize = 3;

/// Lists or looks up files on rank 0, except splits that are known to be complete; does nothing on other ranks.
///
/// # Errors
/// Files are missing.
pub(crate) async fn check(session: &Session, storage: &dyn Storage, data: &DataSet) -> Result<(), Failure> {
    let DataSet { files, present, .. } = data;
    if session.rank() != 0 {
        return Ok(());
    }
    let workload = &session.loaded.workload;
    let mut splits = vec![Split::Train];
    if workload.workflow.evaluation {
        splits.push(Split::Eval);
    }
    let shows = ProgressReporter::new(session);
    for split in splits.into_iter().filter(|split| files.len(*split) > 0 && !present.contains(split)) {
        let said = if workload.dataset.skip_listing {
            let wanted = sampled(files.len(split), workload.dataset.listing_validation_interval);
            let _shown = shows.begin(Task::counting("Looking up", "files", wanted.len() as u64));
            look_up(storage, files, split, (&wanted, &shows.tally)).await?
        } else {
            let _shown = shows.begin(Task::counting("Listing", "files", files.len(split)));
            list(storage, files, split, (&workload.dataset, &shows.tally)).await?
        };
        session.log_output(&said);
    }
    Ok(())
}

/// Returns the first, the last and every `interval`-th of `count` files; none if the interval is 0.
fn sampled(count: u64, interval: u64) -> BTreeSet<u64> {
    let Ok(step) = usize::try_from(interval) else { return BTreeSet::from([0, count - 1]) };
    if step == 0 || count == 0 {
        return BTreeSet::new();
    }
    (0..count).step_by(step).chain([count - 1]).collect()
}

async fn look_up(
    storage: &dyn Storage,
    files: &FileSet,
    split: Split,
    (wanted, tally): (&BTreeSet<u64>, &Tally),
) -> Result<String, Failure> {
    let count = files.len(split);
    let keys = wanted.iter().map(|&index| files.name(files.combined(split, index)));
    let found = futures::stream::iter(keys).map(|key| async move {
        match storage.stat(&key).await {
            Ok(_) => Ok(None),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Some(key)),
            Err(error) => Err(Failure::from(error)),
        }
    });
    let missing: Vec<Option<String>> = found.buffered(AT_ONCE).inspect(|_| tally.add(false)).try_collect().await?;
    let missing: Vec<String> = missing.into_iter().flatten().collect();
    if missing.is_empty() {
        let folder = split.folder();
        return Ok(format!("skip_listing [{folder}]: all {} of {count} files that were looked up exist", wanted.len()));
    }
    Err(Failure::new(
        Code::Data,
        format_args!(
            "skip_listing: {} of the {} files of {} that were looked up are missing, among them {}: generate the dataset \
             with the same configuration, or set dataset.num_files_generated when it is part of a larger one",
            missing.len(),
            wanted.len(),
            storage.uri(split.folder()),
            shown(&missing)
        ),
    ))
}

fn shown(names: &[String]) -> String {
    names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ")
}

async fn list(
    storage: &dyn Storage,
    files: &FileSet,
    split: Split,
    (dataset, tally): (&Dataset, &Tally),
) -> Result<String, Failure> {
    let ending = format!(".{}", dataset.format);
    let mut listing = Listing::new(files.clone());
    let mut found = 0;
    let add = |object: &ListEntry| {
        if object.key.ends_with(&ending) {
            found += 1;
            listing.add(&object.key, object.size);
        }
    };
    listing::walk(storage, split.folder(), tally, add).await?;
    let (expected, present, folder) = (files.len(split), listing.present(), storage.uri(split.folder()));
    if found < expected {
        return Err(Failure::new(
            Code::Data,
            format_args!(
                "expected {expected} file(s) in {folder}, found {found}: generate the dataset with the same configuration"
            ),
        ));
    }
    if present == expected {
        return Ok(listing::complete(split, found, expected));
    }
    let other = listing.unexpected().last.as_deref().unwrap_or_default();
    let count = FileName::parse(other, dataset.format).map(|name| name.count).filter(|&count| count > expected);
    let advice = match count {
        Some(count) => format!("they are of a larger dataset: set dataset.num_files_generated to {count}"),
        None => "files are read by the names that this configuration generates".to_owned(),
    };
    Err(Failure::new(
        Code::Data,
        format_args!(
            "{folder} has {found} file(s), but only {present} of the {expected} expected, such as {}; others are named like \
             {other}: {advice}",
            files.name(files.combined(split, 0)),
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_the_last_and_every_nth_are_looked_up() {
        assert_eq!(sampled(10, 4).into_iter().collect::<Vec<_>>(), [0, 4, 8, 9]);
        assert_eq!(sampled(9, 4).into_iter().collect::<Vec<_>>(), [0, 4, 8]);
        assert_eq!(sampled(10, 1000).into_iter().collect::<Vec<_>>(), [0, 9]);
        assert_eq!(sampled(3, 1).into_iter().collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(sampled(1, 5).len(), 1);
        assert!(sampled(10, 0).is_empty());
    }
}
