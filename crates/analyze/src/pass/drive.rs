//! Threads that read row groups. Rows are looked at in the order of each rank's file: a thread that finds a rank whose turn
//! nobody has takes its next group, and looks at each piece as soon as it is decoded. Where there are fewer ranks than threads,
//! the others decode groups ahead.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use dlio_trace::{Error, NameColumn, RankTrace, Rows};

use super::digest::{Digest, Register, Totals};
use super::kept::Kept;
use super::objects::{NO_OBJECT, hash};
use super::part::{Exchanged, RankPart};
use super::rank::{Later, RankState};
use super::tally::ObjectReads;
use super::{Piece, Shared};

/// Groups of a rank that may be decoded ahead.
const AHEAD: usize = 2;

/// What a rank comes to.
pub(super) struct Finished {
    pub(super) part: RankPart,
    pub(super) exchanged: Exchanged,
    pub(super) reads: ObjectReads,
    pub(super) kept: Option<Kept>,
}

/// A rank whose trace is read.
struct Slot<'a> {
    index: u32,
    trace: &'a RankTrace,
    later: Vec<Later>,
    register: Register,
    /// Of the threads that have read a group, and are not at it.
    totals: Mutex<Vec<Totals>>,
    state: Mutex<Option<RankState>>,
    finished: Mutex<Option<Finished>>,
}

/// How far a rank has come.
#[derive(Default)]
struct Progress {
    groups: usize,
    /// The group whose turn it is, whether a thread looks at it, and the first that nobody has decoded or is decoding.
    turn: usize,
    taken: bool,
    next: usize,
    ahead: BTreeMap<usize, Decoded>,
}

#[derive(Default)]
struct Schedule {
    ranks: Vec<Progress>,
    failure: Option<Error>,
    /// A thread has panicked.
    broken: bool,
}

/// A row group that was decoded ahead.
struct Decoded {
    pieces: Vec<Piece>,
    digest: Digest,
}

/// What a thread does next.
enum Job {
    /// Read the group whose turn it is.
    Read(usize, usize),
    /// Decode a later group.
    Decode(usize, usize),
    /// Look at a decoded group whose turn it is.
    Look(usize, usize, Box<Decoded>),
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
            register: Register::default(),
            totals: Mutex::default(),
            state: Mutex::default(),
            finished: Mutex::default(),
        })
        .collect();
    let ranks = slots.iter().map(|slot| Progress { groups: slot.trace.groups(), ..Progress::default() }).collect();
    let workers = threads();
    let crew =
        Crew { workers, schedule: Mutex::new(Schedule { ranks, ..Schedule::default() }), changed: Condvar::new() };
    std::thread::scope(|scope| {
        // This thread works, too; where no others can be started, it does everything.
        for _ in 1..workers {
            let _ = worker().spawn_scoped(scope, || crew.work(&slots, shared));
        }
        crew.work(&slots, shared);
    });
    if let Some(error) = lock(&crew.schedule).failure.take() {
        return Err(error);
    }
    let finish = |slot: Slot<'_>| {
        let finished = lock(&slot.finished).take();
        finished.unwrap_or_else(|| slot.finish(RankState::new(slot.index, slot.trace, shared), shared))
    };
    Ok(slots.into_iter().map(finish).collect())
}

/// The threads that share the work.
struct Crew {
    workers: usize,
    schedule: Mutex<Schedule>,
    changed: Condvar,
}

impl Crew {
    fn work(&self, slots: &[Slot<'_>], shared: &Shared<'_>) {
        let _leaving = Leaving(self);
        let mut decoder = Decoder::default();
        while let Some(job) = self.job() {
            let done = match job {
                Job::Read(rank, group) => slots[rank].read(group, &mut decoder, shared).map(|()| (rank, None)),
                Job::Decode(rank, group) => {
                    slots[rank].decode(group, &mut decoder, shared).map(|done| (rank, Some((group, done))))
                }
                Job::Look(rank, group, ahead) => {
                    slots[rank].look(group, *ahead, shared);
                    Ok((rank, None))
                }
            };
            let mut schedule = lock(&self.schedule);
            match done {
                Ok((rank, Some((group, done)))) => {
                    schedule.ranks[rank].ahead.insert(group, done);
                }
                Ok((rank, None)) => {
                    schedule.ranks[rank].turn += 1;
                    schedule.ranks[rank].taken = false;
                }
                Err(error) => {
                    schedule.failure.get_or_insert(error);
                }
            }
            drop(schedule);
            self.changed.notify_all();
        }
    }

    /// Waits for something to do; `None`: everything is done, or something failed.
    fn job(&self) -> Option<Job> {
        let mut schedule = lock(&self.schedule);
        loop {
            if schedule.failure.is_some() || schedule.broken {
                return None;
            }
            let open =
                || (0..schedule.ranks.len()).filter(|rank| schedule.ranks[*rank].turn < schedule.ranks[*rank].groups);
            // As many ranks at a time as there are threads: each has some memory.
            let active: Vec<usize> = open().take(self.workers).collect();
            if active.is_empty() {
                return None;
            }
            for rank in &active {
                let progress = &mut schedule.ranks[*rank];
                let turn = progress.turn;
                if progress.taken || (progress.next > turn && !progress.ahead.contains_key(&turn)) {
                    continue;
                }
                progress.taken = true;
                progress.next = progress.next.max(turn + 1);
                return Some(match progress.ahead.remove(&turn) {
                    Some(decoded) => Job::Look(*rank, turn, Box::new(decoded)),
                    None => Job::Read(*rank, turn),
                });
            }
            for rank in &active {
                let progress = &mut schedule.ranks[*rank];
                if progress.next < progress.groups && progress.next <= progress.turn + AHEAD {
                    progress.next += 1;
                    return Some(Job::Decode(*rank, progress.next - 1));
                }
            }
            schedule = self.changed.wait(schedule).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The others do not wait for what a thread that panicked would have done.
struct Leaving<'a>(&'a Crew);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(&self.0.schedule).broken = true;
            self.0.changed.notify_all();
        }
    }
}

/// By group: when what comes after it ends and begins at the earliest.
fn later(trace: &RankTrace) -> Vec<Later> {
    let mut least = Later::default();
    let earliest = |one: Option<i64>, other: Option<i64>| {
        let other = other.unwrap_or(i64::MIN);
        Some(one.map_or(other, |one| one.min(other)))
    };
    let mut later: Vec<Later> = (0..trace.groups())
        .rev()
        .map(|group| {
            let after = least;
            let (starts, ends) = (trace.first_start(group), trace.first_end(group));
            least = Later { ends: earliest(least.ends, ends), starts: earliest(least.starts, starts) };
            after
        })
        .collect();
    later.reverse();
    later
}

/// What a thread keeps while it decodes.
struct Decoder {
    piece: Piece,
    hashes: Hashes,
}

/// Hashes of the names that pieces of a column share.
struct Hashes {
    names: NameColumn,
    known: Vec<u64>,
}

impl Default for Decoder {
    fn default() -> Self {
        let piece = Piece { rows: Rows::empty(), objects: Vec::new(), endpoints: Vec::new() };
        Self { hashes: Hashes { names: piece.rows.object.without_rows(), known: Vec::new() }, piece }
    }
}

impl Decoder {
    /// The rows have been read: the hash of each row's object, and the numbers of endpoints.
    fn complete(&mut self, register: &Register) {
        let Piece { rows, objects, endpoints } = &mut self.piece;
        let Hashes { names, known } = &mut self.hashes;
        if !names.numbered_like(&rows.object) {
            *names = rows.object.without_rows();
            known.clear();
            known.resize(names.count(), NO_OBJECT);
        }
        objects.clear();
        objects.extend((0..rows.len()).map(|row| {
            let Some(key) = rows.object.key(row) else { return NO_OBJECT };
            if known[key] == NO_OBJECT {
                known[key] = names.value(key).map_or(NO_OBJECT, hash);
            }
            known[key]
        }));
        *endpoints = register.endpoints(rows);
    }
}

impl Slot<'_> {
    /// Reads the group whose turn it is.
    fn read(&self, group: usize, decoder: &mut Decoder, shared: &Shared<'_>) -> Result<(), Error> {
        let mut rows = self.trace.rows(group)?;
        let mut state = lock(&self.state);
        let rank = state.get_or_insert_with(|| RankState::new(self.index, self.trace, shared));
        let mut totals = lock(&self.totals).pop().unwrap_or_default();
        let mut digest = Digest::new(self.trace.rows_of(group), shared.keep);
        while rows.read(&mut decoder.piece.rows)? {
            decoder.complete(&self.register);
            totals.add(&decoder.piece, &self.register, (&mut digest, shared));
            rank.rows(number(group), &decoder.piece, shared);
        }
        lock(&self.totals).push(totals);
        digest.close();
        rank.group_over(digest, self.later[group], shared);
        self.rank_over(group, &mut state, shared);
        Ok(())
    }

    /// Decodes a group whose turn will come.
    fn decode(&self, group: usize, decoder: &mut Decoder, shared: &Shared<'_>) -> Result<Decoded, Error> {
        let mut rows = self.trace.rows(group)?;
        let mut totals = lock(&self.totals).pop().unwrap_or_default();
        let mut digest = Digest::new(self.trace.rows_of(group), shared.keep);
        let mut pieces = Vec::new();
        while rows.read(&mut decoder.piece.rows)? {
            decoder.complete(&self.register);
            totals.add(&decoder.piece, &self.register, (&mut digest, shared));
            let next = Piece { rows: Rows::empty(), objects: Vec::new(), endpoints: Vec::new() };
            pieces.push(std::mem::replace(&mut decoder.piece, next));
        }
        lock(&self.totals).push(totals);
        digest.close();
        Ok(Decoded { pieces, digest })
    }

    /// Looks at a decoded group whose turn it is.
    fn look(&self, group: usize, decoded: Decoded, shared: &Shared<'_>) {
        let mut state = lock(&self.state);
        let rank = state.get_or_insert_with(|| RankState::new(self.index, self.trace, shared));
        for piece in &decoded.pieces {
            rank.rows(number(group), piece, shared);
        }
        rank.group_over(decoded.digest, self.later[group], shared);
        self.rank_over(group, &mut state, shared);
    }

    fn rank_over(&self, group: usize, state: &mut Option<RankState>, shared: &Shared<'_>) {
        if group + 1 == self.trace.groups()
            && let Some(rank) = state.take()
        {
            *lock(&self.finished) = Some(self.finish(rank, shared));
        }
    }

    /// All groups have been looked at, so no thread is at one.
    fn finish(&self, rank: RankState, shared: &Shared<'_>) -> Finished {
        let (mut part, groups, reads) = rank.finish(shared);
        let mut totals = Totals::default();
        for of_thread in lock(&self.totals).drain(..) {
            totals.merge(&of_thread);
        }
        let registered = self.register.take();
        let exchanged = totals.finish(&registered, &mut part);
        let (classes, endpoints) = (registered.classes, registered.endpoints);
        let kept = shared.keep.then_some(Kept { groups, classes, endpoints });
        Finished { part, exchanged, reads, kept }
    }
}

fn number(group: usize) -> u32 {
    u32::try_from(group).unwrap_or(u32::MAX)
}

/// Does the same with each item, on as many threads as there are processors; each thread has a result of its own.
pub(crate) fn fold<T: Sync, R: Send + Default>(items: &[T], work: impl Fn(&T, &mut R) + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let run = || {
        let mut result = R::default();
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(item, &mut result);
        }
        result
    };
    std::thread::scope(|scope| {
        // This thread works, too; where no others can be started, it does everything.
        let others = 1..threads().min(items.len());
        let threads: Vec<_> = others.filter_map(|_| worker().spawn_scoped(scope, run).ok()).collect();
        let mine = run();
        // A thread that panicked has said so; the process ends with its message.
        std::iter::once(mine).chain(threads.into_iter().filter_map(|thread| thread.join().ok())).collect()
    })
}

fn worker() -> std::thread::Builder {
    std::thread::Builder::new().name("analysis".to_owned())
}
