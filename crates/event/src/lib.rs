//! The vocabulary that all other crates share: events, operation kinds, positions in a run, timings, quantities and
//! endings.
//!
//! Invariant: this crate does no I/O, starts no thread and reads no clock. All times are nanoseconds on one monotonic
//! clock per process ([`Nanos`]). The trace file stores what is needed to align the clocks of different ranks.

mod clock;
mod ending;
mod event;
pub mod histogram;
mod ids;
mod kind;
pub mod mix;
pub mod percentile;
mod position;
pub mod quantity;
mod secret;
mod sink;
mod timing;
mod uri;

pub use clock::{Nanos, TimeSource};
pub use ending::{Ending, ParseEndingError, Planned};
pub use event::Event;
pub use histogram::Histogram;
pub use ids::{ConnectionId, EndpointId, Lane, ObjectId, Rank, TagId};
pub use kind::{OpKind, Outcome};
pub use position::{Phase, Position};
pub use secret::Secret;
pub use sink::{CollectingSink, EventSink, NullSink};
pub use timing::{BlockTimings, CheckpointTimings, EpochTimings, RankTimings};
pub use uri::S3Uri;
