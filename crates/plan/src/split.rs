//! The two splits of a dataset.

/// Split of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Split {
    /// Training files, in folder `train`.
    Train,
    /// Evaluation files, in folder `valid`.
    Eval,
}

impl Split {
    /// Returns the name of the split's folder below the data folder.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Eval => "valid",
        }
    }
}
