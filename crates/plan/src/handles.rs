//! Rules for when a lane opens and closes files.

use std::collections::HashSet;

/// How long a lane keeps a file open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Handles {
    /// The file is opened, read and closed for every sample, even if two consecutive samples are in the same file.
    PerSample,
    /// A file is opened if it is not open. After every `num_samples_per_file` samples that the lane has processed in
    /// this epoch, it closes the file of the last sample. Other open files stay open until the epoch or evaluation
    /// ends.
    PerFile,
    /// The file is opened once per lane and kept open for the rest of the run.
    Cached,
}

/// Opening and closing that one sample causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Access {
    /// The file is opened before the sample is read.
    pub open: bool,
    /// The file is closed after the sample is read.
    pub close: bool,
}

/// The open files of one lane; decides for each sample whether its file is opened and closed.
///
/// [`Handles::PerFile`] needs a new state per epoch and split; [`Handles::Cached`] needs one per lane, split and run.
#[derive(Debug, Clone)]
pub struct HandleState {
    handles: Handles,
    samples_per_file: u64,
    processed: u64,
    open: HashSet<u64>,
}

impl HandleState {
    /// Returns a state without open files.
    #[must_use]
    pub fn new(handles: Handles, samples_per_file: u64) -> Self {
        Self { handles, samples_per_file: samples_per_file.max(1), processed: 0, open: HashSet::new() }
    }

    /// Accounts for the next sample of the lane, which is in this file (combined number).
    pub fn access(&mut self, file: u64) -> Access {
        if self.handles == Handles::PerSample {
            return Access { open: true, close: true };
        }
        let open = self.open.insert(file);
        self.processed += 1;
        let close = self.handles == Handles::PerFile && self.processed.is_multiple_of(self.samples_per_file);
        if close {
            self.open.remove(&file);
        }
        Access { open, close }
    }
}
