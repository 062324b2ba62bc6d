//! Scheduler of the threads that read row groups. Rows are processed in the order of each rank's file: a thread takes
//! the next group of a rank that no other thread is processing, and processes each batch right after decoding. If there
//! are fewer ranks than threads, the other threads decode groups in advance.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use dlio_trace::{Error, NameColumn, RankTrace, Rows};

use super::context::{PassContext, RowBatch};
use super::object_reads::ObjectReads;
use super::objects::{NO_OBJECT, hash};
use super::rank_state::{RankState, Watermarks};
use super::rank_stats::{IoTotals, RankStats};
use super::retained_rows::RetainedRows;
use super::row_group_stats::{ClassRegistry, RankTotals, RowGroupStats};
use crate::threads::{threads, worker};

/// Number of groups of a rank that may be decoded in advance.
const AHEAD: usize = 2;

/// Result of one rank.
pub(super) struct RankResult {
    pub(super) part: RankStats,
    pub(super) io: IoTotals,
    pub(super) reads: ObjectReads,
    pub(super) retained: Option<RetainedRows>,
}

/// Task of reading the trace of one rank.
struct RankTask<'a> {
    index: u32,
    trace: &'a RankTrace,
    later: Vec<Watermarks>,
    classes: ClassRegistry,
    /// Totals of threads that have read a group and are not reading now.
    totals: Mutex<Vec<RankTotals>>,
    state: Mutex<Option<RankState>>,
    finished: Mutex<Option<RankResult>>,
}

/// Progress of a rank.
#[derive(Default)]
struct Progress {
    groups: usize,
    /// Next group to process, whether a thread is processing it, and the first group that no thread has begun to
    /// decode.
    turn: usize,
    taken: bool,
    next: usize,
    ahead: BTreeMap<usize, DecodedGroup>,
}

#[derive(Default)]
struct Schedule {
    ranks: Vec<Progress>,
    failure: Option<Error>,
    /// Whether a thread has panicked.
    broken: bool,
}

/// A row group that was decoded in advance.
struct DecodedGroup {
    batches: Vec<RowBatch>,
    stats: RowGroupStats,
}

/// Next job of a thread.
enum Job {
    /// Read and process the next group of a rank.
    Read(usize, usize),
    /// Decode a later group in advance.
    Decode(usize, usize),
    /// Process a decoded group.
    Process(usize, usize, Box<DecodedGroup>),
}

/// A panic ends the whole analysis, so that data of the panicked thread are never used.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the traces with the given numbers, and returns their results in the same order.
pub(super) fn read(context: &PassContext<'_>, mine: &[usize]) -> Result<Vec<RankResult>, Error> {
    let tasks: Vec<RankTask<'_>> = mine
        .iter()
        .filter_map(|index| context.traces.get(*index).map(|trace| (*index, trace)))
        .map(|(index, trace)| RankTask {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            trace,
            later: later(trace),
            classes: ClassRegistry::default(),
            totals: Mutex::default(),
            state: Mutex::default(),
            finished: Mutex::default(),
        })
        .collect();
    let ranks = tasks.iter().map(|task| Progress { groups: task.trace.groups(), ..Progress::default() }).collect();
    let workers = threads();
    let scheduler =
        Scheduler { workers, schedule: Mutex::new(Schedule { ranks, ..Schedule::default() }), changed: Condvar::new() };
    std::thread::scope(|scope| {
        // This thread takes part, so that the work gets done even if no other thread can be started.
        for _ in 1..workers {
            let _ = worker().spawn_scoped(scope, || scheduler.work(&tasks, context));
        }
        scheduler.work(&tasks, context);
    });
    if let Some(error) = lock(&scheduler.schedule).failure.take() {
        return Err(error);
    }
    let finish = |task: RankTask<'_>| {
        let finished = lock(&task.finished).take();
        finished.unwrap_or_else(|| task.finish(RankState::new(task.index, task.trace, context), context))
    };
    Ok(tasks.into_iter().map(finish).collect())
}

/// The threads of an analysis, and the state that they share.
struct Scheduler {
    workers: usize,
    schedule: Mutex<Schedule>,
    changed: Condvar,
}

impl Scheduler {
    fn work(&self, tasks: &[RankTask<'_>], context: &PassContext<'_>) {
        let _leaving = PanicGuard(self);
        let mut decoder = Decoder::default();
        while let Some(job) = self.job() {
            let done = match job {
                Job::Read(rank, group) => tasks[rank].read(group, &mut decoder, context).map(|()| (rank, None)),
                Job::Decode(rank, group) => {
                    tasks[rank].decode(group, &mut decoder, context).map(|done| (rank, Some((group, done))))
                }
                Job::Process(rank, group, ahead) => {
                    tasks[rank].process(group, *ahead, context);
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

    /// Waits for a job. Returns `None` when all jobs are done or one has failed.
    fn job(&self) -> Option<Job> {
        let mut schedule = lock(&self.schedule);
        loop {
            if schedule.failure.is_some() || schedule.broken {
                return None;
            }
            let open =
                || (0..schedule.ranks.len()).filter(|rank| schedule.ranks[*rank].turn < schedule.ranks[*rank].groups);
            // At most as many ranks as threads are in progress, to bound memory.
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
                    Some(decoded) => Job::Process(*rank, turn, Box::new(decoded)),
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

/// Stops the other threads if this one panics, so that they do not wait for it.
struct PanicGuard<'a>(&'a Scheduler);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(&self.0.schedule).broken = true;
            self.0.changed.notify_all();
        }
    }
}

/// Returns, for each group, the earliest end and start of all later groups.
fn later(trace: &RankTrace) -> Vec<Watermarks> {
    let mut least = Watermarks::default();
    let earliest = |one: Option<i64>, other: Option<i64>| {
        let other = other.unwrap_or(i64::MIN);
        Some(one.map_or(other, |one| one.min(other)))
    };
    let mut later: Vec<Watermarks> = (0..trace.groups())
        .rev()
        .map(|group| {
            let after = least;
            let (starts, ends) = (trace.first_start(group), trace.first_end(group));
            least = Watermarks { ends: earliest(least.ends, ends), starts: earliest(least.starts, starts) };
            after
        })
        .collect();
    later.reverse();
    later
}

/// Decoding buffers of a thread.
struct Decoder {
    batch: RowBatch,
    hashes: NameHashes,
}

/// Hashes of the names that batches of a column share.
struct NameHashes {
    names: NameColumn,
    known: Vec<u64>,
}

impl Default for Decoder {
    fn default() -> Self {
        let batch = RowBatch { rows: Rows::empty(), objects: Vec::new(), endpoints: Vec::new() };
        Self { hashes: NameHashes { names: batch.rows.object.without_rows(), known: Vec::new() }, batch }
    }
}

impl Decoder {
    /// Fills in the hash of each row's object and the numbers of endpoints, after the rows have been read.
    fn complete(&mut self, register: &ClassRegistry) {
        let RowBatch { rows, objects, endpoints } = &mut self.batch;
        let NameHashes { names, known } = &mut self.hashes;
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

impl RankTask<'_> {
    /// Reads and processes the next group.
    fn read(&self, group: usize, decoder: &mut Decoder, context: &PassContext<'_>) -> Result<(), Error> {
        let mut rows = self.trace.rows(group)?;
        let mut state = lock(&self.state);
        let rank = state.get_or_insert_with(|| RankState::new(self.index, self.trace, context));
        let mut totals = lock(&self.totals).pop().unwrap_or_default();
        let mut group_stats = RowGroupStats::new(self.trace.rows_of(group), context.keep);
        while rows.read(&mut decoder.batch.rows)? {
            decoder.complete(&self.classes);
            totals.add(&decoder.batch, &self.classes, (&mut group_stats, context));
            rank.rows(number(group), &decoder.batch, context);
        }
        lock(&self.totals).push(totals);
        group_stats.close();
        rank.finish_group(group_stats, self.later[group], context);
        self.finish_rank(group, &mut state, context);
        Ok(())
    }

    /// Decodes a later group in advance.
    fn decode(&self, group: usize, decoder: &mut Decoder, context: &PassContext<'_>) -> Result<DecodedGroup, Error> {
        let mut rows = self.trace.rows(group)?;
        let mut totals = lock(&self.totals).pop().unwrap_or_default();
        let mut stats = RowGroupStats::new(self.trace.rows_of(group), context.keep);
        let mut batches = Vec::new();
        while rows.read(&mut decoder.batch.rows)? {
            decoder.complete(&self.classes);
            totals.add(&decoder.batch, &self.classes, (&mut stats, context));
            let next = RowBatch { rows: Rows::empty(), objects: Vec::new(), endpoints: Vec::new() };
            batches.push(std::mem::replace(&mut decoder.batch, next));
        }
        lock(&self.totals).push(totals);
        stats.close();
        Ok(DecodedGroup { batches, stats })
    }

    /// Processes a decoded group whose turn has come.
    fn process(&self, group: usize, decoded: DecodedGroup, context: &PassContext<'_>) {
        let mut state = lock(&self.state);
        let rank = state.get_or_insert_with(|| RankState::new(self.index, self.trace, context));
        for batch in &decoded.batches {
            rank.rows(number(group), batch, context);
        }
        rank.finish_group(decoded.stats, self.later[group], context);
        self.finish_rank(group, &mut state, context);
    }

    fn finish_rank(&self, group: usize, state: &mut Option<RankState>, context: &PassContext<'_>) {
        if group + 1 == self.trace.groups()
            && let Some(rank) = state.take()
        {
            *lock(&self.finished) = Some(self.finish(rank, context));
        }
    }

    /// No thread is reading: all groups have been processed.
    fn finish(&self, rank: RankState, context: &PassContext<'_>) -> RankResult {
        let (mut part, groups, reads) = rank.finish(context);
        let mut totals = RankTotals::default();
        for of_thread in lock(&self.totals).drain(..) {
            totals.merge(&of_thread);
        }
        let registered = self.classes.take();
        let io = totals.finish(&registered, &mut part);
        let (classes, endpoints) = (registered.classes, registered.endpoints);
        let retained = context.keep.then_some(RetainedRows { groups, classes, endpoints });
        RankResult { part, io, reads, retained }
    }
}

fn number(group: usize) -> u32 {
    u32::try_from(group).unwrap_or(u32::MAX)
}
