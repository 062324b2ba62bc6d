//! What an operation did: one [`Attempt`] per request or system-call group, so that a decorator can trace it all.

use std::sync::Arc;

use dlio_event::{ConnectionId, Nanos, OpKind, Outcome};
use smallvec::SmallVec;

/// One try: a single HTTP request with its answer, or one group of system calls on a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// What was done.
    pub kind: OpKind,
    /// First byte of the range.
    pub offset: u64,
    /// Bytes asked for; `None`: to the end.
    pub requested: Option<u64>,
    /// Bytes moved.
    pub bytes: u64,
    /// Start, on the storage's time source.
    pub start: Nanos,
    /// When the request was handed to a usable connection; `None` on local storage.
    pub issued: Option<Nanos>,
    /// When the last byte of the request's body was handed to the connection; `None` for requests without a body.
    pub last_byte: Option<Nanos>,
    /// First byte of the answer's body (reads), or of the answer (writes).
    pub first_byte: Option<Nanos>,
    /// End.
    pub end: Nanos,
    /// Endpoint that served it (`http://host:port`); `None` on local storage.
    pub endpoint: Option<Arc<str>>,
    /// Connection that carried it.
    pub connection: ConnectionId,
    /// Size of the whole object, where this attempt told it.
    pub object_size: Option<u64>,
    /// 0 for the first try of this request, then 1, 2, …
    pub number: u8,
    /// HTTP status, negated `errno`, or 0.
    pub status: i16,
    /// How it ended.
    pub outcome: Outcome,
}

impl Attempt {
    /// An attempt without an endpoint that started, and so far ended, at `start` and moved nothing.
    #[must_use]
    pub fn started(kind: OpKind, start: Nanos) -> Self {
        Self {
            kind,
            offset: 0,
            requested: None,
            bytes: 0,
            start,
            issued: None,
            last_byte: None,
            first_byte: None,
            end: start,
            endpoint: None,
            connection: ConnectionId::NONE,
            object_size: None,
            number: 0,
            status: 0,
            outcome: Outcome::Ok,
        }
    }
}

/// The attempts of one operation, in the order in which they started.
pub type Attempts = SmallVec<[Attempt; 1]>;

/// An operation that succeeded.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Receipt {
    /// Bytes moved by the operation as a whole.
    pub bytes: u64,
    /// Everything that was tried, failed attempts included.
    pub attempts: Attempts,
}
