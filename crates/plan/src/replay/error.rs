//! Errors of planning a replay.

/// The replay cannot be planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An option is invalid.
    #[error("{0}")]
    Option(String),
    /// There are mapping rules, and none applies to the name.
    #[error(
        "no --map fits {uri} (given: {from}): give a `--map FROM=TO` for it too, or choose other objects with `--object`"
    )]
    Unmapped {
        /// Recorded name.
        uri: String,
        /// Left-hand sides of the rules.
        from: String,
    },
    /// A name is not an address.
    #[error("{uri:?} is no object that can be addressed: {why}; rewrite it with `--map FROM=TO`")]
    Address {
        /// Name after rewriting.
        uri: String,
        /// Reason.
        why: String,
    },
    /// The trace uses objects in more than one place.
    #[error(
        "the trace uses {first} and {second}: a replay has one file system or bucket; bring them together with `--map`, \
         or choose the objects of one with `--object`"
    )]
    Places {
        /// Root of the first object.
        first: String,
        /// A different root.
        second: String,
    },
    /// The trace writes parts of objects that can only be written as a whole.
    #[error(
        "the trace writes parts of {uri} ({count} object(s) in all): objects in a bucket are written whole; give `--whole-writes` to \
         write each once, as large as it becomes, or `--op read` to leave writes out, or map them to files"
    )]
    Parts {
        /// Recorded name of one of the objects.
        uri: String,
        /// Number of these objects.
        count: usize,
    },
    /// The trace cannot be read.
    #[error("{0}")]
    Trace(String),
}
