//! A dataset as the storage lists it, compared with the names that the configuration computes.
//!
//! Invariant: memory does not grow with the number of listed names. One bit per computed name records whether it was listed, which
//! takes 6 MiB for 50 million files; a few examples are kept of names that are not in the dataset.

use std::sync::atomic::Ordering;

use dlio_plan::{FileSet, Split};
use dlio_storage::{Error, ListEntry, Storage};

use crate::failure::{Code, Failure};
use crate::outputs::meter::{Tally, Task};
use crate::outputs::progress::ProgressReporter;
use crate::session::Session;

/// Largest number of names in a message.
pub const EXAMPLES: usize = 5;

/// The files of a dataset that a storage has listed.
#[derive(Debug, Clone)]
pub struct Listing {
    files: FileSet,
    /// One bit per file, by combined number.
    listed: Box<[u64]>,
    present: u64,
    bytes: u64,
    unexpected: Unexpected,
}

/// Listed names that are not in the dataset.
#[derive(Debug, Clone, Default)]
pub struct Unexpected {
    /// Number of these names.
    pub count: u64,
    /// The first of them, at most [`EXAMPLES`].
    pub first: Vec<String>,
    /// The last of them.
    pub last: Option<String>,
}

impl Unexpected {
    fn add(&mut self, name: &str) {
        self.count += 1;
        if self.first.len() < EXAMPLES {
            self.first.push(name.to_owned());
        }
        match &mut self.last {
            Some(last) => name.clone_into(last),
            None => self.last = Some(name.to_owned()),
        }
    }
}

impl Listing {
    /// Creates an empty listing of these files.
    #[must_use]
    pub fn new(files: FileSet) -> Self {
        let words = usize::try_from(files.total().div_ceil(64)).unwrap_or(usize::MAX);
        let listed = vec![0; words].into_boxed_slice();
        Self { files, listed, present: 0, bytes: 0, unexpected: Unexpected::default() }
    }

    /// Adds an object with its size in bytes. A name that is listed twice counts as unexpected the second time.
    pub fn add(&mut self, name: &str, size: u64) {
        match self.files.parse(name).and_then(|combined| self.bit(combined)) {
            Some((word, bit)) if self.listed[word] & bit == 0 => {
                self.listed[word] |= bit;
                self.present += 1;
                self.bytes += size;
            }
            _ => self.unexpected.add(name),
        }
    }

    /// Returns the files of the dataset.
    #[must_use]
    pub fn files(&self) -> &FileSet {
        &self.files
    }

    /// Returns the number of files of the dataset that were listed.
    #[must_use]
    pub fn present(&self) -> u64 {
        self.present
    }

    /// Returns the total size of the listed files of the dataset in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the number of files of the dataset that were not listed.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.files.total() - self.present
    }

    /// Returns the first `most` names in ascending order that were not listed.
    #[must_use]
    pub fn missing_names(&self, most: usize) -> Vec<String> {
        let all = [Split::Train, Split::Eval].into_iter().flat_map(|split| self.files.by_name(split));
        all.filter(|&combined| !self.has(combined)).take(most).map(|combined| self.files.name(combined)).collect()
    }

    /// Returns whether the file with this combined number was listed.
    #[must_use]
    pub fn has(&self, combined: u64) -> bool {
        self.bit(combined).is_some_and(|(word, bit)| self.listed[word] & bit != 0)
    }

    /// Listed names that are not in the dataset.
    #[must_use]
    pub fn unexpected(&self) -> &Unexpected {
        &self.unexpected
    }

    /// Returns the heap memory of the bits in bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        size_of_val(&*self.listed)
    }

    fn bit(&self, combined: u64) -> Option<(usize, u64)> {
        let word = usize::try_from(combined / 64).ok().filter(|word| *word < self.listed.len())?;
        Some((word, 1 << (combined % 64)))
    }
}

/// Passes every object below a folder of the data folder to `each`, and counts it in `tally`.
///
/// # Errors
/// The storage cannot list the folder.
pub async fn walk(
    storage: &dyn Storage,
    folder: &str,
    tally: &Tally,
    mut each: impl FnMut(&ListEntry),
) -> Result<(), Error> {
    let mut page = |found: &[ListEntry]| {
        tally.done().fetch_add(found.len() as u64, Ordering::Relaxed);
        found.iter().for_each(&mut each);
    };
    storage.list(&format!("{folder}/"), &mut page).await.map(|_| ())
}

/// Returns the log line for a complete listing.
#[must_use]
pub fn complete(split: Split, found: u64, expected: u64) -> String {
    format!("Listing [{}]: {found} file(s), {expected} expected", split.folder())
}

/// Compares the dataset with a listing of the storage on rank 0 (`--list`).
///
/// # Errors
/// Files are missing; unexpected objects only cause a warning.
pub(crate) async fn compare(session: &Session, storage: &dyn Storage, files: &FileSet) -> Result<(), Failure> {
    if session.rank() != 0 {
        return Ok(());
    }
    let mut listing = Listing::new(files.clone());
    let shows = ProgressReporter::new(session);
    let meter = shows.begin(Task::counting("Listing", "files", files.total()));
    for split in [Split::Train, Split::Eval] {
        walk(storage, split.folder(), &shows.tally, |found| listing.add(&found.key, found.size)).await?;
    }
    drop(meter);
    let (total, present, bytes) = (files.total(), listing.present(), listing.bytes());
    session.log_output(&format!("Listing: {present} of {total} expected file(s), {bytes} bytes"));
    let unexpected = listing.unexpected();
    if unexpected.count > 0 {
        session.warn(&format!(
            "Listing: {} object(s) in the data folder are not part of this workload, among them {}; they are not read",
            unexpected.count,
            unexpected.first.join(", ")
        ));
    }
    if listing.missing() == 0 {
        return Ok(());
    }
    Err(Failure::new(
        Code::Data,
        format_args!(
            "{} file(s) of the dataset are missing in {}, among them {}: generate it with the same configuration",
            listing.missing(),
            storage.uri(""),
            listing.missing_names(EXAMPLES).join(", ")
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(train: u64, eval: u64, subfolders: u64) -> FileSet {
        let yaml = format!(
            "framework: pytorch\nworkflow: {{train: true}}\n\
             dataset: {{format: npz, num_files_train: {train}, num_files_eval: {eval}, num_subfolders_train: {subfolders}, \
             num_samples_per_file: 1, record_length_bytes: 4096}}\n\
             reader: {{data_loader: pytorch, batch_size: 1, read_threads: 1}}\ntrain: {{epochs: 1}}\n"
        );
        let source = dlio_config::Source { name: "test.yaml", yaml: &yaml };
        let loaded = dlio_config::load(&source, &[], &std::collections::BTreeMap::new(), None).unwrap();
        FileSet::new(&loaded.workload).unwrap()
    }

    #[test]
    fn files_are_present_missing_or_unexpected() {
        let files = files(12, 2, 3);
        let mut listing = Listing::new(files.clone());
        for combined in (0..14).filter(|combined| ![1, 3, 5, 13].contains(combined)) {
            listing.add(&files.name(combined), 10);
        }
        let strange = ["train/0/img_03_of_13.npz", "train/0/img_01_of_12.npz", "valid/img_0_of_2.npz.tmp"];
        for name in strange {
            listing.add(name, 1);
        }
        listing.add("train/0/img_00_of_12.npz", 10);
        assert_eq!((listing.present(), listing.missing(), listing.bytes()), (10, 4, 100));
        assert_eq!(
            listing.missing_names(3),
            ["train/0/img_03_of_12.npz", "train/1/img_01_of_12.npz", "train/2/img_05_of_12.npz"]
        );
        assert_eq!(listing.missing_names(9)[3], "valid/img_1_of_2.npz");
        assert_eq!(
            (listing.unexpected().count, &listing.unexpected().first[..3]),
            (4, &strange.map(str::to_owned)[..])
        );
        assert_eq!(listing.unexpected().last.as_deref(), Some("train/0/img_00_of_12.npz"));
    }

    #[test]
    fn fifty_million_names_take_less_than_twenty_mebibytes() {
        let files = files(50_000_000, 100_000, 1000);
        let mut listing = Listing::new(files.clone());
        let before = listing.heap_bytes();
        for combined in (0..50_100_000).step_by(1009) {
            listing.add(&files.name(combined), 1);
            listing.add(&format!("train/strange_{combined}"), 1);
        }
        assert_eq!((listing.missing(), listing.unexpected().count), (50_100_000 - 49_654, 49_654));
        assert_eq!((listing.heap_bytes(), listing.unexpected().first.len()), (before, EXAMPLES));
        assert!(before < 20 << 20, "{before}");
    }
}
