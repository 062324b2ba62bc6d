//! Threads that decode row groups while others look at the rows: of each rank in the order of its file.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use dlio_trace::{Error, RankTrace};

use super::kept::Kept;
use super::objects::{NO_OBJECT, hash};
use super::part::RankPart;
use super::rank::RankState;
use super::{Piece, Shared};

/// Decoded groups of a rank that may wait, per thread.
const AHEAD: usize = 2;

type Finished = (RankPart, Option<Kept>);

/// A rank whose trace is read.
struct Slot<'a> {
    index: u32,
    trace: &'a RankTrace,
    /// By group: no row of a later group ends before this; `None` for the last.
    later: Vec<Option<i64>>,
    queue: Mutex<Queue>,
    taken: Condvar,
    state: Mutex<Option<RankState>>,
    finished: Mutex<Option<Finished>>,
}

#[derive(Default)]
struct Queue {
    decoded: BTreeMap<usize, Vec<Piece>>,
    next: usize,
    busy: bool,
}

/// A thread that panicked has ended the whole: its data are not looked at again.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Reads the traces with these numbers; their results are in the same order.
pub(super) fn read(shared: &Shared<'_>, mine: &[usize]) -> Result<Vec<Finished>, Error> {
    let slots: Vec<Slot<'_>> = mine
        .iter()
        .filter_map(|index| shared.traces.get(*index).map(|trace| (*index, trace)))
        .map(|(index, trace)| Slot {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            trace,
            later: later(trace),
            queue: Mutex::default(),
            taken: Condvar::new(),
            state: Mutex::default(),
            finished: Mutex::default(),
        })
        .collect();
    let workers = threads();
    let jobs = jobs(&slots, workers);
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let failure: Mutex<Option<Error>> = Mutex::default();
    let work = || {
        while let Some((slot, group)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if failed.load(Ordering::Relaxed) {
                return;
            }
            match decode(slots[*slot].trace, *group) {
                Ok(pieces) => slots[*slot].submit((*group, pieces), shared, AHEAD * workers),
                Err(error) => {
                    failed.store(true, Ordering::Relaxed);
                    lock(&failure).get_or_insert(error);
                    for slot in &slots {
                        slot.taken.notify_all();
                    }
                    return;
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    if let Some(error) = lock(&failure).take() {
        return Err(error);
    }
    let finish = |slot: Slot<'_>| {
        let finished = lock(&slot.finished).take();
        finished.unwrap_or_else(|| RankState::new(slot.index, slot.trace, shared).finish(shared))
    };
    Ok(slots.into_iter().map(finish).collect())
}

/// By group: no row of a later group ends before this.
fn later(trace: &RankTrace) -> Vec<Option<i64>> {
    let mut least = None;
    let mut later: Vec<Option<i64>> = (0..trace.groups())
        .rev()
        .map(|group| {
            let this = trace.first_end(group).unwrap_or(i64::MIN);
            let after = least;
            least = Some(least.map_or(this, |least: i64| least.min(this)));
            after
        })
        .collect();
    later.reverse();
    later
}

/// As many ranks at a time as there are threads, group by group.
fn jobs(slots: &[Slot<'_>], workers: usize) -> Vec<(usize, usize)> {
    let mut jobs = Vec::new();
    let numbers: Vec<usize> = (0..slots.len()).collect();
    for together in numbers.chunks(workers.max(1)) {
        let most = together.iter().map(|slot| slots[*slot].trace.groups()).max().unwrap_or(0);
        for group in 0..most {
            jobs.extend(together.iter().filter(|slot| group < slots[**slot].trace.groups()).map(|slot| (*slot, group)));
        }
    }
    jobs
}

fn decode(trace: &RankTrace, group: usize) -> Result<Vec<Piece>, Error> {
    let pieces = trace.rows(group)?.into_iter().map(|rows| {
        let mut known = vec![NO_OBJECT; rows.object.count()];
        let object = |row: usize| {
            let Some(key) = rows.object.key(row) else { return NO_OBJECT };
            if known[key] == NO_OBJECT {
                known[key] = rows.object.value(key).map_or(NO_OBJECT, hash);
            }
            known[key]
        };
        let objects = (0..rows.len()).map(object).collect();
        Piece { rows, objects }
    });
    Ok(pieces.collect())
}

impl Slot<'_> {
    /// Hands over a decoded group, and looks at all rows whose turn it is unless another thread does so.
    fn submit(&self, (group, pieces): (usize, Vec<Piece>), shared: &Shared<'_>, ahead: usize) {
        let mut queue = lock(&self.queue);
        queue.decoded.insert(group, pieces);
        while queue.busy && queue.decoded.len() > ahead {
            queue = self.taken.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if queue.busy {
            return;
        }
        queue.busy = true;
        loop {
            let turn = queue.next;
            let Some(pieces) = queue.decoded.remove(&turn) else { break };
            queue.next += 1;
            drop(queue);
            self.taken.notify_all();
            self.consume(turn, &pieces, shared);
            drop(pieces);
            queue = lock(&self.queue);
        }
        queue.busy = false;
        self.taken.notify_all();
    }

    fn consume(&self, group: usize, pieces: &[Piece], shared: &Shared<'_>) {
        let mut state = lock(&self.state);
        let rank = state.get_or_insert_with(|| RankState::new(self.index, self.trace, shared));
        let later = self.later.get(group).copied().flatten();
        rank.consume(u32::try_from(group).unwrap_or(u32::MAX), pieces, later, shared);
        if group + 1 == self.trace.groups()
            && let Some(rank) = state.take()
        {
            *lock(&self.finished) = Some(rank.finish(shared));
        }
    }
}

/// Does the same with each item, on as many threads as there are processors; the results are in the order of the items.
pub(super) fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done: Mutex<BTreeMap<usize, R>> = Mutex::default();
    let run = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return };
            let result = work(item);
            lock(&done).insert(at, result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads().min(items.len()) {
            scope.spawn(run);
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.into_values().collect()
}
