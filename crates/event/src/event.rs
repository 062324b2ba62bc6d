//! One row of a trace, before it is written.

use crate::{ConnectionId, EndpointId, Lane, Nanos, ObjectId, OpKind, Outcome, Position, TagId};

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
