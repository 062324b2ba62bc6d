//! Why a trace cannot be replayed as asked.

/// A replay that cannot be planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An option has no meaning.
    #[error("{0}")]
    Option(String),
    /// Rules are given, and none fits.
    #[error(
        "no --map fits {uri} (given: {from}): give a `--map FROM=TO` for it too, or choose other objects with `--object`"
    )]
    Unmapped {
        /// Recorded name.
        uri: String,
        /// What the rules ask for.
        from: String,
    },
    /// A name that says no place.
    #[error("{uri:?} is no object that can be addressed: {why}; rewrite it with `--map FROM=TO`")]
    Address {
        /// Name after rewriting.
        uri: String,
        /// What is wrong.
        why: String,
    },
    /// Objects of more than one place.
    #[error(
        "the trace uses {first} and {second}: a replay has one file system or bucket; bring them together with `--map`, \
         or choose the objects of one with `--object`"
    )]
    Places {
        /// Root of the first object.
        first: String,
        /// Another root.
        second: String,
    },
    /// Parts of objects that are written whole.
    #[error(
        "the trace writes parts of {uri} ({count} object(s) in all): objects in a bucket are written whole; give `--whole-writes` to \
         write each once, as large as it becomes, or `--op read` to leave writes out, or map them to files"
    )]
    Parts {
        /// Recorded name of one of them.
        uri: String,
        /// How many there are.
        count: usize,
    },
    /// The trace cannot be read.
    #[error("{0}")]
    Trace(String),
}
