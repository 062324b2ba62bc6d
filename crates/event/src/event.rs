//! The event: one row of a trace before it is written.

use crate::{ConnectionId, EndpointId, Lane, Nanos, ObjectId, OpKind, Outcome, Position, TagId};

/// One event of a run: a storage operation (one event per attempt) or a span of the training loop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Event {
    /// Kind of the operation or span.
    pub kind: OpKind,
    /// Object of the operation; [`ObjectId::NONE`] for spans.
    pub object: ObjectId,
    /// Offset of the first byte of the requested range, in bytes from the start of the object.
    pub offset: u64,
    /// Length of the requested range in bytes; `None` for a range up to the end of the object and for operations
    /// without a range.
    pub requested: Option<u64>,
    /// Bytes that were transferred.
    pub bytes: u64,
    /// Lane that did the work.
    pub lane: Lane,
    /// Position in the run.
    pub at: Position,
    /// Time at which the operation was queued or, in a replay, at which it was due; `None` if unknown.
    pub due: Option<Nanos>,
    /// Start time.
    pub start: Nanos,
    /// Time at which the request was handed to a usable connection. Between `start` and this time, the request was
    /// queued or waited for a connection to be opened. `None` if it is not measured for this kind.
    pub issued: Option<Nanos>,
    /// Time at which the last byte of the request body was handed to the connection, for writes; `None` if it is not
    /// measured.
    pub last_byte: Option<Nanos>,
    /// Time at which the first byte of the response arrived; `None` if it is not measured for this kind.
    pub first_byte: Option<Nanos>,
    /// End time.
    pub end: Nanos,
    /// Endpoint that served the request.
    pub endpoint: EndpointId,
    /// Connection that carried the request.
    pub connection: ConnectionId,
    /// Size of the whole object in bytes, if the operation returned it.
    pub object_size: Option<u64>,
    /// Label that was set by the user, or by the program that recorded an imported trace.
    pub tag: TagId,
    /// Number of the attempt: 0 for the first one, 1 for the first retry, and so on.
    pub attempt: u8,
    /// HTTP status code, or the negated `errno`, or 0 if neither applies.
    pub status: i16,
    /// Result of the operation.
    pub outcome: Outcome,
}

impl Event {
    /// Returns a span of the training loop (compute, barrier, fetch and so on), which has no object and no bytes and
    /// whose outcome is ok.
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

    /// Returns the duration in nanoseconds.
    #[must_use]
    pub fn duration(&self) -> Nanos {
        self.end.saturating_sub(self.start)
    }
}
