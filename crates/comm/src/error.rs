//! Errors of collectives.

/// A collective that could not be completed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another rank failed while this one waited.
    #[error("rank {rank} ended the run: {message}")]
    Aborted {
        /// The rank that failed.
        rank: u32,
        /// Its error message.
        message: String,
    },
    /// The MPI library reported an error, or the world differs from what the launcher announced.
    #[error("{0}")]
    Library(String),
    /// The run was cancelled while this rank waited.
    #[error("the run was asked to end while this rank waited for the other ranks")]
    Cancelled,
    /// Other ranks did not arrive in time; the text names them.
    #[error("{0}")]
    Stalled(String),
}
