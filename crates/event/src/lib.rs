//! The words that every other crate shares: what an operation is, where in a run it happened, how it ended.
//!
//! Invariant: this crate does no I/O, starts no thread and reads no clock. Times are nanoseconds of one monotonic
//! clock per process ([`Nanos`]); the trace file carries what is needed to align the clocks of different ranks.

mod clock;
mod ending;
mod event;
mod ids;
mod kind;
pub mod mix;
mod position;
pub mod quantity;
mod sink;
mod timing;
mod uri;

pub use clock::{Nanos, TimeSource};
pub use ending::{Ending, NotAnEnding, Planned};
pub use event::Event;
pub use ids::{ConnectionId, EndpointId, Lane, ObjectId, Rank, TagId};
pub use kind::{OpKind, Outcome};
pub use position::{Phase, Position};
pub use sink::{CollectingSink, EventSink, NullSink};
pub use timing::{BlockTimings, CheckpointTimings, EpochTimings, RankTimings};
pub use uri::S3Uri;
