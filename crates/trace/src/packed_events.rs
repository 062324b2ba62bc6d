//! Compact form of events between the lanes and the writer thread: absent fields take no space.
//!
//! Most fields of most events are absent or zero. An event takes seven 64-bit words and one more for each present field, which is
//! half the size of the [`Event`] structure. The size matters because a lane that records faster than the writer thread writes
//! pays for every page of memory.

use dlio_event::{ConnectionId, EndpointId, Event, Lane, ObjectId, OpKind, Outcome, Phase, Position, TagId};

/// Capacity of a buffer in 64-bit words, a little below the size for which allocators map new pages each time.
const WORDS: usize = 15 * 1024;
/// Size in words of an event with all fields.
const MOST: usize = 16;

/// A buffer of events in compact form.
#[derive(Debug, Default)]
pub(crate) struct PackedEvents {
    words: Vec<u64>,
    events: u64,
}

/// Optional fields, in the order of their bits in the mask and of their words.
const OFFSET: u32 = 0;
const BYTES: u32 = 1;
const REQUESTED: u32 = 2;
const SAMPLE: u32 = 3;
const DUE: u32 = 4;
const ISSUED: u32 = 5;
const LAST_BYTE: u32 = 6;
const FIRST_BYTE: u32 = 7;
const OBJECT_SIZE: u32 = 8;

impl PackedEvents {
    /// Returns an empty buffer whose pages have been touched.
    pub(crate) fn ready() -> Self {
        let mut words = vec![1; WORDS];
        words.clear();
        Self { words, events: 0 }
    }

    /// Returns an empty buffer whose pages are touched as it fills.
    pub(crate) fn with_room() -> Self {
        Self { words: Vec::with_capacity(WORDS), events: 0 }
    }

    /// Whether the buffer may lack room for one more event. A default buffer, which has no memory, is full.
    pub(crate) fn is_full(&self) -> bool {
        self.words.capacity() - self.words.len() < MOST
    }

    /// Returns the number of events.
    pub(crate) fn len(&self) -> u64 {
        self.events
    }

    /// Returns the memory that the events take, bytes.
    pub(crate) fn bytes(&self) -> u64 {
        (self.words.len() * size_of::<u64>()) as u64
    }

    pub(crate) fn clear(&mut self) {
        self.words.clear();
        self.events = 0;
    }

    /// Appends an event.
    pub(crate) fn push(&mut self, event: &Event) {
        let Position { phase, epoch, block, step, sample } = event.at;
        let some = |value: u64| (value != 0).then_some(value);
        let optional = [
            (OFFSET, some(event.offset)),
            (BYTES, some(event.bytes)),
            (REQUESTED, event.requested),
            (SAMPLE, sample),
            (DUE, event.due),
            (ISSUED, event.issued),
            (LAST_BYTE, event.last_byte),
            (FIRST_BYTE, event.first_byte),
            (OBJECT_SIZE, event.object_size),
        ];
        let mask = optional.iter().fold(0, |mask, (bit, value)| mask | u32::from(value.is_some()) << bit);
        let status = u16::from_ne_bytes(event.status.to_ne_bytes());
        self.words.extend_from_slice(&[
            halves(mask, quarter(event.endpoint.0, event.tag.0)),
            halves(
                quarter(event.lane.0, status),
                bytes([event.kind as u8, event.outcome as u8, phase as u8, event.attempt]),
            ),
            halves(event.object.0, event.connection.0),
            halves(epoch, block),
            u64::from(step),
            event.start,
            event.end,
        ]);
        for (_, value) in optional {
            self.words.extend(value);
        }
        self.events += 1;
    }

    /// Iterates over the events in the order in which they were added.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Event> + '_ {
        let mut words = self.words.iter().copied();
        std::iter::from_fn(move || {
            let (mask, labels) = split(words.next()?);
            let mut next = || words.next().unwrap_or_default();
            let ((place, kinds), (object, connection), (epoch, block)) = (split(next()), split(next()), split(next()));
            let (step, start, end) = (split(next()).1, next(), next());
            let mut optional = |bit: u32| (mask >> bit & 1 == 1).then(&mut next);
            // The order of these reads is the order of the words.
            let (offset, bytes, requested) = (optional(OFFSET), optional(BYTES), optional(REQUESTED));
            let (sample, due, issued) = (optional(SAMPLE), optional(DUE), optional(ISSUED));
            let (last_byte, first_byte) = (optional(LAST_BYTE), optional(FIRST_BYTE));
            let object_size = optional(OBJECT_SIZE);
            let ((endpoint, tag), (lane, status)) = (quarters(labels), quarters(place));
            let [kind, outcome, phase, attempt] = kinds.to_be_bytes();
            Some(Event {
                kind: known(OpKind::ALL, kind)?,
                object: ObjectId(object),
                offset: offset.unwrap_or_default(),
                requested,
                bytes: bytes.unwrap_or_default(),
                lane: Lane(lane),
                at: Position { phase: known(Phase::ALL, phase)?, epoch, block, step, sample },
                due,
                start,
                issued,
                last_byte,
                first_byte,
                end,
                endpoint: EndpointId(endpoint),
                connection: ConnectionId(connection),
                object_size,
                tag: TagId(tag),
                attempt,
                status: i16::from_ne_bytes(status.to_ne_bytes()),
                outcome: known(Outcome::ALL, outcome)?,
            })
        })
    }
}

/// Returns the value of a closed set with this number.
fn known<T: Copy>(all: &[T], number: u8) -> Option<T> {
    all.get(usize::from(number)).copied()
}

fn halves(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

fn split(word: u64) -> (u32, u32) {
    let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or_default();
    (half(word >> 32), half(word))
}

fn quarter(high: u16, low: u16) -> u32 {
    u32::from(high) << 16 | u32::from(low)
}

fn quarters(half: u32) -> (u16, u16) {
    let [a, b, c, d] = half.to_be_bytes();
    (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
}

fn bytes(all: [u8; 4]) -> u32 {
    u32::from_be_bytes(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns an event with the optional fields of the mask.
    fn event(mask: u32) -> Event {
        let field = |bit: u32| (mask >> bit & 1 == 1).then_some(u64::MAX - u64::from(bit));
        let at = Position { phase: Phase::Checkpoint, epoch: 1 << 31, block: 7, step: u32::MAX, sample: field(SAMPLE) };
        Event {
            object: ObjectId(3),
            offset: field(OFFSET).unwrap_or(0),
            requested: field(REQUESTED),
            bytes: field(BYTES).unwrap_or(0),
            due: field(DUE),
            issued: field(ISSUED),
            last_byte: field(LAST_BYTE),
            first_byte: field(FIRST_BYTE),
            object_size: field(OBJECT_SIZE),
            endpoint: EndpointId(500),
            connection: ConnectionId(u32::MAX - 1),
            tag: TagId(9),
            attempt: 255,
            status: -32_768,
            outcome: *Outcome::ALL.last().unwrap(),
            ..Event::span(*OpKind::ALL.last().unwrap(), Lane::MAIN, at, u64::MAX, 5)
        }
    }

    #[test]
    fn every_event_comes_out_as_it_went_in_whatever_it_lacks() {
        let mut packed = PackedEvents::with_room();
        let events: Vec<Event> = (0..1 << 9).map(event).collect();
        for event in &events {
            packed.push(event);
        }
        assert_eq!(packed.iter().collect::<Vec<_>>(), events);
        assert_eq!(packed.len(), 512);
        let words: usize = (0..1_u32 << 9).map(|mask| 7 + mask.count_ones() as usize).sum();
        assert_eq!(packed.bytes(), words as u64 * 8);
    }

    #[test]
    fn a_buffer_is_full_before_it_grows() {
        let mut packed = PackedEvents::ready();
        let before = packed.words.capacity();
        while !packed.is_full() {
            packed.push(&event(u32::MAX));
        }
        assert_eq!(packed.words.capacity(), before);
        assert!(packed.len() >= (WORDS / MOST - 1) as u64);
        assert!(PackedEvents::default().is_full());
    }
}
