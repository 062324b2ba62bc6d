//! The destination of events.

use std::sync::Mutex;

use crate::{EndpointId, Event, ObjectId, TagId};

/// Receives the events of all lanes of one rank.
///
/// Recording is on the measured path: an implementation appends to memory and returns. It never drops an event silently
/// and never blocks on I/O.
pub trait EventSink: Send + Sync {
    /// Returns the identifier of an object name; equal names have equal identifiers.
    fn object(&self, name: &str) -> ObjectId;
    /// Returns the identifier of an endpoint name (`http://host:port`).
    fn endpoint(&self, name: &str) -> EndpointId;
    /// Returns the identifier of a label.
    fn tag(&self, name: &str) -> TagId;
    /// Records one event.
    fn record(&self, event: Event);
}

/// An [`EventSink`] that discards every event, for runs without a trace.
#[derive(Debug, Default, Clone, Copy)]
pub struct NullSink;

impl EventSink for NullSink {
    fn object(&self, _name: &str) -> ObjectId {
        ObjectId::NONE
    }

    fn endpoint(&self, _name: &str) -> EndpointId {
        EndpointId::NONE
    }

    fn tag(&self, _name: &str) -> TagId {
        TagId::NONE
    }

    fn record(&self, _event: Event) {}
}

/// An [`EventSink`] that keeps every event in memory, for tests and small runs.
#[derive(Debug, Default)]
pub struct CollectingSink {
    inner: Mutex<Collected>,
}

#[derive(Debug, Default)]
struct Collected {
    events: Vec<Event>,
    objects: Vec<String>,
    endpoints: Vec<String>,
    tags: Vec<String>,
}

impl CollectingSink {
    /// Returns a copy of the events so far, in the order in which they were recorded.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.lock().events.clone()
    }

    /// Returns the object name with this identifier.
    #[must_use]
    pub fn object_name(&self, id: ObjectId) -> Option<String> {
        self.lock().objects.get(id.0 as usize).cloned()
    }

    /// Returns the endpoint name with this identifier.
    #[must_use]
    pub fn endpoint_name(&self, id: EndpointId) -> Option<String> {
        self.lock().endpoints.get(usize::from(id.0)).cloned()
    }

    /// Returns the label with this identifier.
    #[must_use]
    pub fn tag_name(&self, id: TagId) -> Option<String> {
        self.lock().tags.get(usize::from(id.0)).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Collected> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn intern(names: &mut Vec<String>, name: &str) -> usize {
    names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    })
}

impl EventSink for CollectingSink {
    fn object(&self, name: &str) -> ObjectId {
        ObjectId(u32::try_from(intern(&mut self.lock().objects, name)).unwrap_or(u32::MAX))
    }

    fn endpoint(&self, name: &str) -> EndpointId {
        EndpointId(u16::try_from(intern(&mut self.lock().endpoints, name)).unwrap_or(u16::MAX))
    }

    fn tag(&self, name: &str) -> TagId {
        TagId(u16::try_from(intern(&mut self.lock().tags, name)).unwrap_or(u16::MAX))
    }

    fn record(&self, event: Event) {
        self.lock().events.push(event);
    }
}
