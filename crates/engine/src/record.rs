//! Storage attempts become events.

use dlio_event::{EndpointId, Event, EventSink, Lane, ObjectId, Position};
use dlio_storage::Attempts;

/// Who did something, where in the run, and to which object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doer {
    pub(crate) lane: Lane,
    pub(crate) at: Position,
    pub(crate) object: ObjectId,
}

/// Records every attempt of an operation.
pub(crate) fn attempts(events: &dyn EventSink, doer: Doer, attempts: &Attempts) {
    for attempt in attempts {
        let endpoint = attempt.endpoint.as_deref().map_or(EndpointId::NONE, |name| events.endpoint(name));
        events.record(Event {
            kind: attempt.kind,
            object: doer.object,
            offset: attempt.offset,
            requested: attempt.requested,
            bytes: attempt.bytes,
            lane: doer.lane,
            at: doer.at,
            due: None,
            start: attempt.start,
            first_byte: attempt.first_byte,
            end: attempt.end,
            endpoint,
            attempt: attempt.number,
            status: attempt.status,
            outcome: attempt.outcome,
        });
    }
}
