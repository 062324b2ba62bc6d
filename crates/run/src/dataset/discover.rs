//! Datasets whose file names differ from those of the configuration: parts of larger datasets, and files of other programs.
//!
//! Names are computed, so that fifty million files need no listing. If the first one does not exist, the folder is listed
//! like in the reference, and the first files of the sorted list are read.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use dlio_config::dialect::ListingOrder;
use dlio_config::vocabulary::Format;
use dlio_plan::{FileName, FileSet, Split};
use dlio_storage::{ErrorKind, ListEntry, Storage};
use serde::{Deserialize, Serialize};

use crate::collective::gather;
use crate::dataset::listing::{self, Listing};
use crate::failure::{Code, Failure};
use crate::outputs::meter::Task;
use crate::outputs::progress::ProgressReporter;
use crate::session::Session;
use crate::work::Work;

/// Names of the files of a split.
#[derive(Debug, Serialize, Deserialize)]
enum Names {
    /// As the configuration computes them.
    Computed,
    /// Those of a larger dataset with this number of files.
    Part(u64),
    /// These names of files with this total size in bytes.
    Listed(Vec<String>, u64),
}

/// Files whose names differ from those of the configuration.
pub struct Discovered {
    /// Files that are read.
    pub files: FileSet,
    /// Splits whose files all exist, as a listing has shown.
    pub present: Vec<Split>,
}

/// Returns the files that are read if their names differ from those of the configuration; every rank must call it.
///
/// # Errors
/// There are too few files, or the number of subfolders differs from the configuration.
pub(crate) async fn files(
    session: &Session,
    storage: &dyn Storage,
    files: &FileSet,
    work: Work,
) -> Result<Option<Discovered>, Failure> {
    let workload = &session.loaded.workload;
    if work.generate || !(work.train || work.verify) {
        return Ok(None);
    }
    if workload.dlio_rs.dialect.rules().pads_unlisted_subfolders_short && workload.dataset.skip_listing {
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

/// Without a listing the fork expects other names of subfolders than it generates: rank 0 looks up the first file of each
/// split in both spellings, and all ranks use the result.
async fn short_folders(session: &Session, storage: &dyn Storage, files: &FileSet) -> Result<Option<FileSet>, Failure> {
    let mut mine = Vec::new();
    for split in [Split::Train, Split::Eval] {
        if session.rank() == 0 && files.len(split) > 0 && files.has_short_folders(split) {
            let first = files.combined(split, 0);
            let short = files.clone().with_short_folders(split).name(first);
            if is_missing(storage, &files.name(first)).await? && !is_missing(storage, &short).await? {
                session.log_info(&format!("the sub-folders of {} are named as in {short}", split.folder()));
                mine.push(split == Split::Train);
            }
        }
    }
    let found = gather(&*session.comm, &mine).await?.into_iter().next().unwrap_or_default();
    let split = |is_train: bool| if is_train { Split::Train } else { Split::Eval };
    let short = found.iter().fold(files.clone(), |files, &is_train| files.with_short_folders(split(is_train)));
    Ok((!found.is_empty()).then_some(short))
}

/// Returns whether an object is known not to exist; other errors are reported when it is read.
///
/// # Errors
/// The endpoint does not answer; later steps should not wait for it again.
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
        let first = files.name(files.combined(split, 0));
        let names = if is_missing(storage, &first).await? {
            names(session, storage, files, split).await?
        } else {
            Names::Computed
        };
        found.push(names);
    }
    Ok(found)
}

/// Files of the dataset's format at one depth below the folder of a split.
///
/// As long as the names may be those of a larger dataset of this program, one bit per name is kept; otherwise all names are kept,
/// because these files will be read.
struct Level<'a> {
    files: &'a FileSet,
    split: Split,
    order: ListingOrder,
    keeps_names: bool,
    count: u64,
    /// The first name in the reference's order.
    first: Option<String>,
    /// Number of files of the larger dataset to which the first listed name belongs, and a listing of the files that are needed.
    larger: Option<(u64, Listing)>,
    /// All files, unless `larger` represents them.
    names: Vec<ListEntry>,
}

impl Level<'_> {
    fn add(&mut self, found: &ListEntry) {
        let key = found.key.as_str();
        self.count += 1;
        if self.first.as_deref().is_none_or(|first| compare(self.order, key, first).is_lt()) {
            self.first = Some(key.to_owned());
        }
        if self.count == 1 && !self.keeps_names {
            self.larger = self.larger_dataset(key);
        }
        match &mut self.larger {
            Some((_, listing)) => listing.add(key, found.size),
            None => self.names.push(found.clone()),
        }
    }

    /// Returns the dataset of this program to which a name belongs, if it has at least as many files as needed.
    fn larger_dataset(&self, key: &str) -> Option<(u64, Listing)> {
        let Self { files, split, .. } = self;
        let count = FileName::parse(key, files.format())?.count;
        let (train, eval) = match split {
            Split::Train => (count, files.len(Split::Eval)),
            Split::Eval => (files.len(Split::Train), count),
        };
        let whole = || Listing::new((*files).clone().generated_as(train, eval));
        (count >= files.len(*split)).then(|| (count, whole()))
    }

    /// Returns the number of files of the larger dataset whose first files these are.
    fn part_of(&self) -> Option<u64> {
        let (count, listing) = self.larger.as_ref()?;
        let first = FileName::parse(self.first.as_deref()?, self.files.format())?;
        (first.count == *count && listing.present() == self.files.len(self.split)).then_some(*count)
    }
}

/// Files below the folder of a split.
struct Folder<'a> {
    /// Files of the format in the folder itself.
    flat: Level<'a>,
    /// Files of the format in its subfolders.
    below: Level<'a>,
    /// Names of these subfolders.
    subfolders: BTreeSet<String>,
    /// The first file that is neither.
    other: Option<String>,
}

impl<'a> Folder<'a> {
    fn new(files: &'a FileSet, split: Split, order: ListingOrder, keeps_names: bool) -> Self {
        let level =
            || Level { files, split, order, keeps_names, count: 0, first: None, larger: None, names: Vec::new() };
        Self { flat: level(), below: level(), subfolders: BTreeSet::new(), other: None }
    }

    /// Adds a file like the reference: in the folder itself the name must end with the format (case-sensitive), in a subfolder the
    /// extension must match in lower or upper case, and files further down are ignored.
    fn add(&mut self, found: &ListEntry, ending: &str) {
        let key = found.key.as_str();
        let rest = key.strip_prefix(self.flat.split.folder()).and_then(|rest| rest.strip_prefix('/'));
        let Some(rest) = rest else { return };
        match rest.split_once('/') {
            None if rest.ends_with(ending) => self.flat.add(found),
            Some((below, name)) if !name.contains('/') && has_extension(name, ending) => {
                if !self.subfolders.contains(below) {
                    self.subfolders.insert(below.to_owned());
                }
                self.below.add(found);
            }
            _ => {
                if self.other.is_none() {
                    self.other = Some(key.to_owned());
                }
            }
        }
    }

    /// Returns the files that are read and the number of their subfolders.
    fn chosen(self, subfolders: u64) -> (Level<'a>, u64) {
        if self.below.count > 0 && (subfolders > 1 || self.flat.count == 0) {
            (self.below, self.subfolders.len() as u64)
        } else {
            (self.flat, 0)
        }
    }
}

fn has_extension(name: &str, ending: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    extension.is_some_and(|extension| extension == ending || extension == ending.to_ascii_uppercase())
}

/// Lists the folder of a split; `None`: there is no such folder.
async fn list<'a>(
    session: &Session,
    storage: &dyn Storage,
    (files, split): (&'a FileSet, Split),
    keeps_names: bool,
) -> Result<Option<Folder<'a>>, Failure> {
    let (ending, order) = (files.format().word(), session.loaded.workload.dlio_rs.dialect.rules().listing_order);
    let (mut folder, shows) = (Folder::new(files, split, order, keeps_names), ProgressReporter::new(session));
    let _meter = shows.begin(Task::counting("Listing", "files", files.len(split)));
    match listing::walk(storage, split.folder(), &shows.tally, |found| folder.add(found, ending)).await {
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        listed => listed.map(|()| Some(folder)).map_err(Failure::from),
    }
}

/// Determines the names of the files of a split whose first computed name does not exist.
async fn names(session: &Session, storage: &dyn Storage, files: &FileSet, split: Split) -> Result<Names, Failure> {
    let (dataset, ending) = (&session.loaded.workload.dataset, files.format());
    let Some(folder) = list(session, storage, (files, split), false).await? else { return Ok(Names::Computed) };
    let (subfolders, key) = match split {
        Split::Train => (dataset.num_subfolders_train, "dataset.num_subfolders_train"),
        Split::Eval => (dataset.num_subfolders_eval, "dataset.num_subfolders_eval"),
    };
    let (place, other) = (storage.uri(split.folder()), folder.other.clone());
    let (level, folders) = folder.chosen(subfolders);
    let Some(first) = &level.first else {
        if let Some(other) = other {
            session.warn(&format!("{place} holds files, such as {other}, but none that ends in {ending}"));
        }
        return Ok(Names::Computed);
    };
    if folders != subfolders && folders.max(subfolders) > 1 {
        return Err(Failure::new(
            Code::Data,
            format_args!(
                "{place} has {folders} sub-folder(s) with {ending} files, but {key} is {subfolders}: set it to {folders}"
            ),
        ));
    }
    let (found, wanted) = (level.count, files.len(split));
    let (what, number) = match split {
        Split::Train => ("training", "dataset.num_files_train"),
        Split::Eval => ("evaluation", "dataset.num_files_eval"),
    };
    if found < wanted {
        let text = format!("Not enough {what} dataset is found; {}", crate::advice::generate_more(session));
        let detail = format!("{number}: {wanted}; {place} holds {found} {ending} file(s), the first one is {first}");
        return Err(Failure::new(Code::Data, format!("{text} ({detail})")));
    }
    if found > wanted {
        session.log.warning(&format!(
            "Number of files for {what} in {}/{} ({found}) is more than requested ({wanted}). A subset of files will be used ",
            dataset.data_folder,
            split.folder()
        ));
    }
    if let Some(count) = level.part_of() {
        if session.loaded.workload.dlio_rs.dialect.rules().checks_dataset {
            session.log_output(&listing::complete(split, found, wanted));
        }
        return Ok(Names::Part(count));
    }
    if level.larger.is_none() {
        return Ok(foreign(session, &place, level, wanted));
    }
    // The names were not kept because they resembled those of a larger dataset, so the folder is listed again.
    let folder = list(session, storage, (files, split), true).await?;
    Ok(folder.map_or(Names::Computed, |folder| foreign(session, &place, folder.chosen(subfolders).0, wanted)))
}

/// Returns the first names of another program's files and their total size.
fn foreign(session: &Session, place: &str, level: Level<'_>, wanted: u64) -> Names {
    let Level { mut names, order, .. } = level;
    names.sort_by(|one, other| compare(order, &one.key, &other.key));
    names.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
    let (Some(first), Some(last)) = (names.first(), names.last()) else { return Names::Computed };
    session.warn(&format!(
        "{place} holds files that this configuration does not name so: {wanted} listed one(s) are read, from {} to {}, and what \
         they hold is not compared with the configuration",
        first.key, last.key
    ));
    let bytes = names.iter().map(|found| found.size).sum();
    Names::Listed(names.into_iter().map(|found| found.key).collect(), bytes)
}

/// Compares two names in the order of the reference's sorted list.
fn compare(order: ListingOrder, one: &str, other: &str) -> Ordering {
    let base = |name: &str| name.rsplit_once('/').map_or(0, |(folder, _)| folder.len() + 1);
    match order {
        ListingOrder::BaseName => one[base(one)..].cmp(&other[base(other)..]).then(one.cmp(other)),
        ListingOrder::Key => one.cmp(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(train: u64) -> FileSet {
        let yaml = format!(
            "framework: pytorch\nworkflow: {{train: true}}\n\
             dataset: {{format: npz, num_files_train: {train}, num_samples_per_file: 1, record_length_bytes: 4096}}\n\
             reader: {{data_loader: pytorch, batch_size: 1, read_threads: 1}}\ntrain: {{epochs: 1}}\n"
        );
        let source = dlio_config::Source { name: "test.yaml", yaml: &yaml };
        let loaded = dlio_config::load(&source, &[], &std::collections::BTreeMap::new(), None).unwrap();
        FileSet::new(&loaded.workload).unwrap()
    }

    fn folder<'a>(files: &'a FileSet, order: ListingOrder, keys: &[&str]) -> Folder<'a> {
        let mut folder = Folder::new(files, Split::Train, order, false);
        for key in keys {
            folder.add(&ListEntry { key: (*key).to_owned(), size: 1 }, "npz");
        }
        folder
    }

    fn keys(level: &Level<'_>) -> Vec<String> {
        level.names.iter().map(|found| found.key.clone()).collect()
    }

    #[test]
    fn files_count_by_the_end_of_their_name_and_in_sub_folders_by_their_extension() {
        let (files, order) = (files(2), ListingOrder::BaseName);
        let names = ["train/a.npz", "train/b_npz", "train/c.NPZ", "train/d.npz.off.idx", "train/x/e.npz"];
        let found = folder(&files, order, &names);
        assert_eq!(keys(&found.flat), ["train/a.npz", "train/b_npz"]);
        assert_eq!(found.other.as_deref(), Some("train/c.NPZ"));
        let names = ["train/x/a.npz", "train/y/b.NPZ", "train/y/c_npz", "train/x/y/d.npz"];
        let found = folder(&files, order, &names);
        assert_eq!((found.below.count, found.below.names.len(), found.subfolders.len()), (2, 2, 2));
    }

    #[test]
    fn names_are_sorted_as_each_reference_does() {
        let sorted = |order| {
            let mut names = ["train/b/1.npz", "train/a/2.npz", "train/a/1.npz"];
            names.sort_by(|one, other| compare(order, one, other));
            names
        };
        assert_eq!(sorted(ListingOrder::BaseName), ["train/a/1.npz", "train/b/1.npz", "train/a/2.npz"]);
        assert_eq!(sorted(ListingOrder::Key), ["train/a/1.npz", "train/a/2.npz", "train/b/1.npz"]);
        let files = files(2);
        for (order, first) in [(ListingOrder::BaseName, "train/b/1.npz"), (ListingOrder::Key, "train/a/2.npz")] {
            let found = folder(&files, order, &["train/b/1.npz", "train/a/2.npz"]);
            assert_eq!(found.below.first.as_deref(), Some(first));
        }
    }

    #[test]
    fn the_first_files_of_a_larger_dataset_are_found_without_keeping_their_names() {
        let (files, order) = (files(3), ListingOrder::BaseName);
        let all =
            ["train/img_00_of_12.npz", "train/img_01_of_12.npz", "train/img_02_of_12.npz", "train/img_11_of_12.npz"];
        let part = |names: &[&str]| folder(&files, order, names).flat.part_of();
        assert_eq!(part(&all), Some(12));
        assert!(folder(&files, order, &all).flat.names.is_empty());
        assert_eq!(part(&[all[2], "train/zzz.npz", all[0], all[1]]), Some(12));
        // The result is `None` if one of the first files is missing, if another name sorts first, or if there are too few files.
        assert_eq!(part(&[all[0], all[1], all[3]]), None);
        assert_eq!(part(&[all[0], all[1], all[2], "train/aaa.npz"]), None);
        assert_eq!(part(&["train/img_0_of_2.npz", "train/img_1_of_2.npz"]), None);
        assert_eq!(part(&["train/aaa.npz", all[0], all[1], all[2]]), None);
    }
}
