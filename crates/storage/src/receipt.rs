//! Records of operations: one [`Attempt`] per request or group of system calls, from which traces are made.

use std::sync::Arc;

use dlio_event::{ConnectionId, Nanos, OpKind, Outcome};
use smallvec::SmallVec;

/// One attempt: a single HTTP request with its response, or one group of system calls on a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Kind of operation.
    pub kind: OpKind,
    /// Offset of the first byte.
    pub offset: u64,
    /// Requested number of bytes; `None` means up to the end of the object.
    pub requested: Option<u64>,
    /// Number of bytes transferred.
    pub bytes: u64,
    /// Start, in nanoseconds of the storage's time source.
    pub start: Nanos,
    /// Time at which the request was written to a usable connection; `None` on local storage.
    pub issued: Option<Nanos>,
    /// Time at which the last byte of the request's body was written to the connection; `None` for requests without a body.
    pub last_byte: Option<Nanos>,
    /// Time of the first byte of the response body (reads) or of the response (writes).
    pub first_byte: Option<Nanos>,
    /// End, in nanoseconds of the storage's time source.
    pub end: Nanos,
    /// Endpoint that served the request (`http://host:port`); `None` on local storage.
    pub endpoint: Option<Arc<str>>,
    /// Connection that carried the request.
    pub connection: ConnectionId,
    /// Size of the whole object in bytes, if this attempt reported it.
    pub object_size: Option<u64>,
    /// Number of the attempt: 0 for the first, then 1, 2, …
    pub number: u8,
    /// HTTP status, or negated `errno`, or 0.
    pub status: i16,
    /// Outcome of the attempt.
    pub outcome: Outcome,
}

impl Attempt {
    /// Returns an attempt without an endpoint that starts and ends at `start` and transfers no bytes.
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

/// Attempts of one operation in order of their start.
pub type Attempts = SmallVec<[Attempt; 1]>;

/// A successful operation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Receipt {
    /// Number of bytes that the whole operation transferred.
    pub bytes: u64,
    /// All attempts, including failed ones.
    pub attempts: Attempts,
}
