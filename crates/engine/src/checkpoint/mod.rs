//! Checkpoints of one rank: one lane streams their files from the encoders of the format, and one or more lanes read them back.
//!
//! Invariant: no file of a checkpoint becomes visible under its name before every rank has stored all of its files. Until then the files
//! are staged, as temporary files or uploads that are not completed; they are published after the next barrier. So a rank that dies
//! during a save leaves nothing that looks like a checkpoint. For the same reason, a checkpoint that is replaced is removed before the
//! first byte of the new one is stored.
//!
//! The time of a checkpoint is measured as in DLIO: from the first byte of the first file to the last byte of the last file, on this rank
//! alone. A run that only takes checkpoints adds the time that this rank took to publish, but not the wait before it; a training run
//! publishes after the barrier of the next step.
//!
//! Memory: one chunk buffer per lane, or on S3 the parts in flight of one object, independent of the size of the model.

mod checkpoint_only;
mod job;
mod lane;
mod lanes;
mod load;
mod objects;
mod options;
mod read;
mod saver;

pub use checkpoint_only::checkpoint;
pub use objects::checkpoint_objects;
pub use options::{Checkpoints, Loading};
pub(crate) use saver::{CheckpointAt, CheckpointSaver};
