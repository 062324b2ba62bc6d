//! Numbers that stand for ranks, lanes, names and connections in events.

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
