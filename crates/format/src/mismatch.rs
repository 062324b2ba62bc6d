//! Files whose shape is not the workload's: refused, or noted and read as they are.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Error;
use crate::scrutiny::Scrutiny;

/// What was found of files that have another shape than the workload says; one for all readers of a rank.
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

    /// Combined numbers of the files, in their order.
    #[must_use]
    pub fn files(&self) -> Vec<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).files.iter().copied().collect()
    }

    /// The first of them, by number, and how it differs.
    #[must_use]
    pub fn first(&self) -> Option<(u64, Error)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).first.clone()
    }
}

/// What one reader does about the shape of its file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mismatch {
    /// `None`: content is compared, which says more.
    noted_in: Option<Arc<Mismatches>>,
    /// Another shape is an error.
    refused: bool,
    file: u64,
}

impl Mismatch {
    /// For a reader of this file. Content that is compared with what was generated has to have its shape.
    pub(crate) fn new(mismatches: &Arc<Mismatches>, refused: bool, file: u64, scrutiny: Scrutiny) -> Self {
        let noted_in = (scrutiny != Scrutiny::Payload).then(|| Arc::clone(mismatches));
        Self { noted_in, refused, file }
    }

    /// Whether another shape is read.
    pub(crate) fn is_noted(&self) -> bool {
        self.notes() && !self.refused
    }

    /// Whether what is never refused is noted.
    pub(crate) fn notes(&self) -> bool {
        self.noted_in.is_some()
    }

    /// Notes that the file differs in something that is never refused.
    pub(crate) fn note(&self, error: Error) {
        if let Some(noted_in) = &self.noted_in {
            noted_in.note(self.file, error);
        }
    }

    /// Notes that the file differs.
    ///
    /// # Errors
    /// The difference, where it is refused.
    pub(crate) fn take(&self, error: Error) -> Result<(), Error> {
        if self.is_noted() {
            self.note(error);
            return Ok(());
        }
        Err(error)
    }
}
