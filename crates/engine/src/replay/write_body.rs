//! Seeded content of writes, whose beginning is generated before the write is due.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dlio_event::mix::fnv1a_64;
use dlio_format::payload::{Element, Payload, Stream};
use dlio_storage::ChunkSource;

use crate::lane_status::Halt;

/// Number of bytes of a write that are generated before it is due; the rest is generated during the write.
const READY: u64 = 1 << 20;
/// Maximum number of bytes that are generated ahead for all writes together.
const READY_IN_ALL: u64 = 64 << 20;

/// Budget of bytes that may be generated ahead.
pub(super) struct PrefillBudget(AtomicU64);

impl Default for PrefillBudget {
    fn default() -> Self {
        Self(AtomicU64::new(READY_IN_ALL))
    }
}

impl PrefillBudget {
    /// Takes up to `wanted` bytes from the budget; returns the number of bytes.
    fn take(&self, wanted: u64) -> u64 {
        let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left - left.min(wanted)));
        left.unwrap_or(0).min(wanted)
    }
}

/// Returns the number of a payload: FNV-1a of the object's key and of the offset of the piece.
fn number_of(key: &str, offset: u64) -> u64 {
    let begin = offset.to_le_bytes();
    let piece = if offset == 0 { &[][..] } else { &begin[..] };
    let bytes = key.bytes().chain(piece.iter().copied());
    fnv1a_64(bytes)
}

/// The content of a write, whose beginning is generated on creation.
pub(super) struct WriteBody {
    ready: Vec<u8>,
    taken: usize,
    rest: Stream,
    len: u64,
    halt: Halt,
    budget: Arc<PrefillBudget>,
    granted: u64,
}

impl WriteBody {
    /// Returns content of `len` bytes for an object from `offset` on, which depends on the seed, the key and the offset.
    pub(super) fn new(
        seed: u64,
        (key, offset, len): (&str, u64, u64),
        halt: Halt,
        budget: &Arc<PrefillBudget>,
    ) -> Self {
        let mut rest = Payload::new(seed).stream(number_of(key, offset), Element::Raw, len);
        let granted = budget.take(len.min(READY));
        let mut ready = vec![0; usize::try_from(granted).unwrap_or(0)];
        let made = rest.fill(&mut ready);
        ready.truncate(made);
        Self { ready, taken: 0, rest, len, halt, budget: Arc::clone(budget), granted }
    }
}

impl Drop for WriteBody {
    fn drop(&mut self) {
        self.budget.0.fetch_add(self.granted, Ordering::Relaxed);
    }
}

impl ChunkSource for WriteBody {
    fn len(&self) -> u64 {
        self.len
    }

    fn fill(&mut self, buffer: &mut [u8]) -> usize {
        if self.halt.is_set() {
            return 0;
        }
        let left = &self.ready[self.taken..];
        let count = left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&left[..count]);
        self.taken += count;
        count + self.rest.fill(&mut buffer[count..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CancelFlag;

    fn content(len: u64, budget: &Arc<PrefillBudget>) -> (Vec<u8>, usize) {
        let halt = Halt { cancel: CancelFlag::new(), released: None };
        let mut body = WriteBody::new(7, ("a", 3, len), halt, budget);
        let ready = body.ready.len();
        let mut all = vec![0; usize::try_from(len).unwrap()];
        for piece in all.chunks_mut(1000) {
            assert_eq!(body.fill(piece), piece.len());
        }
        (all, ready)
    }

    #[test]
    fn what_is_ready_is_bounded_over_all_writes_and_changes_no_byte() {
        let budget = Arc::new(PrefillBudget::default());
        let (whole, ready) = content(100_000, &budget);
        assert_eq!((ready, budget.0.load(Ordering::Relaxed)), (100_000, READY_IN_ALL));
        assert_eq!(budget.take(READY_IN_ALL - 40_000), READY_IN_ALL - 40_000);
        let (part, ready) = content(100_000, &budget);
        assert_eq!((part, ready), (whole, 40_000));
        assert_eq!(budget.0.load(Ordering::Relaxed), 40_000);
    }
}
