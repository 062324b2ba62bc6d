//! Data sets whose files are not named as the configuration names them: parts of larger ones, and those of other programs.
//!
//! Names are computed, so that fifty million files need no listing. Where the first one is not there, the folder is listed
//! as the reference does it, and the first files of the sorted list are read.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::Ordering;

use dlio_config::vocabulary::{Dialect, Format};
use dlio_plan::{FileSet, Split};
use dlio_storage::{ErrorKind, Found, Storage};
use serde::{Deserialize, Serialize};

use crate::dataset::presence::{count_of, listed};
use crate::execute::Work;
use crate::failure::{Code, Failure};
use crate::outputs::meter::Task;
use crate::outputs::progress::Shows;
use crate::session::{Session, gather};

/// What the files of a split are called.
#[derive(Debug, Serialize, Deserialize)]
enum Names {
    /// As the configuration says, or nobody knows.
    Computed,
    /// As those of a data set with this many files.
    Part(u64),
    /// Like this, with so many bytes in all.
    Listed(Vec<String>, u64),
}

/// Files that are not those that the configuration names.
pub struct Discovered {
    pub files: FileSet,
    /// Splits of which a listing has shown that all files are there.
    pub present: Vec<Split>,
}

/// The files that are read, where they are not those that the configuration names; every rank calls it.
///
/// # Errors
/// There are too few files, or sub-folders other than configured.
pub async fn files(
    session: &Session,
    storage: &dyn Storage,
    files: &FileSet,
    work: Work,
) -> Result<Option<Discovered>, Failure> {
    let workload = &session.loaded.workload;
    if work.generate || !(work.train || work.verify) {
        return Ok(None);
    }
    if workload.dlio_rs.dialect == Dialect::Mlperf && workload.dataset.skip_listing {
        let files = short_folders(session, storage, files).await?;
        return Ok(files.map(|files| Discovered { files, present: Vec::new() }));
    }
    if workload.dataset.num_files_generated.is_some() || files.format() == Format::Synthetic {
        return Ok(None);
    }
    let mut splits = vec![Split::Train];
    if workload.workflow.evaluation || work.verify {
        splits.push(Split::Eval);
    }
    splits.retain(|split| files.len(*split) > 0);
    let mine = if session.rank() == 0 { look(session, storage, files, &splits).await } else { Ok(Vec::new()) };
    let mine = session.agree(mine).await?;
    let found = gather(&*session.comm, &mine).await?.into_iter().next().unwrap_or_default();
    if found.iter().all(|names| matches!(names, Names::Computed)) {
        return Ok(None);
    }
    let count = |split| {
        let part = splits.iter().zip(&found).find(|(known, _)| **known == split);
        match part {
            Some((_, Names::Part(count))) => *count,
            _ => files.len(split),
        }
    };
    let mut there = files.clone().generated_as(count(Split::Train), count(Split::Eval));
    for (split, names) in splits.iter().zip(&found) {
        if let Names::Listed(names, bytes) = names {
            there = there.listed(*split, names.iter().map(String::as_str)).holding(*split, *bytes);
        }
    }
    let listed = splits.iter().zip(&found).filter(|(_, names)| !matches!(names, Names::Computed));
    Ok(Some(Discovered { files: there, present: listed.map(|(split, _)| *split).collect() }))
}

/// Without a listing the fork expects other names of sub-folders than it generates: rank 0 looks for the first file of each
/// split in both spellings, and all ranks take what it found.
async fn short_folders(session: &Session, storage: &dyn Storage, files: &FileSet) -> Result<Option<FileSet>, Failure> {
    let mut mine = Vec::new();
    for split in [Split::Train, Split::Eval] {
        if session.rank() == 0 && files.len(split) > 0 && files.has_short_folders(split) {
            let first = files.combined(split, 0);
            let short = files.clone().with_short_folders(split).key(first);
            if is_missing(storage, &files.key(first)).await? && !is_missing(storage, &short).await? {
                session.inform(&format!("the sub-folders of {} are named as in {short}", split.folder()));
                mine.push(split == Split::Train);
            }
        }
    }
    let found = gather(&*session.comm, &mine).await?.into_iter().next().unwrap_or_default();
    let split = |is_train: bool| if is_train { Split::Train } else { Split::Eval };
    let short = found.iter().fold(files.clone(), |files, &is_train| files.with_short_folders(split(is_train)));
    Ok((!found.is_empty()).then_some(short))
}

/// Whether an object is known not to exist; what else may be wrong with it is told by those who read it.
///
/// # Errors
/// When its endpoint does not answer: nobody else should wait for it once more.
async fn is_missing(storage: &dyn Storage, key: &str) -> Result<bool, Failure> {
    match storage.stat(key).await {
        Err(error) if error.kind == ErrorKind::Unreachable => Err(error.into()),
        looked => Ok(matches!(looked, Err(error) if error.kind == ErrorKind::NotFound)),
    }
}

async fn look(
    session: &Session,
    storage: &dyn Storage,
    files: &FileSet,
    splits: &[Split],
) -> Result<Vec<Names>, Failure> {
    let mut found = Vec::new();
    for &split in splits {
        let first = files.key(files.combined(split, 0));
        let names = if is_missing(storage, &first).await? {
            list(session, storage, files, split).await?
        } else {
            Names::Computed
        };
        found.push(names);
    }
    Ok(found)
}

/// What a listing found.
#[derive(Debug, Default)]
struct Listing {
    /// Files of the format in the folder itself.
    flat: Vec<Found>,
    /// In its sub-folders.
    below: Vec<Found>,
    /// These sub-folders.
    folders: BTreeSet<String>,
    /// Some other file.
    other: Option<String>,
}

impl Listing {
    /// Takes a file as the reference does: by the end of its name in the folder itself, where case counts, by its extension
    /// in small or capital letters in a sub-folder, and not at all further down.
    fn take(&mut self, found: &Found, folder: &str, ending: &str) {
        let key = found.key.as_str();
        let Some(rest) = key.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')) else { return };
        match rest.split_once('/') {
            None if rest.ends_with(ending) => self.flat.push(found.clone()),
            Some((below, name)) if !name.contains('/') && has_extension(name, ending) => {
                if !self.folders.contains(below) {
                    self.folders.insert(below.to_owned());
                }
                self.below.push(found.clone());
            }
            _ => {
                if self.other.is_none() {
                    self.other = Some(key.to_owned());
                }
            }
        }
    }
}

fn has_extension(name: &str, ending: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    extension.is_some_and(|extension| extension == ending || extension == ending.to_ascii_uppercase())
}

/// Lists a folder, in which `wanted` files are expected; `None`: there is no such folder.
async fn listing(
    session: &Session,
    storage: &dyn Storage,
    (folder, ending): (&str, &str),
    wanted: u64,
) -> Result<Option<Listing>, Failure> {
    let (mut listing, shows) = (Listing::default(), Shows::new(session));
    let _meter = shows.begin(Task::counting("Listing", "files", wanted));
    let mut page = |found: &[Found]| {
        shows.tally.done().fetch_add(found.len() as u64, Ordering::Relaxed);
        for object in found {
            listing.take(object, folder, ending);
        }
    };
    match storage.list(&format!("{folder}/"), &mut page).await {
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        listed => listed.map(|_| Some(listing)).map_err(Failure::from),
    }
}

async fn list(session: &Session, storage: &dyn Storage, files: &FileSet, split: Split) -> Result<Names, Failure> {
    let (dataset, ending) = (&session.loaded.workload.dataset, files.format().to_string());
    let (folder, wanted) = (split.folder(), files.len(split));
    let Some(listing) = listing(session, storage, (folder, &ending), wanted).await? else { return Ok(Names::Computed) };
    let (subfolders, key) = match split {
        Split::Train => (dataset.num_subfolders_train, "dataset.num_subfolders_train"),
        Split::Eval => (dataset.num_subfolders_eval, "dataset.num_subfolders_eval"),
    };
    let place = storage.uri(folder);
    let deep = !listing.below.is_empty() && (subfolders > 1 || listing.flat.is_empty());
    let folders = if deep { listing.folders.len() as u64 } else { 0 };
    let mut names = if deep { listing.below } else { listing.flat };
    if names.is_empty() {
        if let Some(other) = listing.other {
            session.warn(&format!("{place} holds files, such as {other}, but none that ends in {ending}"));
        }
        return Ok(Names::Computed);
    }
    if folders != subfolders && folders.max(subfolders) > 1 {
        return Err(Failure::new(
            Code::Data,
            format_args!(
                "{place} has {folders} sub-folder(s) with {ending} files, but {key} is {subfolders}: set it to {folders}"
            ),
        ));
    }
    sort(&mut names, session.loaded.workload.dlio_rs.dialect);
    let found = names.len() as u64;
    let (what, number) = match split {
        Split::Train => ("training", "dataset.num_files_train"),
        Split::Eval => ("evaluation", "dataset.num_files_eval"),
    };
    if found < wanted {
        let text = format!("Not enough {what} dataset is found; {}", crate::remedy::generate_more(session));
        let detail =
            format!("{number}: {wanted}; {place} holds {found} {ending} file(s), the first one is {}", names[0].key);
        return Err(Failure::new(Code::Data, format!("{text} ({detail})")));
    }
    if found > wanted {
        session.log.warning(&format!(
            "Number of files for {what} in {}/{folder} ({found}) is more than requested ({wanted}). A subset of files will be used ",
            dataset.data_folder
        ));
    }
    if let Some(count) = part_of(files, split, &names) {
        if session.loaded.workload.dlio_rs.dialect == Dialect::Mlperf {
            session.say(&listed(split, found, wanted));
        }
        return Ok(Names::Part(count));
    }
    names.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
    session.warn(&format!(
        "{place} holds files that this configuration does not name so: {wanted} listed one(s) are read, from {} to {}, and what \
         they hold is not compared with the configuration",
        names[0].key,
        names[names.len() - 1].key
    ));
    let bytes = names.iter().map(|found| found.size).sum();
    Ok(Names::Listed(names.into_iter().map(|found| found.key).collect(), bytes))
}

/// The reference sorts files of sub-folders by their own names, the fork by folder.
fn sort(names: &mut [Found], dialect: Dialect) {
    let own = |name: &str| name.rsplit_once('/').map_or(0, |(folder, _)| folder.len() + 1);
    match dialect {
        Dialect::Dlio => names.sort_by(|Found { key: one, .. }, Found { key: other, .. }| {
            one[own(one)..].cmp(&other[own(other)..]).then(one.cmp(other))
        }),
        Dialect::Mlperf | Dialect::Native => names.sort_unstable(),
    }
}

/// How many files the data set has that these names are of, if they are those that this program gives its first files.
fn part_of(files: &FileSet, split: Split, names: &[Found]) -> Option<u64> {
    let ending = format!(".{}", files.format());
    let count = count_of(&names.first()?.key, &ending)?;
    let (train, eval) = match split {
        Split::Train => (count, files.len(Split::Eval)),
        Split::Eval => (files.len(Split::Train), count),
    };
    let whole = files.clone().generated_as(train, eval);
    let there: HashSet<&str> = names.iter().map(|found| found.key.as_str()).collect();
    let all = (0..files.len(split)).all(|index| there.contains(whole.key(whole.combined(split, index)).as_str()));
    (count >= files.len(split) && all).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(key: &str) -> Found {
        Found { key: key.to_owned(), size: 1 }
    }

    fn listing(keys: &[&str], ending: &str) -> Listing {
        let mut listing = Listing::default();
        for key in keys {
            listing.take(&found(key), "train", ending);
        }
        listing
    }

    #[test]
    fn files_count_by_the_end_of_their_name_and_in_sub_folders_by_their_extension() {
        let found =
            listing(&["train/a.npz", "train/b_npz", "train/c.NPZ", "train/d.npz.off.idx", "train/x/e.npz"], "npz");
        assert_eq!(found.flat, ["train/a.npz", "train/b_npz"].map(self::found));
        assert_eq!(found.other.as_deref(), Some("train/c.NPZ"));
        let found = listing(&["train/x/a.npz", "train/y/b.NPZ", "train/y/c_npz", "train/x/y/d.npz"], "npz");
        assert_eq!((found.below.len(), found.folders.len()), (2, 2));
    }

    #[test]
    fn names_are_sorted_as_each_reference_does() {
        let mut names = ["train/b/1.npz", "train/a/2.npz", "train/a/1.npz"].map(found);
        sort(&mut names, Dialect::Dlio);
        assert_eq!(names, ["train/a/1.npz", "train/b/1.npz", "train/a/2.npz"].map(found));
        sort(&mut names, Dialect::Mlperf);
        assert_eq!(names, ["train/a/1.npz", "train/a/2.npz", "train/b/1.npz"].map(found));
    }
}
