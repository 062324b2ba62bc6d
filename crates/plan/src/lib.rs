//! The plan of a run: which rank does what, in which order. It is computed from a workload and a world and never
//! stored.
//!
//! Invariant: everything here is a pure function of (workload, world, rank, epoch, index), without I/O, clocks,
//! environment variables or threads. Iterators are lazy. A plan for 50 million files costs no more than a plan for 8
//! files, except that compatibility with numpy's shuffles requires an array of file numbers.

pub mod checkpoint;
mod counts;
mod error;
mod file_names;
mod files;
mod fingerprint;
mod generate;
mod handles;
mod jsonl;
mod lane_work;
mod lookups;
mod maps;
mod mlperf;
mod notices;
pub mod numpy;
mod order;
mod permutation;
mod permutation_store;
mod reading;
pub mod replay;
mod shards;
mod split;
mod step;
mod summary;
mod times;
mod training;
mod world;

pub use checkpoint::{CheckpointFile, CheckpointPart, CheckpointPlan, checkpoints};
pub use error::Error;
pub use file_names::FileName;
pub use files::{File, FileSet};
pub use fingerprint::Fingerprint;
pub use generate::GeneratePlan;
pub use handles::{Access, HandleState, Handles};
pub use jsonl::{Selection, jsonl};
pub use lane_work::{LaneWork, StepWork, StreamWork};
pub use lookups::Lookups;
pub use maps::{SampleMap, sample_map};
pub use mlperf::{Footers, Pipeline, reads_in_flight};
pub use order::{LaneBatch, Piece, Pieces};
pub use permutation_store::{
    FillNumbers, LocalPermutations, PermutationKey, PermutationStore, PermutedNumbers, Purpose,
};
pub use split::Split;
pub use step::{LaneStep, SampleRead};
pub use summary::{summary, totals};
pub use training::{TrainingPlan, training, training_on};
pub use world::World;
