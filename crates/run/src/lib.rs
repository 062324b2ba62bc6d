//! A run as a library: resolve a configuration, open back ends, agree across ranks, execute, write outputs.

#![allow(missing_docs, reason = "the parts that front ends need are not yet separated from the others")]

pub mod backend;
pub mod checkpoints;
pub mod closing;
pub mod collective;
pub mod dataset;
pub mod execute;
pub mod failure;
pub mod host;
pub mod launch;
pub mod options;
pub mod output_folder;
pub mod outputs;
pub mod panics;
pub mod predict;
pub mod prepared;
pub mod ranks;
pub mod remedy;
pub mod replay;
pub mod resolve;
pub mod session;
pub mod set_up;
pub mod shared_folder;
pub mod shared_permutations;
pub mod signals;
pub mod sizes;
pub mod space;
pub mod terminal;
