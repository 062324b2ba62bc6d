//! Training set or evaluation set.

/// Which data set a file or a step belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Split {
    /// The training set, folder `train`.
    Train,
    /// The evaluation set, folder `valid`.
    Eval,
}

impl Split {
    /// Name of the split's folder below the data folder.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Eval => "valid",
        }
    }
}
