//! Where events go.

use std::sync::Mutex;

use crate::{EndpointId, Event, ObjectId, TagId};

/// Receives the events of one rank from all its lanes.
///
/// Recording is on the measured path: an implementation appends to memory and returns. It never drops an event
/// silently and never blocks for I/O.
pub trait EventSink: Send + Sync {
    /// The number of an object name; the same name always gets the same number.
    fn object(&self, name: &str) -> ObjectId;
    /// The number of an endpoint name (`http://host:port`).
    fn endpoint(&self, name: &str) -> EndpointId;
    /// The number of a label.
    fn tag(&self, name: &str) -> TagId;
    /// Takes one event.
    fn record(&self, event: Event);
}

/// Discards every event: for runs without a trace.
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

/// Keeps every event in memory: for tests and small runs.
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
    /// A copy of the events so far, in the order in which they were recorded.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.lock().events.clone()
    }

    /// The name behind an object number.
    #[must_use]
    pub fn object_name(&self, id: ObjectId) -> Option<String> {
        self.lock().objects.get(id.0 as usize).cloned()
    }

    /// The name behind an endpoint number.
    #[must_use]
    pub fn endpoint_name(&self, id: EndpointId) -> Option<String> {
        self.lock().endpoints.get(usize::from(id.0)).cloned()
    }

    /// The name behind a label's number.
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
