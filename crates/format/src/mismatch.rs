//! Files whose shape differs from the workload's: a reader refuses them, or records them and reads them as they are.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::check_level::CheckLevel;
use crate::error::Error;

/// A record of the files whose shape differs from the workload's, shared by all readers of a rank.
#[derive(Debug, Default)]
pub struct Mismatches(Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    files: BTreeSet<u64>,
    first: Option<(u64, Error)>,
}

impl Mismatches {
    fn note(&self, file: u64, error: Error) {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        found.files.insert(file);
        if found.first.as_ref().is_none_or(|(first, _)| file < *first) {
            found.first = Some((file, error));
        }
    }

    /// Returns the combined numbers of the files, in ascending order.
    #[must_use]
    pub fn files(&self) -> Vec<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).files.iter().copied().collect()
    }

    /// Returns the file with the lowest number and how it differs.
    #[must_use]
    pub fn first(&self) -> Option<(u64, Error)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).first.clone()
    }
}

/// The policy of one reader for a file of another shape.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mismatch {
    /// Where differences are recorded; `None` if the content is compared, which reports more.
    noted_in: Option<Arc<Mismatches>>,
    /// Another shape is an error.
    refused: bool,
    file: u64,
}

impl Mismatch {
    /// Creates the policy for the reader of `file`. Content that is compared with generated content must have its
    /// shape.
    pub(crate) fn new(mismatches: &Arc<Mismatches>, refused: bool, file: u64, check_level: CheckLevel) -> Self {
        let noted_in = (check_level != CheckLevel::Payload).then(|| Arc::clone(mismatches));
        Self { noted_in, refused, file }
    }

    /// Returns whether files of another shape are read and recorded.
    pub(crate) fn is_noted(&self) -> bool {
        self.notes() && !self.refused
    }

    /// Returns whether differences that are never refused are recorded.
    pub(crate) fn notes(&self) -> bool {
        self.noted_in.is_some()
    }

    /// Records a difference that is never refused.
    pub(crate) fn note(&self, error: Error) {
        if let Some(noted_in) = &self.noted_in {
            noted_in.note(self.file, error);
        }
    }

    /// Records that the file differs.
    ///
    /// # Errors
    /// Returns the difference if the policy refuses it.
    pub(crate) fn refuse_or_note(&self, error: Error) -> Result<(), Error> {
        if self.is_noted() {
            self.note(error);
            return Ok(());
        }
        Err(error)
    }
}
