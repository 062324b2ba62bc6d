//! Executes a plan on a rig: generates a data set, and runs the training loop that reads it.
//!
//! Invariant: nothing is decided here. Which rank touches which file, in which order and in which lane comes from the
//! plan; what the outside world is comes from the [`Rig`]; so the same loop runs against S3 with one thread per lane
//! and against a model of storage on virtual time.
//!
//! Memory: nobody holds a record. A lane that reads a local file or an object needs one chunk buffer per operation in
//! flight (the storage's, at most 256 KiB for files), the keys of the files that it keeps open, and one list of sample
//! numbers per step; a batch that waits to be computed on is a number of bytes, not the bytes. Hence no setting of
//! `prefetch_size`, `batch_size` or record length changes how much memory a run needs.

mod agree;
mod alarm;
mod batches;
mod checkpoint;
mod clock;
mod cost;
mod decoding;
mod error;
mod footers;
mod generate;
mod handles;
mod helpers;
mod kernel;
mod lanes;
mod lookup;
mod observer;
mod place;
mod reader;
mod remove;
mod replay;
mod rig;
mod row_groups;
mod stream;
mod team;
mod train;
mod verify;
mod watch;
mod writer;

pub use alarm::Alarm;
pub use checkpoint::{Checkpoints, Loading, checkpoint, checkpoint_objects};
pub use clock::{Clock, MonotonicClock, VirtualClock};
pub use cost::Cost;
pub use error::{Error, ErrorClass};
pub use generate::{GenerateOptions, generate};
pub use observer::{
    CheckpointStarted, FileDone, FileTotals, Generated, Observer, PartDone, RunStarted, Silent, Stall, StallLimits,
    StepDone, Waiting,
};
pub use place::Place;
pub use remove::{Removed, remove};
pub use replay::{ReplayOptions, replay};
pub use rig::{CancelFlag, LaneHost, Rig};
pub use train::{BeforeEpoch, TrainOptions, Trained, train};
pub use verify::{BadFile, Verified, VerifyOptions, verify};
