//! Whether a data set is there before it is read, as the MLPerf fork finds out: by listing, or by looking up some names.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use dlio_config::workload::Dataset;
use dlio_plan::{FileSet, Split};
use dlio_storage::{ErrorKind, Storage};
use futures::{StreamExt as _, TryStreamExt as _};

use crate::failure::{Code, Failure};
use crate::outputs::meter::{Tally, Task};
use crate::outputs::progress::Shows;
use crate::prepared::DataSet;
use crate::session::Session;

/// Look-ups at a time.
const AT_ONCE: usize = 16;
/// How many names a message shows.
const SHOWN: usize = 3;

/// Rank 0 lists or looks up, except what is known to be there; the others have nothing to do.
///
/// # Errors
/// When files are missing.
pub async fn check(session: &Session, storage: &dyn Storage, data: &DataSet) -> Result<(), Failure> {
    let DataSet { files, present, .. } = data;
    if session.rank() != 0 {
        return Ok(());
    }
    let workload = &session.loaded.workload;
    let mut splits = vec![Split::Train];
    if workload.workflow.evaluation {
        splits.push(Split::Eval);
    }
    let shows = Shows::new(session);
    for split in splits.into_iter().filter(|split| files.len(*split) > 0 && !present.contains(split)) {
        let said = if workload.dataset.skip_listing {
            let wanted = sampled(files.len(split), workload.dataset.listing_validation_interval);
            let _shown = shows.begin(Task::counting("Looking up", "files", wanted.len() as u64));
            look_up(storage, files, split, (&wanted, &shows.tally)).await?
        } else {
            let _shown = shows.begin(Task::counting("Listing", "files", files.len(split)));
            list(storage, files, split, (&workload.dataset, &shows.tally)).await?
        };
        session.say(&said);
    }
    Ok(())
}

/// The first, the last and every `interval`-th of `count` files; none where the interval is 0.
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
    let keys = wanted.iter().map(|&index| files.key(files.combined(split, index)));
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
            "skip_listing: {} of the {} files of {} that were looked up are missing, among them {}: generate the data set \
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

/// What a listing found.
#[derive(Debug, Default)]
struct Listing {
    /// Files of the format.
    files: u64,
    /// Those with a name of this data set, a bit each.
    expected: Vec<u64>,
    /// Some other name.
    other: Option<String>,
}

impl Listing {
    fn take(&mut self, key: &str, files: &FileSet, split: Split, ending: &str) {
        if !key.ends_with(ending) {
            return;
        }
        self.files += 1;
        let index = index_of(key, ending).filter(|&index| index < files.len(split));
        let known = index.filter(|&index| files.key(files.combined(split, index)) == key);
        match known.and_then(|index| usize::try_from(index).ok()) {
            Some(index) => {
                if self.expected.len() <= index / 64 {
                    self.expected.resize(index / 64 + 1, 0);
                }
                self.expected[index / 64] |= 1 << (index % 64);
            }
            None => self.other = Some(key.to_owned()),
        }
    }

    fn present(&self) -> u64 {
        self.expected.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

/// `7` of `train/img_07_of_12.npz`, whatever stands before.
fn index_of(key: &str, ending: &str) -> Option<u64> {
    key.strip_suffix(ending)?.rsplit_once("_of_")?.0.rsplit_once('_')?.1.parse().ok()
}

/// `12` of `train/img_07_of_12.npz`.
pub fn count_of(key: &str, ending: &str) -> Option<u64> {
    key.strip_suffix(ending)?.rsplit_once("_of_")?.1.parse().ok()
}

/// What is said of a listing with all files.
pub fn listed(split: Split, found: u64, expected: u64) -> String {
    format!("Listing [{}]: {found} file(s), {expected} expected", split.folder())
}

async fn list(
    storage: &dyn Storage,
    files: &FileSet,
    split: Split,
    (dataset, tally): (&Dataset, &Tally),
) -> Result<String, Failure> {
    let ending = format!(".{}", dataset.format);
    let mut listing = Listing::default();
    let mut page = |found: &[dlio_storage::Found]| {
        tally.done().fetch_add(found.len() as u64, Ordering::Relaxed);
        for object in found {
            listing.take(&object.key, files, split, &ending);
        }
    };
    storage.list(&format!("{}/", split.folder()), &mut page).await?;
    let (expected, found, folder) = (files.len(split), listing.files, storage.uri(split.folder()));
    if found < expected {
        return Err(Failure::new(
            Code::Data,
            format_args!(
                "expected {expected} file(s) in {folder}, found {found}: generate the data set with the same configuration"
            ),
        ));
    }
    let present = listing.present();
    if present == expected {
        return Ok(listed(split, found, expected));
    }
    let other = listing.other.unwrap_or_default();
    let advice = match count_of(&other, &ending).filter(|&count| count > expected) {
        Some(count) => format!("they are of a larger data set: set dataset.num_files_generated to {count}"),
        None => "files are read by the names that this configuration generates".to_owned(),
    };
    Err(Failure::new(
        Code::Data,
        format_args!(
            "{folder} has {found} file(s), but only {present} of the {expected} expected, such as {}; others are named like \
             {other}: {advice}",
            files.key(files.combined(split, 0)),
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

    #[test]
    fn a_name_tells_its_number_and_how_many_there_are() {
        assert_eq!(index_of("train/3/img_of_x_07_of_12.npz", ".npz"), Some(7));
        assert_eq!(count_of("train/img_07_of_12.npz", ".npz"), Some(12));
        assert_eq!(index_of("train/other.npz", ".npz"), None);
        assert_eq!(index_of("train/img_07_of_12.idx", ".npz"), None);
    }
}
