//! Conversion of attempts to trace events.

use std::sync::Arc;

use dlio_event::{EndpointId, Event, EventSink, Lane, ObjectId, Position, TagId};

use crate::Attempts;

/// Records the attempts of a lane's operations as events, and looks up each endpoint name once.
pub struct Recorder {
    sink: Arc<dyn EventSink>,
    lane: Lane,
    /// Endpoints seen so far, the last used first; at most as many as the storage has.
    endpoints: Vec<(Arc<str>, EndpointId)>,
}

impl Recorder {
    /// Returns a recorder of the operations of `lane` into `sink`.
    #[must_use]
    pub fn new(sink: Arc<dyn EventSink>, lane: Lane) -> Self {
        Self { sink, lane, endpoints: Vec::new() }
    }

    /// Records one event per attempt of an operation on `object` at the position `at` of the run.
    pub fn record(&mut self, attempts: &Attempts, object: ObjectId, at: Position) {
        let Self { sink, lane, endpoints } = self;
        for_each(attempts, object, *lane, at, |event, endpoint| {
            let endpoint = endpoint.map_or(EndpointId::NONE, |name| known(endpoints, &**sink, name));
            sink.record(Event { endpoint, ..event });
        });
    }
}

fn known(endpoints: &mut Vec<(Arc<str>, EndpointId)>, sink: &dyn EventSink, name: &Arc<str>) -> EndpointId {
    match endpoints.iter().position(|(known, _)| Arc::ptr_eq(known, name) || known == name) {
        Some(0) => {}
        Some(index) => endpoints.swap(0, index),
        None => endpoints.insert(0, (Arc::clone(name), sink.endpoint(name))),
    }
    endpoints[0].1
}

/// Records one event per attempt. A caller with many operations uses a [`Recorder`] instead, which remembers endpoints between
/// operations.
pub fn record_attempts(sink: &dyn EventSink, attempts: &Attempts, object: ObjectId, lane: Lane, at: Position) {
    let mut endpoints = Vec::new();
    for_each(attempts, object, lane, at, |event, endpoint| {
        let endpoint = endpoint.map_or(EndpointId::NONE, |name| known(&mut endpoints, sink, name));
        sink.record(Event { endpoint, ..event });
    });
}

fn for_each(
    attempts: &Attempts,
    object: ObjectId,
    lane: Lane,
    at: Position,
    mut take: impl FnMut(Event, Option<&Arc<str>>),
) {
    for attempt in attempts {
        let event = Event {
            kind: attempt.kind,
            object,
            offset: attempt.offset,
            requested: attempt.requested,
            bytes: attempt.bytes,
            lane,
            at,
            due: None,
            start: attempt.start,
            issued: attempt.issued,
            last_byte: attempt.last_byte,
            first_byte: attempt.first_byte,
            end: attempt.end,
            endpoint: EndpointId::NONE,
            connection: attempt.connection,
            object_size: attempt.object_size,
            tag: TagId::NONE,
            attempt: attempt.number,
            status: attempt.status,
            outcome: attempt.outcome,
        };
        take(event, attempt.endpoint.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dlio_event::{CollectingSink, EndpointId, EventSink, Lane, OpKind, Outcome, Phase, Position};

    use super::{Recorder, record_attempts};
    use crate::{Attempt, Attempts};

    fn attempts() -> Attempts {
        let endpoint = |name: &str| Some(Arc::<str>::from(name));
        let failed = Attempt {
            endpoint: endpoint("http://b:9000"),
            status: 503,
            outcome: Outcome::Throttled,
            ..Attempt::started(OpKind::GetRange, 5)
        };
        let done = Attempt {
            offset: 4096,
            requested: Some(100),
            bytes: 100,
            first_byte: Some(17),
            end: 20,
            number: 1,
            status: 206,
            endpoint: endpoint("http://a:9000"),
            ..Attempt::started(OpKind::GetRange, 10)
        };
        Attempts::from_iter([failed, done.clone(), Attempt { endpoint: None, ..done }])
    }

    #[test]
    fn every_attempt_becomes_one_event_with_all_that_it_knew() {
        let sink = Arc::new(CollectingSink::default());
        let object = sink.object("train/a.npz");
        let at = Position { phase: Phase::Train, epoch: 1, step: 3, ..Position::default() };
        let mut recorder = Recorder::new(Arc::clone(&sink) as Arc<dyn EventSink>, Lane(2));
        recorder.record(&attempts(), object, at);
        recorder.record(&attempts(), object, at);
        record_attempts(&*sink, &attempts(), object, Lane(2), at);
        let events = sink.events();
        assert_eq!(events.len(), 9);
        assert_eq!(events[0..3], events[3..6]);
        assert_eq!(events[0..3], events[6..9]);
        assert_eq!((events[0].status, events[0].outcome, events[0].attempt), (503, Outcome::Throttled, 0));
        let second = events[1];
        assert_eq!((second.offset, second.requested, second.bytes), (4096, Some(100), 100));
        assert_eq!((second.start, second.first_byte, second.end, second.attempt), (10, Some(17), 20, 1));
        assert_eq!((second.object, second.lane, second.at), (object, Lane(2), at));
        assert_eq!(sink.endpoint_name(events[0].endpoint).as_deref(), Some("http://b:9000"));
        assert_eq!(sink.endpoint_name(second.endpoint).as_deref(), Some("http://a:9000"));
        assert_eq!(events[2].endpoint, EndpointId::NONE);
    }
}
