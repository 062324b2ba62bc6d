//! Communication between ranks: solo, simulated (many ranks in one process) and MPI.
//!
//! Invariant: a communicator is used from one thread, and every rank calls the same collectives in the same order.

mod communicator;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod futex;
mod host;
pub mod launcher;
mod mpi_family;
mod mpi_world;
mod rank_status;
pub mod shared;
mod simulated;
mod solo;

pub use communicator::{Collective, Communicator, Place};
pub use error::Error;
pub use mpi_family::Family;
pub use mpi_world::{Abi, LibraryInfo, Mpi, abort_world, look};
pub use rank_status::{Activity, MissingRank, MissingRanks, ProcessState, RankStatus};
pub use simulated::Simulated;
pub use solo::Solo;
