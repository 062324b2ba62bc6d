//! Who issues which operation of a recorded schedule.
//!
//! Invariant: at most one worker, the leader, waits for what nobody else means to do, and it is awake shortly before that comes. Then
//! another takes the lead, so nobody who is in an operation is waited for. What follows when the issuing worker will be free again stays with
//! it: each further worker that has to wake is another one to be late on a busy machine. The leader takes over from a worker that is late.
//! Operations that follow another one (`order`) are nobody's until that is done; who did it goes on with them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dlio_event::Nanos;
use dlio_plan::replay::{ReplayKind, ReplayOp};
use tokio::sync::Notify;

use super::order::{ChainId, Order};
use crate::Alarm;

/// So long before a moment its worker is awake, if it may: longer than it takes to wake one.
pub(super) const AWAKE: Nanos = 100_000;
/// Waking so much later than meant says that the processors are busy with something else.
const OVERSLEPT: Nanos = 1_000_000;
/// Largest part of all time that is spent awake and waiting, of 1024: who spends more on a busy machine is made to wait for it.
const AWAKE_SHARE: u64 = 512;
/// Lateness after which the leader takes over what another worker meant to do.
const GRACE: Nanos = 200_000;
/// What is due later than this is nobody's yet.
const HORIZON: Nanos = 50_000_000;
/// Lateness that is put up with rather than waking another worker, and within a lane, whose operations did not overlap when they were
/// recorded.
const CLOSE: Nanos = 40_000;
const CLOSE_IN_LANE: Nanos = 300_000;
/// Operations that one worker may have before it.
const RUN: usize = 16;
/// Kinds of operation that touch storage.
const KINDS: usize = ReplayKind::ALL.len();
/// How far ahead a worker looks for them.
const REACH: usize = 64;

pub(super) struct Board {
    state: Mutex<State>,
    /// There is room for more operations.
    room: Notify,
    /// One per worker that may be.
    members: Vec<Notify>,
    /// The leader has to look again.
    alarm: Alarm,
    /// The main task should see to the workers, and what for ([`Staff`]).
    staff: Notify,
    wanted: AtomicU8,
    window: usize,
    /// What is later than this is left out (`--late skip`).
    tolerance: Option<Nanos>,
}

/// What the main task has to know of the workers.
pub(super) enum Staff {
    /// Nobody is left to wait for the next moment.
    Short,
    /// Nothing is left to be issued.
    Enough,
}

const NOTHING: u8 = 0;
const SHORT: u8 = 1;
const ENOUGH: u8 = 2;
/// Late operations that are left out at a time.
const SWEEP: usize = 256;

#[derive(Default)]
struct State {
    /// Those that wait for none, in the order of their moments.
    pending: VecDeque<(ReplayOp, Option<usize>)>,
    /// The others.
    order: Order,
    /// Nothing more comes.
    closed: bool,
    /// Workers that were started.
    begun: usize,
    leader: Option<usize>,
    /// The moment that the leader waits for.
    awaited: Nanos,
    /// The last to come is the first to go: its caches and connections are warm.
    idle: Vec<usize>,
    /// How far the schedule has been moved, and the start of the replay.
    shift: Nanos,
    /// Typical time that an operation takes, by kind.
    pace: [Option<Nanos>; KINDS],
    vigil: Vigil,
}

/// How long workers may wait awake: a share of the time that passes, which grows slowly and is halved when one overslept.
struct Vigil {
    share: u64,
    credit: Nanos,
    since: Nanos,
}

impl Default for Vigil {
    fn default() -> Self {
        Self { share: AWAKE_SHARE / 2, credit: AWAKE, since: 0 }
    }
}

impl Vigil {
    /// For how long a worker may be awake before a moment.
    fn awake(&mut self, now: Nanos) -> Nanos {
        let earned = now.saturating_sub(self.since).min(100 * AWAKE) * self.share / 1024;
        (self.credit, self.since) = ((self.credit + earned).min(4 * AWAKE), now.max(self.since));
        self.credit.min(AWAKE)
    }
}

/// What a worker does next.
pub(super) enum Turn {
    /// Waits for the next moment.
    Lead,
    /// Issues this when it is due.
    Own(ReplayOp),
    /// Waits to be woken.
    Rest,
    /// There is nothing more to do.
    End,
}

/// What a leader does next.
pub(super) enum Lead {
    /// Waits until this moment, or until the alarm has rung more often than so, and looks again.
    Doze(Nanos, u32),
    /// Waits for operations.
    Starve,
    /// Leaves these out, which are late, and looks again.
    Late(Vec<ReplayOp>),
    /// Issues this; another worker leads.
    Issue(ReplayOp),
    /// There is nothing more to do.
    End,
}

impl Board {
    /// For `begun` workers at first and `most` at last; holds `window` operations.
    pub(super) fn new((begun, most): (usize, usize), window: usize, tolerance: Option<Nanos>) -> Self {
        Self {
            state: Mutex::new(State { begun, ..State::default() }),
            room: Notify::new(),
            members: (0..most).map(|_| Notify::new()).collect(),
            alarm: Alarm::default(),
            staff: Notify::new(),
            wanted: AtomicU8::new(NOTHING),
            window,
            tolerance,
        }
    }

    /// Waits until there is something to know of the workers.
    pub(super) async fn staff(&self) -> Staff {
        loop {
            match self.wanted.load(Ordering::Acquire) {
                SHORT => return Staff::Short,
                ENOUGH => return Staff::Enough,
                _ => self.staff.notified().await,
            }
        }
    }

    fn tell_staff(&self, wanted: u8) {
        self.wanted.store(wanted, Ordering::Release);
        self.staff.notify_one();
    }

    /// The number of another worker that is about to start; `None`: there are as many as there may be.
    pub(super) fn begin_one(&self) -> Option<usize> {
        self.wanted.store(NOTHING, Ordering::Release);
        let mut state = self.state();
        let number = state.begun;
        state.begun = (number + 1).min(self.members.len());
        (number < self.members.len()).then_some(number)
    }

    /// All is over: everybody is told.
    fn dismiss(&self) {
        self.tell_staff(ENOUGH);
        self.members.iter().for_each(Notify::notify_one);
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
        let id = ChainId::of(&op);
        let mut state = self.state();
        let Some(op) = state.order.admit(id, op) else { return };
        state.pending.push_back((op, None));
        if let (1, Some(leader)) = (state.pending.len(), state.leader) {
            self.members[leader].notify_one();
        }
    }

    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let over = state.is_over();
        drop(state);
        if over {
            self.tell_staff(ENOUGH);
        }
        self.members.iter().for_each(Notify::notify_one);
    }

    /// How far `--late stretch` has moved the schedule.
    pub(super) fn shift(&self) -> Nanos {
        self.state().shift
    }

    pub(super) fn stretch(&self, by: Nanos) {
        self.state().shift += by;
    }

    pub(super) async fn woken(&self, me: usize) {
        self.members[me].notified().await;
    }

    /// What a worker does at `now`, where `start` is that of the replay.
    pub(super) fn turn(&self, me: usize, now: Nanos, start: Nanos) -> Turn {
        let mut state = self.state();
        state.idle.retain(|idle| *idle != me);
        if let Some(index) = state.pending.iter().take(REACH).position(|(_, owner)| *owner == Some(me)) {
            let before = state.held();
            return state.remove(index).map_or(Turn::Rest, |op| {
                state.hand(&op);
                state.keep_after(me, &op, (now, start));
                self.make_room(&state, before);
                Turn::Own(op)
            });
        }
        if state.is_over() {
            drop(state);
            self.dismiss();
            return Turn::End;
        }
        if state.leader.is_none() {
            state.leader = Some(me);
            return Turn::Lead;
        }
        state.idle.push(me);
        Turn::Rest
    }

    /// Half the window at a time: the main task need not wake for each operation.
    fn make_room(&self, state: &State, before: usize) {
        if before > self.window / 2 && state.held() <= self.window / 2 {
            self.room.notify_one();
        }
    }

    /// What the leader does at `now`, where `start` is that of the replay.
    pub(super) fn lead(&self, me: usize, now: Nanos, start: Nanos) -> Lead {
        let mut state = self.state();
        let before = state.held();
        let late = self.tolerance.map(|tolerance| state.sweep(now.saturating_sub(start).saturating_sub(tolerance)));
        if let Some(late) = late.filter(|late| !late.is_empty()) {
            self.make_room(&state, before);
            return Lead::Late(late);
        }
        let Some((index, moment, owned)) = state.first(start) else {
            if !state.is_over() {
                state.awaited = Nanos::MAX;
                return Lead::Starve;
            }
            state.leader = None;
            drop(state);
            self.dismiss();
            return Lead::End;
        };
        let awake = if owned { moment } else { moment.saturating_sub(state.vigil.awake(now)) };
        if now < awake {
            state.awaited = moment;
            return Lead::Doze(awake, self.alarm.rung());
        }
        if owned {
            state.release(index);
        }
        let Some(op) = state.remove(index) else { return Lead::Starve };
        state.hand(&op);
        state.keep_after(me, &op, (now, start));
        state.leader = None;
        let next = if state.is_over() { None } else { state.idle.pop() };
        // One is always there to take the place of the next.
        let short = state.idle.is_empty() && state.begun < self.members.len() && !state.is_over();
        self.make_room(&state, before);
        drop(state);
        if short {
            self.tell_staff(SHORT);
        }
        if let Some(next) = next {
            self.members[next].notify_one();
        }
        Lead::Issue(op)
    }

    /// An operation of this chain is done or left out: what waited for it may be issued, by the same worker if it has time, else by the leader.
    pub(super) fn done(&self, me: usize, (id, number): (ChainId, u64), (now, start): (Nanos, Nanos)) {
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
            self.members[leader].notify_one();
        }
    }

    /// What ends the leader's wait before its moment.
    pub(super) fn alarm(&self) -> &Alarm {
        &self.alarm
    }

    /// Learns how late a worker woke.
    pub(super) fn woke(&self, late: Nanos) {
        let share = &mut self.state().vigil.share;
        *share = if late > OVERSLEPT { *share / 2 } else { (*share + 2).min(AWAKE_SHARE) };
    }

    /// Whether a worker may wait awake for a moment, and takes the time for it if so.
    pub(super) fn may_spin(&self, now: Nanos, due: Nanos) -> bool {
        let (mut state, wait) = (self.state(), due.saturating_sub(now));
        state.vigil.awake(now);
        let may = wait <= state.vigil.credit;
        if may {
            state.vigil.credit -= wait;
        }
        may
    }

    /// Learns how long an operation takes.
    pub(super) fn took(&self, kind: ReplayKind, time: Nanos) {
        if let Some(pace) = self.state().pace.get_mut(kind as usize) {
            // Towards the median: one operation that took long says little of the next.
            *pace = Some(pace.map_or(time, |pace| if time > pace { pace + pace / 8 + 100 } else { pace - pace / 8 }));
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

    /// The operation that needs the leader first: where, when, and whether another worker means to do it.
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

    /// Nothing is left to the worker that is late with an operation.
    fn release(&mut self, index: usize) {
        let late = self.pending.get(index).and_then(|(_, owner)| *owner);
        for (_, owner) in self.pending.iter_mut().take(REACH) {
            if *owner == late {
                *owner = None;
            }
        }
    }

    /// Nothing is left to be issued, and nothing comes.
    fn is_over(&self) -> bool {
        self.closed && self.held() == 0
    }

    /// Takes out what was due before `due`, nanoseconds after the start of the replay.
    fn sweep(&mut self, due: Nanos) -> Vec<ReplayOp> {
        let mut late = Vec::new();
        while late.len() < SWEEP && self.pending.front().is_some_and(|(op, _)| op.due < due) {
            let Some(op) = self.remove(0) else { break };
            for free in self.order.done(ChainId::of(&op), op.number) {
                self.insert(free);
            }
            late.push(op);
        }
        late
    }

    /// Operations that nobody has issued.
    fn held(&self) -> usize {
        self.pending.len() + self.order.waiting()
    }

    /// A worker has this: what was to be issued after it may be.
    fn hand(&mut self, op: &ReplayOp) {
        for free in self.order.handed(op) {
            self.insert(free);
        }
    }

    /// Puts an operation where it would be if it had waited for none.
    fn insert(&mut self, op: ReplayOp) {
        let before = |other: &ReplayOp| (other.due, other.number) < (op.due, op.number);
        let index = self.pending.partition_point(|(other, _)| before(other));
        self.pending.insert(index, (op, None));
    }

    /// Reserves for a worker what it can do in time after `op`.
    fn keep_after(&mut self, me: usize, op: &ReplayOp, (now, start): (Nanos, Nanos)) {
        let Some(pace) = self.pace[op.kind as usize % KINDS] else { return };
        let free = self.due(op, start).max(now).saturating_add(pace);
        self.keep(me, (op.lane, free), (now, start), |_| true);
    }

    /// Reserves for a worker that comes from `lane` and is `free` then what of the `wanted` operations it can do in time.
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
            let Some(pace) = self.pace[next.kind as usize % KINDS] else { continue };
            let close = if next.lane == lane { CLOSE_IN_LANE } else { CLOSE };
            if *owner == Some(me) {
                free = free.max(due).saturating_add(pace);
                continue;
            }
            if owner.is_some() || free > due.saturating_add(close) || !wanted(next) {
                continue;
            }
            self.pending[index].1 = Some(me);
            free = free.max(due).saturating_add(pace);
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
        let board = Board::new((3, 4), 16, None);
        let wanted = || board.wanted.load(Ordering::Relaxed);
        let issue = |me: usize| matches!(board.lead(me, 5 * GRACE, 0), Lead::Issue(_));
        let comes = |me: usize| match board.turn(me, 5 * GRACE, 0) {
            Turn::Lead => "leads",
            Turn::Rest => "rests",
            Turn::Own(_) | Turn::End => "else",
        };
        for number in 0..6 {
            board.push(op(number, number));
        }
        assert_eq!([comes(0), comes(1), comes(2)], ["leads", "rests", "rests"]);
        // 2 is woken to lead, 1 is left.
        assert!(issue(0) && wanted() == NOTHING);
        assert_eq!(comes(2), "leads");
        assert!(issue(2) && wanted() == SHORT);
        assert_eq!((board.begin_one(), board.begin_one(), wanted()), (Some(3), None, NOTHING));
        // There may be no more of them.
        assert_eq!([comes(1), comes(3)], ["leads", "rests"]);
        assert!(issue(1));
        assert_eq!(comes(3), "leads");
        assert!(issue(3) && wanted() == NOTHING);
        // Who is done leads on and leaves when nothing is left.
        assert_eq!(comes(0), "leads");
        assert!(issue(0));
        assert_eq!(comes(0), "leads");
        board.close();
        assert!(issue(0) && wanted() == NOTHING);
        assert_eq!((comes(0), wanted()), ("else", ENOUGH));
    }

    #[test]
    fn late_operations_are_left_out_together_and_what_waited_for_them_too() {
        let board = Board::new((1, 1), 16, Some(10));
        let chained = |number, due, took| ReplayOp { lane: 0, took, ..op(number, due) };
        for op in [chained(0, 0, 5), chained(1, 5, 5), op(2, 20), chained(3, 100, 5)] {
            board.push(op);
        }
        assert!(matches!(board.turn(0, 0, 0), Turn::Lead));
        let Lead::Late(late) = board.lead(0, 25, 0) else { panic!("nothing was late") };
        assert_eq!(late.iter().map(|op| op.number).collect::<Vec<_>>(), [0, 1]);
        assert!(matches!(board.lead(0, 25, 0), Lead::Issue(op) if op.number == 2));
        assert!(matches!(board.turn(0, 26, 0), Turn::Lead));
        assert!(matches!(board.lead(0, 100, 0), Lead::Issue(op) if op.number == 3));
    }
}
