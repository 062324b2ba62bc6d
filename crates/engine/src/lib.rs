//! Execution of a plan on a rig: generates a dataset, and runs the training loop that reads it.
//!
//! Invariant: the engine makes no decisions. The plan determines which rank reads which file, in which order and in which lane; the
//! [`Rig`] provides storage, clock and communicator. The same loop therefore runs against S3 with one thread per lane, and against
//! simulated storage on virtual time.
//!
//! Memory: no code holds a whole record. A lane needs one chunk buffer per operation in flight (a buffer of the storage, at most
//! 512 KiB for buffered files), the files that it keeps open, and one list of sample numbers per step. A batch in the queue is a number
//! of bytes, not the bytes themselves. `prefetch_size`, `batch_size` and the record length therefore do not affect memory.

mod alarm;
mod batches;
mod blocking_pool;
mod checkpoint;
mod clock;
mod cost;
mod decode_timer;
mod error;
mod generate;
mod lane_context;
mod lane_files;
mod lane_status;
mod lanes;
mod lookup;
mod observer;
mod orders;
mod place;
mod plan_agreement;
mod reader;
mod remove;
mod replay;
mod request;
mod rig;
mod row_groups;
mod stream;
mod syscalls;
mod train;
mod train_options;
mod trained;
mod verify;
mod watchdog;
mod work_queue;
mod writer;

pub use alarm::Alarm;
pub use checkpoint::{Checkpoints, Loading, checkpoint, checkpoint_objects};
pub use clock::{Clock, MonotonicClock, VirtualClock};
pub use cost::Cost;
pub use error::{Error, ErrorClass};
pub use generate::{GenerateOptions, generate};
pub use lane_files::{FileReader, IndexReader, LaneFiles, Lookup, MapReader, ReaderState, Step};
pub use observer::{
    CheckpointStarted, FileDone, FileTotals, Generated, Observer, PartDone, RunStarted, Silent, Stall, StallLimits,
    StepDone, Waiting,
};
pub use place::Place;
pub use remove::{Removed, remove};
pub use replay::{ReplayOptions, replay};
pub use rig::{CancelFlag, LaneHost, Rig};
pub use train::train;
pub use train_options::{BeforeEpoch, TrainOptions};
pub use trained::Trained;
pub use verify::{BadFile, Verified, VerifyOptions, verify};
