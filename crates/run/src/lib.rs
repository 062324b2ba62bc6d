//! A run as a library: resolve a configuration, open back ends, agree across ranks, execute, write outputs.
//!
//! A front end calls [`run::run`] with [`options::Options`] and an [`options::Action`] on a communicator, and gets an
//! [`outcome::Ended`]. What a run needs from outside comes in a [`front_end::FrontEnd`]: the environment as a value, a
//! [`stop::StopHandle`], and a [`front_end::RunObserver`] that gets messages, progress and failures.
//!
//! Invariant: nothing here prints, ends the process, handles signals or panics, reads the environment, or keeps state between
//! runs. One process can run many times, and on several threads at once.
//!
//! # A whole run
//!
//! This is `examples/one_run.rs`, which a test of this crate runs.
//!
//! ```ignore
#![doc = include_str!("../examples/one_run.rs")]
//! ```

mod advice;
pub mod backend;
mod checkpoints;
pub mod collective;
pub mod dataset;
mod execute;
pub mod failure;
pub mod front_end;
pub mod host;
pub mod launch;
pub mod layout;
pub mod message;
pub mod options;
pub mod outcome;
pub mod output_folder;
pub mod outputs;
pub mod predict;
pub mod prepared;
mod rank_ending;
pub mod ranks;
pub mod replay;
pub mod resolve;
pub mod run;
mod session;
pub mod set_up;
pub mod shared_folder;
mod shared_permutations;
pub mod sizes;
pub mod space;
mod start;
pub mod stop;
mod work;
