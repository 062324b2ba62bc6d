//! Ranks and what they tell each other: solo, simulated (many ranks in one process) and MPI.
//!
//! Invariant: a communicator is used from one thread, and every rank calls the same collectives in the same order.

mod communicator;
#[cfg(feature = "conformance")]
pub mod conformance;
mod doing;
mod error;
mod futex;
mod host;
pub mod launcher;
mod mpi_world;
pub mod shared;
mod simulated;
mod solo;

pub use communicator::{Collective, Communicator, Place};
pub use doing::{Absence, Activity, Doing, ProcessState, Sighting};
pub use error::Error;
pub use mpi_world::{Abi, Family, LibraryInfo, Mpi, abort_world, look};
pub use simulated::Simulated;
pub use solo::Solo;
