//! What can go wrong in a collective.

/// A collective that could not be completed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another rank ended with an error while this one waited.
    #[error("rank {rank} ended the run: {message}")]
    Aborted {
        /// The rank that failed.
        rank: u32,
        /// Its message.
        message: String,
    },
    /// The MPI library reported an error, or the world is not what the launcher promised.
    #[error("{0}")]
    Library(String),
    /// The run was asked to end while this rank waited.
    #[error("the run was asked to end while this rank waited for the other ranks")]
    Cancelled,
    /// The others did not come in time; the text says who is missing.
    #[error("{0}")]
    Stalled(String),
}
