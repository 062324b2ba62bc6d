//! Identifiers of ranks, lanes, names and connections in events.

/// An MPI rank. A rank is one process, and one simulated accelerator in the `dlio` dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank(pub u32);

impl std::fmt::Display for Rank {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A reader lane within one rank, which is a data loader worker in the reference. [`Lane::MAIN`] is the training loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub u16);

impl Lane {
    /// The training loop, which computes, waits at barriers, and reads if `read_threads` is 0.
    pub const MAIN: Lane = Lane(u16::MAX);
}

/// Identifier of an object name, assigned by an [`EventSink`](crate::EventSink). The trace stores each name once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub u32);

impl ObjectId {
    /// The event has no object, for example a span or a barrier.
    pub const NONE: ObjectId = ObjectId(u32::MAX);
}

/// Identifier of an endpoint name, assigned by an [`EventSink`](crate::EventSink).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub u16);

impl EndpointId {
    /// The event has no endpoint: it uses local storage or is not a storage operation.
    pub const NONE: EndpointId = EndpointId(u16::MAX);
}

/// Identifier of a label, assigned by an [`EventSink`](crate::EventSink).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagId(pub u16);

impl TagId {
    /// The event has no label.
    pub const NONE: TagId = TagId(u16::MAX);
}

/// Identifier of a connection from one process to one endpoint. Identifiers increase in the order in which connections
/// are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u32);

impl ConnectionId {
    /// The event has no connection because it uses local storage, or its connection is unknown.
    pub const NONE: ConnectionId = ConnectionId(u32::MAX);
}
