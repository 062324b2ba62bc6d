//! Assignment of the operations of a recorded schedule to workers.
//!
//! Invariant: at most one worker, the leader, waits for the next operation that is not assigned, and it wakes shortly before the operation
//! is due. Another worker then becomes leader, so the schedule never waits for a worker that is in an operation. Operations that are due
//! when the issuing worker is expected to be free again are assigned to it, because every other worker that has to wake may be late on a
//! busy machine. The leader takes over operations from a late worker. Operations with unfinished predecessors (`order`) are assigned to
//! nobody; the worker that completes the predecessor continues with them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dlio_event::Nanos;
use dlio_plan::replay::{ReplayKind, ReplayOp};
use tokio::sync::Notify;

use super::dependency_graph::{Dependencies, GraphId};
use crate::Alarm;

/// Time in nanoseconds before a due time at which the worker wakes and spins, if the budget allows; longer than waking takes.
pub(super) const AWAKE: Nanos = 100_000;
/// Wake-up delay in nanoseconds that indicates busy processors.
const OVERSLEPT: Nanos = 1_000_000;
/// Largest share of time spent spinning, in 1/1024: on a busy machine, the kernel delays threads that spin more.
const AWAKE_SHARE: u64 = 512;
/// Lateness in nanoseconds after which the leader takes over an operation that is assigned to another worker.
const GRACE: Nanos = 200_000;
/// Operations that are due later than this many nanoseconds from now are not assigned yet.
const HORIZON: Nanos = 50_000_000;
/// Lateness in nanoseconds that is accepted rather than waking another worker. Within a lane it is larger, because its recorded operations
/// did not overlap.
const CLOSE: Nanos = 40_000;
const CLOSE_IN_LANE: Nanos = 300_000;
/// Maximum number of operations that are assigned to one worker.
const RUN: usize = 16;
/// Number of operation kinds.
const KINDS: usize = ReplayKind::ALL.len();
/// Number of pending operations that are searched for assignments.
const REACH: usize = 64;

pub(super) struct OpScheduler {
    state: Mutex<State>,
    /// Signals room for more operations.
    room: Notify,
    /// Wakes individual workers; one entry per possible worker.
    workers: Vec<Notify>,
    /// Wakes the leader before its due time.
    alarm: Alarm,
    /// Signals the main task to adjust the number of workers, as `wanted` says ([`PoolSize`]).
    pool_size: Notify,
    wanted: AtomicU8,
    window: usize,
    /// Lateness in nanoseconds after which operations are skipped (`--late skip`).
    tolerance: Option<Nanos>,
}

/// State of the number of workers, for the main task.
pub(super) enum PoolSize {
    /// No idle worker is left to become leader.
    TooSmall,
    /// No operation is left to be issued.
    Final,
}

const NOTHING: u8 = 0;
const SHORT: u8 = 1;
const ENOUGH: u8 = 2;
/// Maximum number of late operations that are skipped at once.
const SWEEP: usize = 256;

#[derive(Default)]
struct State {
    /// Operations without unfinished predecessors in order of due time, each with the worker that it is assigned to.
    pending: VecDeque<(ReplayOp, Option<usize>)>,
    /// Operations with unfinished predecessors.
    order: Dependencies,
    /// Whether all operations of the trace have been handed out.
    closed: bool,
    /// Number of workers that were started.
    begun: usize,
    leader: Option<usize>,
    /// Due time that the leader waits for, in nanoseconds.
    awaited: Nanos,
    /// Idle workers as a stack, because the last one has warm caches and connections.
    idle: Vec<usize>,
    /// Time by which the schedule has been delayed, in nanoseconds.
    shift: Nanos,
    /// Typical duration of an operation in nanoseconds, by kind.
    typical_durations: [Option<Nanos>; KINDS],
    spin_budget: SpinBudget,
}

/// Budget of time that workers may spin: a share of the elapsed time, which grows slowly and is halved when a worker wakes late.
struct SpinBudget {
    share: u64,
    credit: Nanos,
    since: Nanos,
}

impl Default for SpinBudget {
    fn default() -> Self {
        Self { share: AWAKE_SHARE / 2, credit: AWAKE, since: 0 }
    }
}

impl SpinBudget {
    /// Returns how long a worker may spin before a due time, in nanoseconds.
    fn awake(&mut self, now: Nanos) -> Nanos {
        let earned = now.saturating_sub(self.since).min(100 * AWAKE) * self.share / 1024;
        (self.credit, self.since) = ((self.credit + earned).min(4 * AWAKE), now.max(self.since));
        self.credit.min(AWAKE)
    }
}

/// Next action of a worker.
pub(super) enum WorkerTurn {
    /// Become the leader.
    Lead,
    /// Issue this operation when it is due.
    Own(ReplayOp),
    /// Wait to be woken.
    Rest,
    /// End, because no operation is left.
    End,
}

/// Next action of the leader.
pub(super) enum LeaderTurn {
    /// Wait until this time, or until the alarm has rung more than this number of times, and ask again.
    Doze(Nanos, u32),
    /// Wait for operations.
    Starve,
    /// Skip these late operations and ask again.
    Late(Vec<ReplayOp>),
    /// Issue this operation; another worker becomes leader.
    Issue(ReplayOp),
    /// End, because no operation is left.
    End,
}

impl OpScheduler {
    /// Returns a scheduler for `begun` workers at first and `most` workers at most, which holds up to `window` operations.
    pub(super) fn new((begun, most): (usize, usize), window: usize, tolerance: Option<Nanos>) -> Self {
        Self {
            state: Mutex::new(State { begun, ..State::default() }),
            room: Notify::new(),
            workers: (0..most).map(|_| Notify::new()).collect(),
            alarm: Alarm::default(),
            pool_size: Notify::new(),
            wanted: AtomicU8::new(NOTHING),
            window,
            tolerance,
        }
    }

    /// Waits until the number of workers should change or is final.
    pub(super) async fn pool_size(&self) -> PoolSize {
        loop {
            match self.wanted.load(Ordering::Acquire) {
                SHORT => return PoolSize::TooSmall,
                ENOUGH => return PoolSize::Final,
                _ => self.pool_size.notified().await,
            }
        }
    }

    fn report_pool_size(&self, wanted: u8) {
        self.wanted.store(wanted, Ordering::Release);
        self.pool_size.notify_one();
    }

    /// Returns the number of another worker that is about to start; `None` if the maximum is reached.
    pub(super) fn reserve_worker(&self) -> Option<usize> {
        self.wanted.store(NOTHING, Ordering::Release);
        let mut state = self.state();
        let number = state.begun;
        state.begun = (number + 1).min(self.workers.len());
        (number < self.workers.len()).then_some(number)
    }

    /// Wakes all workers and the main task, because no operation is left.
    fn wake_all(&self) {
        self.report_pool_size(ENOUGH);
        self.workers.iter().for_each(Notify::notify_one);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes when there is room for another operation.
    pub(super) async fn has_room(&self) {
        while self.state().held() >= self.window {
            self.room.notified().await;
        }
    }

    pub(super) fn push(&self, op: ReplayOp) {
        let id = GraphId::of(&op);
        let mut state = self.state();
        let Some(op) = state.order.admit(id, op) else { return };
        state.pending.push_back((op, None));
        if let (1, Some(leader)) = (state.pending.len(), state.leader) {
            self.workers[leader].notify_one();
        }
    }

    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let over = state.is_over();
        drop(state);
        if over {
            self.report_pool_size(ENOUGH);
        }
        self.workers.iter().for_each(Notify::notify_one);
    }

    /// Returns the time by which `--late stretch` has delayed the schedule, in nanoseconds.
    pub(super) fn shift(&self) -> Nanos {
        self.state().shift
    }

    pub(super) fn stretch(&self, by: Nanos) {
        self.state().shift += by;
    }

    pub(super) async fn wait_for_wakeup(&self, me: usize) {
        self.workers[me].notified().await;
    }

    /// Returns the next action of worker `me` at time `now`; `start` is the start of the replay.
    pub(super) fn worker_turn(&self, me: usize, now: Nanos, start: Nanos) -> WorkerTurn {
        let mut state = self.state();
        state.idle.retain(|idle| *idle != me);
        if let Some(index) = state.pending.iter().take(REACH).position(|(_, owner)| *owner == Some(me)) {
            let before = state.held();
            return state.remove(index).map_or(WorkerTurn::Rest, |op| {
                state.hand(&op);
                state.keep_after(me, &op, (now, start));
                self.make_room(&state, before);
                WorkerTurn::Own(op)
            });
        }
        if state.is_over() {
            drop(state);
            self.wake_all();
            return WorkerTurn::End;
        }
        if state.leader.is_none() {
            state.leader = Some(me);
            return WorkerTurn::Lead;
        }
        state.idle.push(me);
        WorkerTurn::Rest
    }

    /// Signals room for operations when half of the window is free, so that the main task does not wake for each operation.
    fn make_room(&self, state: &State, before: usize) {
        if before > self.window / 2 && state.held() <= self.window / 2 {
            self.room.notify_one();
        }
    }

    /// Returns the next action of the leader `me` at time `now`; `start` is the start of the replay.
    pub(super) fn leader_turn(&self, me: usize, now: Nanos, start: Nanos) -> LeaderTurn {
        let mut state = self.state();
        let before = state.held();
        let late = self.tolerance.map(|tolerance| state.sweep(now.saturating_sub(start).saturating_sub(tolerance)));
        if let Some(late) = late.filter(|late| !late.is_empty()) {
            self.make_room(&state, before);
            return LeaderTurn::Late(late);
        }
        let Some((index, moment, owned)) = state.first(start) else {
            if !state.is_over() {
                state.awaited = Nanos::MAX;
                return LeaderTurn::Starve;
            }
            state.leader = None;
            drop(state);
            self.wake_all();
            return LeaderTurn::End;
        };
        let awake = if owned { moment } else { moment.saturating_sub(state.spin_budget.awake(now)) };
        if now < awake {
            state.awaited = moment;
            return LeaderTurn::Doze(awake, self.alarm.rung());
        }
        if owned {
            state.release(index);
        }
        let Some(op) = state.remove(index) else { return LeaderTurn::Starve };
        state.hand(&op);
        state.keep_after(me, &op, (now, start));
        state.leader = None;
        let next = if state.is_over() { None } else { state.idle.pop() };
        // One idle worker is kept to replace the next leader.
        let short = state.idle.is_empty() && state.begun < self.workers.len() && !state.is_over();
        self.make_room(&state, before);
        drop(state);
        if short {
            self.report_pool_size(SHORT);
        }
        if let Some(next) = next {
            self.workers[next].notify_one();
        }
        LeaderTurn::Issue(op)
    }

    /// Notes that an operation of this graph is done or skipped. Its successors are assigned to the same worker if it is free in time, and
    /// are left to the leader otherwise.
    pub(super) fn done(&self, me: usize, (id, number): (GraphId, u64), (now, start): (Nanos, Nanos)) {
        let mut state = self.state();
        let released = state.order.done(id, number);
        let Some(lane) = released.first().map(|op| op.lane) else { return };
        let numbers: Vec<u64> = released.iter().map(|op| op.number).collect();
        for op in released {
            state.insert(op);
        }
        state.keep(me, (lane, now), (now, start), |op| numbers.contains(&op.number));
        let Some((leader, (_, moment, _))) = state.leader.zip(state.first(start)) else { return };
        if moment < state.awaited {
            drop(state);
            self.alarm.ring();
            self.workers[leader].notify_one();
        }
    }

    /// Returns the alarm that ends the leader's wait early.
    pub(super) fn alarm(&self) -> &Alarm {
        &self.alarm
    }

    /// Adapts the spin budget to the delay of a wake-up, in nanoseconds.
    pub(super) fn record_wake_delay(&self, late: Nanos) {
        let share = &mut self.state().spin_budget.share;
        *share = if late > OVERSLEPT { *share / 2 } else { (*share + 2).min(AWAKE_SHARE) };
    }

    /// Returns whether a worker may spin until `due`, and deducts the time from the budget if so.
    pub(super) fn may_spin(&self, now: Nanos, due: Nanos) -> bool {
        let (mut state, wait) = (self.state(), due.saturating_sub(now));
        state.spin_budget.awake(now);
        let may = wait <= state.spin_budget.credit;
        if may {
            state.spin_budget.credit -= wait;
        }
        may
    }

    /// Adapts the typical duration of an operation kind, in nanoseconds.
    pub(super) fn record_duration(&self, kind: ReplayKind, time: Nanos) {
        if let Some(duration) = self.state().typical_durations.get_mut(kind as usize) {
            // Moves towards the median, because one slow operation does not predict the next.
            *duration = Some(duration.map_or(time, |duration| {
                if time > duration { duration + duration / 8 + 100 } else { duration - duration / 8 }
            }));
        }
    }
}

impl State {
    fn remove(&mut self, index: usize) -> Option<ReplayOp> {
        self.pending.remove(index).map(|(op, _)| op)
    }

    fn due(&self, op: &ReplayOp, start: Nanos) -> Nanos {
        start.saturating_add(op.due).saturating_add(self.shift)
    }

    /// Returns the operation that needs the leader first: its index, the time, and whether it is assigned to another worker.
    fn first(&self, start: Nanos) -> Option<(usize, Nanos, bool)> {
        let mut first: Option<(usize, Nanos, bool)> = None;
        for (index, (op, owner)) in self.pending.iter().enumerate() {
            let due = self.due(op, start);
            let moment = if owner.is_some() { due.saturating_add(GRACE) } else { due };
            if first.is_none_or(|(_, earliest, _)| moment < earliest) {
                first = Some((index, moment, owner.is_some()));
            }
            if owner.is_none() {
                break;
            }
        }
        first
    }

    /// Withdraws all assignments of the worker that is late with the operation at `index`.
    fn release(&mut self, index: usize) {
        let late = self.pending.get(index).and_then(|(_, owner)| *owner);
        for (_, owner) in self.pending.iter_mut().take(REACH) {
            if *owner == late {
                *owner = None;
            }
        }
    }

    /// Returns whether all operations have been issued and no more will be handed out.
    fn is_over(&self) -> bool {
        self.closed && self.held() == 0
    }

    /// Removes operations that were due before `due`, in nanoseconds since the start of the replay, and returns them.
    fn sweep(&mut self, due: Nanos) -> Vec<ReplayOp> {
        let mut late = Vec::new();
        while late.len() < SWEEP && self.pending.front().is_some_and(|(op, _)| op.due < due) {
            let Some(op) = self.remove(0) else { break };
            for free in self.order.done(GraphId::of(&op), op.number) {
                self.insert(free);
            }
            late.push(op);
        }
        late
    }

    /// Returns the number of operations that were not issued yet.
    fn held(&self) -> usize {
        self.pending.len() + self.order.waiting()
    }

    /// Notes that a worker has taken `op`, and releases operations that waited for its issue.
    fn hand(&mut self, op: &ReplayOp) {
        for free in self.order.handed(op) {
            self.insert(free);
        }
    }

    /// Inserts an operation in order of due time.
    fn insert(&mut self, op: ReplayOp) {
        let before = |other: &ReplayOp| (other.due, other.number) < (op.due, op.number);
        let index = self.pending.partition_point(|(other, _)| before(other));
        self.pending.insert(index, (op, None));
    }

    /// Assigns operations to a worker that it can issue in time after `op`.
    fn keep_after(&mut self, me: usize, op: &ReplayOp, (now, start): (Nanos, Nanos)) {
        let Some(duration) = self.typical_durations[op.kind as usize % KINDS] else { return };
        let free = self.due(op, start).max(now).saturating_add(duration);
        self.keep(me, (op.lane, free), (now, start), |_| true);
    }

    /// Assigns those `wanted` operations to a worker that it can issue in time, if it was last in `lane` and is free at time `free`.
    fn keep(
        &mut self,
        me: usize,
        (lane, mut free): (u32, Nanos),
        (now, start): (Nanos, Nanos),
        wanted: impl Fn(&ReplayOp) -> bool,
    ) {
        let mut kept = self.pending.iter().take(REACH).filter(|(_, owner)| *owner == Some(me)).count();
        for index in 0..self.pending.len().min(REACH) {
            let (next, owner) = &self.pending[index];
            let due = self.due(next, start).max(now);
            if kept == RUN || due > now.saturating_add(HORIZON) {
                return;
            }
            let Some(duration) = self.typical_durations[next.kind as usize % KINDS] else { continue };
            let close = if next.lane == lane { CLOSE_IN_LANE } else { CLOSE };
            if *owner == Some(me) {
                free = free.max(due).saturating_add(duration);
                continue;
            }
            if owner.is_some() || free > due.saturating_add(close) || !wanted(next) {
                continue;
            }
            self.pending[index].1 = Some(me);
            free = free.max(due).saturating_add(duration);
            kept += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(number: u64, due: Nanos) -> ReplayOp {
        ReplayOp { number, due, lane: u32::try_from(number).unwrap(), ..ReplayOp::default() }
    }

    #[test]
    fn another_worker_is_wanted_only_when_nobody_is_left_to_wait_for_the_next_moment() {
        let scheduler = OpScheduler::new((3, 4), 16, None);
        let wanted = || scheduler.wanted.load(Ordering::Relaxed);
        let issue = |me: usize| matches!(scheduler.leader_turn(me, 5 * GRACE, 0), LeaderTurn::Issue(_));
        let comes = |me: usize| match scheduler.worker_turn(me, 5 * GRACE, 0) {
            WorkerTurn::Lead => "leads",
            WorkerTurn::Rest => "rests",
            WorkerTurn::Own(_) | WorkerTurn::End => "else",
        };
        for number in 0..6 {
            scheduler.push(op(number, number));
        }
        assert_eq!([comes(0), comes(1), comes(2)], ["leads", "rests", "rests"]);
        // Worker 2 is woken to lead, and worker 1 stays idle.
        assert!(issue(0) && wanted() == NOTHING);
        assert_eq!(comes(2), "leads");
        assert!(issue(2) && wanted() == SHORT);
        assert_eq!((scheduler.reserve_worker(), scheduler.reserve_worker(), wanted()), (Some(3), None, NOTHING));
        // The maximum number of workers is reached.
        assert_eq!([comes(1), comes(3)], ["leads", "rests"]);
        assert!(issue(1));
        assert_eq!(comes(3), "leads");
        assert!(issue(3) && wanted() == NOTHING);
        // A worker that is done becomes leader and ends when no operation is left.
        assert_eq!(comes(0), "leads");
        assert!(issue(0));
        assert_eq!(comes(0), "leads");
        scheduler.close();
        assert!(issue(0) && wanted() == NOTHING);
        assert_eq!((comes(0), wanted()), ("else", ENOUGH));
    }

    #[test]
    fn late_operations_are_left_out_together_and_what_waited_for_them_too() {
        let scheduler = OpScheduler::new((1, 1), 16, Some(10));
        let chained = |number, due, took| ReplayOp { lane: 0, took, ..op(number, due) };
        for op in [chained(0, 0, 5), chained(1, 5, 5), op(2, 20), chained(3, 100, 5)] {
            scheduler.push(op);
        }
        assert!(matches!(scheduler.worker_turn(0, 0, 0), WorkerTurn::Lead));
        let LeaderTurn::Late(late) = scheduler.leader_turn(0, 25, 0) else { panic!("nothing was late") };
        assert_eq!(late.iter().map(|op| op.number).collect::<Vec<_>>(), [0, 1]);
        assert!(matches!(scheduler.leader_turn(0, 25, 0), LeaderTurn::Issue(op) if op.number == 2));
        assert!(matches!(scheduler.worker_turn(0, 26, 0), WorkerTurn::Lead));
        assert!(matches!(scheduler.leader_turn(0, 100, 0), LeaderTurn::Issue(op) if op.number == 3));
    }
}
