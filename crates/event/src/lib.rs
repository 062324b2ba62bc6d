//! The words that every other crate shares: what an operation is, where in a run it happened, how it ended.
//!
//! Invariant: this crate does no I/O, starts no thread and reads no clock. Times are nanoseconds of one monotonic
//! clock per process ([`Nanos`]); the trace file carries what is needed to align the clocks of different ranks.

mod ending;
mod kind;
pub mod mix;
mod position;
pub mod quantity;
mod sink;
mod timing;

pub use ending::{Ending, NotAnEnding, Planned};
pub use kind::{OpKind, Outcome};
pub use position::{Phase, Position};
pub use sink::{CollectingSink, EventSink, NullSink};
pub use timing::{BlockTimings, CheckpointTimings, EpochTimings, RankTimings};

/// Nanoseconds of the process's monotonic clock.
pub type Nanos = u64;

/// Reads the process's monotonic clock; the production clock and the virtual clock of simulations are in the engine.
pub trait TimeSource: Send + Sync {
    /// Nanoseconds since an origin that is fixed for the life of the process.
    fn now(&self) -> Nanos;
}

/// An MPI rank: one process, hence one simulated accelerator in the `dlio` dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank(pub u32);

impl std::fmt::Display for Rank {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A reader lane (the reference's loader worker) within one rank; [`Lane::MAIN`] is the training loop itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub u16);

impl Lane {
    /// The training loop: compute, barrier, and reads when `read_threads` is 0.
    pub const MAIN: Lane = Lane(u16::MAX);
}

/// A number for an object name, handed out by an [`EventSink`]; the trace stores the name once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub u32);

impl ObjectId {
    /// The event concerns no object (a span, a barrier).
    pub const NONE: ObjectId = ObjectId(u32::MAX);
}

/// A number for an endpoint name, handed out by an [`EventSink`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub u16);

impl EndpointId {
    /// No endpoint: local storage, or an event that is not storage.
    pub const NONE: EndpointId = EndpointId(u16::MAX);
}

/// A number for a label, handed out by an [`EventSink`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagId(pub u16);

impl TagId {
    /// No label.
    pub const NONE: TagId = TagId(u16::MAX);
}

/// A connection of one process to one endpoint; numbers grow in the order in which connections were opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u32);

impl ConnectionId {
    /// No connection: local storage, or not known.
    pub const NONE: ConnectionId = ConnectionId(u32::MAX);
}

/// One thing that happened in a run: a storage operation (one event per attempt) or a span of the training loop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Event {
    /// What was done.
    pub kind: OpKind,
    /// To which object; [`ObjectId::NONE`] for spans.
    pub object: ObjectId,
    /// First byte of the requested range, in bytes from the start of the object.
    pub offset: u64,
    /// Length of the requested range in bytes; `None`: to the end of the object, or not a range operation.
    pub requested: Option<u64>,
    /// Bytes that were really moved.
    pub bytes: u64,
    /// Which lane did it.
    pub lane: Lane,
    /// Where in the run it happened.
    pub at: Position,
    /// When it should have started (replayed traces) or was queued; `None`: unknown.
    pub due: Option<Nanos>,
    /// When it started.
    pub start: Nanos,
    /// When the request was handed to a usable connection: from the start to here it was queued, or waited for a
    /// connection to be opened. `None`: not measured for this kind.
    pub issued: Option<Nanos>,
    /// When the last byte of the request's body was handed to the connection (writes); `None`: not measured.
    pub last_byte: Option<Nanos>,
    /// When the first byte of the answer arrived; `None`: not measured for this kind.
    pub first_byte: Option<Nanos>,
    /// When it was over.
    pub end: Nanos,
    /// Which endpoint served it.
    pub endpoint: EndpointId,
    /// Over which connection.
    pub connection: ConnectionId,
    /// Size of the whole object, in bytes, where the operation told it.
    pub object_size: Option<u64>,
    /// A label of the user, or of the program that an imported trace comes from.
    pub tag: TagId,
    /// 0 for the first try, then 1, 2, …
    pub attempt: u8,
    /// HTTP status, or the negated `errno`, or 0 where neither exists.
    pub status: i16,
    /// How it ended.
    pub outcome: Outcome,
}

impl Event {
    /// A span of the training loop (compute, barrier, fetch, …): no object, no bytes, outcome ok.
    #[must_use]
    pub fn span(kind: OpKind, lane: Lane, at: Position, start: Nanos, end: Nanos) -> Self {
        Self {
            kind,
            object: ObjectId::NONE,
            offset: 0,
            requested: None,
            bytes: 0,
            lane,
            at,
            due: None,
            start,
            issued: None,
            last_byte: None,
            first_byte: None,
            end,
            endpoint: EndpointId::NONE,
            connection: ConnectionId::NONE,
            object_size: None,
            tag: TagId::NONE,
            attempt: 0,
            status: 0,
            outcome: Outcome::Ok,
        }
    }

    /// How long it took, in nanoseconds.
    #[must_use]
    pub fn duration(&self) -> Nanos {
        self.end.saturating_sub(self.start)
    }
}
