//! Who may be connected: a bound on connections that the descriptors allow, and an end to requests that never come.
//!
//! Every connection has a [`Member`] that says what it is doing: nothing yet, waiting for a request, in the middle of a
//! request's head, answering. Where the bound is reached, connections that have long been idle make room; if there are
//! none, the new one is refused. Once per tick, a sweep closes connections whose request has stopped arriving. The
//! measured path writes atomics of its own connection and takes no lock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Connections idle for less than this may be about to carry the next request, and stay.
const IDLE_MS: u64 = 1000;
/// Connections beyond the bound while others close to make room.
const SLACK: usize = 32;
/// Refusals that are written at a time; further connections wait for one to end.
const REFUSALS: usize = 32;
/// How often the same thing is said.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// It has not sent a byte.
    New,
    /// Its last request is answered.
    Idle,
    /// Some of a request's head has come.
    Head,
    /// A request is being received or answered.
    Busy,
}

/// How a connection is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Verdict {
    /// It may go on.
    Stay,
    /// After the request in flight.
    Leave,
    /// At once.
    Cut,
}

/// Bounds on connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections open at a time.
    pub(crate) connections: usize,
    /// Descriptors of the process, for messages; `None`: no limit.
    pub(crate) descriptors: Option<u64>,
    /// How long half a request may stay without the other half.
    pub(crate) request_timeout: Duration,
}

impl Limits {
    /// Connections that may be in the middle of a request's head.
    fn half_open(&self) -> usize {
        (self.connections / 4).max(4)
    }
}

/// The connections of one process.
#[derive(Debug)]
pub(crate) struct Gate {
    limits: Limits,
    begin: Instant,
    /// Milliseconds since `begin`, as of the last tick. Connections read it, and only the tick writes it.
    now_ms: Arc<AtomicU64>,
    members: Mutex<BTreeMap<u64, Arc<Member>>>,
    next: AtomicU64,
    /// Members that were told to go and have not gone.
    leaving: AtomicUsize,
    refusals: Arc<Semaphore>,
    counts: Counts,
    said: Mutex<Said>,
}

/// What happened since the start.
#[derive(Debug, Default)]
struct Counts {
    refused: AtomicU64,
    cut: AtomicU64,
    not_accepted: AtomicU64,
}

/// What was said of it.
#[derive(Debug, Default)]
struct Said {
    at: Option<Instant>,
    refused: u64,
    cut: u64,
    not_accepted: u64,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Member {
    phase: AtomicU8,
    /// When the phase began or, in a request, when bytes came last, in milliseconds.
    since_ms: AtomicU64,
    waits_for_body: AtomicBool,
    verdict: AtomicU8,
    told: Notify,
    now_ms: Arc<AtomicU64>,
}

impl Gate {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            begin: Instant::now(),
            now_ms: Arc::default(),
            members: Mutex::default(),
            next: AtomicU64::new(0),
            leaving: AtomicUsize::new(0),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            counts: Counts::default(),
            said: Mutex::default(),
        })
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Member>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a new connection in; `None`: it is to be refused.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<Membership> {
        let mut members = self.members();
        if members.len() >= self.limits.connections {
            self.make_room(&members);
            let staying = members.len().saturating_sub(self.leaving.load(Relaxed));
            if staying >= self.limits.connections || members.len() >= self.limits.connections.saturating_add(SLACK) {
                self.counts.refused.fetch_add(1, Relaxed);
                return None;
            }
        }
        let member = Arc::new(Member {
            phase: AtomicU8::new(Phase::New as u8),
            since_ms: AtomicU64::new(self.now_ms.load(Relaxed)),
            waits_for_body: AtomicBool::new(false),
            verdict: AtomicU8::new(Verdict::Stay as u8),
            told: Notify::new(),
            now_ms: Arc::clone(&self.now_ms),
        });
        let number = self.next.fetch_add(1, Relaxed);
        members.insert(number, Arc::clone(&member));
        Some(Membership { gate: Arc::clone(self), number, member })
    }

    /// Waits until one more refusal may be written.
    pub(crate) async fn begin_refusal(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.refusals).acquire_owned().await.ok()
    }

    /// An accept failed because there are no descriptors.
    pub(crate) fn could_not_accept(&self) {
        self.counts.not_accepted.fetch_add(1, Relaxed);
        self.make_room(&self.members());
    }

    /// Tells the connections that have been idle longest to go.
    fn make_room(&self, members: &BTreeMap<u64, Arc<Member>>) {
        let now = self.now_ms.load(Relaxed);
        // The clock is as coarse as the tick.
        let least = IDLE_MS + millis(self.tick());
        let long_ago = |member: &&Arc<Member>| {
            let idle = matches!(member.phase(), Phase::New | Phase::Idle | Phase::Head);
            idle && member.verdict() == Verdict::Stay && now.saturating_sub(member.since_ms.load(Relaxed)) >= least
        };
        let mut idle: Vec<&Arc<Member>> = members.values().filter(long_ago).collect();
        idle.sort_by_key(|member| member.since_ms.load(Relaxed));
        for member in idle.into_iter().take((self.limits.connections / 32).max(1)) {
            // Whoever has never sent a request loses nothing.
            self.tell(member, if member.phase() == Phase::Idle { Verdict::Leave } else { Verdict::Cut });
        }
    }

    fn tell(&self, member: &Member, verdict: Verdict) {
        if member.verdict.swap(verdict as u8, Relaxed) == Verdict::Stay as u8 {
            self.leaving.fetch_add(1, Relaxed);
        }
        member.told.notify_one();
    }

    /// Looks after the connections for as long as the server lives.
    pub(crate) async fn watch(gate: Weak<Self>, tick: Duration) {
        loop {
            tokio::time::sleep(tick).await;
            let Some(gate) = gate.upgrade() else { return };
            gate.now_ms.store(millis(gate.begin.elapsed()), Relaxed);
            gate.sweep();
        }
    }

    /// How often [`Gate::watch`] looks.
    pub(crate) fn tick(&self) -> Duration {
        (self.limits.request_timeout / 8).clamp(Duration::from_millis(20), Duration::from_secs(1))
    }

    /// Closes connections whose request has stopped arriving, and the oldest half requests where there are too many.
    fn sweep(&self) {
        let (now, limit) = (self.now_ms.load(Relaxed), millis(self.limits.request_timeout));
        let members = self.members();
        let mut half_open = Vec::new();
        for member in members.values().filter(|member| member.verdict() != Verdict::Cut) {
            let waited = now.saturating_sub(member.since_ms.load(Relaxed));
            let phase = member.phase();
            let stuck = phase == Phase::Head || (phase == Phase::Busy && member.waits_for_body.load(Relaxed));
            if stuck && waited >= limit {
                self.cut(member);
            } else if phase == Phase::Head {
                half_open.push(member);
            }
        }
        half_open.sort_by_key(|member| member.since_ms.load(Relaxed));
        let over = half_open.len().saturating_sub(self.limits.half_open());
        half_open.into_iter().take(over).for_each(|member| self.cut(member));
    }

    fn cut(&self, member: &Member) {
        self.counts.cut.fetch_add(1, Relaxed);
        self.tell(member, Verdict::Cut);
    }

    /// What the user should know and was not told in the last seconds.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.at.is_some_and(|at| at.elapsed() < SAY_AGAIN) {
            return Vec::new();
        }
        let since = |count: &AtomicU64, said: &mut u64| {
            let now = count.load(Relaxed);
            now - std::mem::replace(said, now)
        };
        let refused = since(&self.counts.refused, &mut said.refused);
        let cut = since(&self.counts.cut, &mut said.cut);
        let not_accepted = since(&self.counts.not_accepted, &mut said.not_accepted);
        let descriptors = self.limits.descriptors.map_or("no limit".to_owned(), |limit| limit.to_string());
        let most = self.limits.connections;
        let texts = [
            (
                refused,
                format!(
                    "{refused} connection(s) refused (503 SlowDown): {most} are open, which is what {descriptors} file \
                 descriptors allow; raise the hard limit (ulimit -Hn), start more servers, or let clients keep fewer \
                 connections"
                ),
            ),
            (
                cut,
                format!(
                    "{cut} connection(s) closed: half a request had come and nothing more for {:?} (--request-timeout), or \
                 more than {} were in that state",
                    self.limits.request_timeout,
                    self.limits.half_open()
                ),
            ),
            (
                not_accepted,
                format!(
                    "{not_accepted} connection(s) closed unanswered: the process or the system has no file descriptor left \
                 ({descriptors} for this process, ulimit -n)"
                ),
            ),
        ];
        let warnings: Vec<String> = texts.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| text).collect();
        if !warnings.is_empty() {
            said.at = Some(Instant::now());
        }
        warnings
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Member {
    fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::New,
            1 => Phase::Idle,
            2 => Phase::Head,
            _ => Phase::Busy,
        }
    }

    fn verdict(&self) -> Verdict {
        match self.verdict.load(Relaxed) {
            0 => Verdict::Stay,
            1 => Verdict::Leave,
            _ => Verdict::Cut,
        }
    }

    fn enter(&self, phase: Phase) {
        self.touch();
        self.phase.store(phase as u8, Relaxed);
    }

    fn touch(&self) {
        self.since_ms.store(self.now_ms.load(Relaxed), Relaxed);
    }

    /// Bytes have come.
    pub(crate) fn received(&self) {
        match self.phase() {
            Phase::New | Phase::Idle => self.enter(Phase::Head),
            // A head has a time of its own, however slowly it comes.
            Phase::Head => {}
            Phase::Busy => self.touch(),
        }
    }

    /// A head is complete.
    pub(crate) fn begin_request(&self) {
        self.enter(Phase::Busy);
    }

    /// An answer is sent, or handed to the connection.
    pub(crate) fn end_request(&self) {
        self.waits_for_body.store(false, Relaxed);
        self.enter(Phase::Idle);
    }

    /// Whether the request's body is what is waited for.
    pub(crate) fn wait_for_body(&self, waits: bool) {
        if waits != self.waits_for_body.load(Relaxed) {
            self.waits_for_body.store(waits, Relaxed);
        }
    }

    /// Waits until the connection is told to end.
    pub(crate) async fn told(&self) -> Verdict {
        loop {
            self.told.notified().await;
            match self.verdict() {
                Verdict::Stay => {}
                verdict => return verdict,
            }
        }
    }
}

/// A place among the connections, given back when dropped.
pub(crate) struct Membership {
    gate: Arc<Gate>,
    number: u64,
    pub(crate) member: Arc<Member>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.gate.members().remove(&self.number);
        if self.member.verdict() != Verdict::Stay {
            self.gate.leaving.fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(connections: usize) -> Arc<Gate> {
        Gate::new(Limits { connections, descriptors: Some(256), request_timeout: Duration::from_secs(30) })
    }

    fn at(gate: &Gate, seconds: u64) {
        gate.now_ms.store(seconds * 1000, Relaxed);
        gate.sweep();
    }

    fn verdicts(members: &[Membership]) -> Vec<Verdict> {
        members.iter().map(|one| one.member.verdict()).collect()
    }

    #[test]
    fn the_connection_that_is_idle_longest_makes_room_and_a_busy_one_never_does() {
        let gate = gate(3);
        let members: Vec<_> = (0..3).map(|_| gate.admit().unwrap()).collect();
        for one in &members {
            one.member.received();
            one.member.begin_request();
        }
        at(&gate, 100);
        assert!(gate.admit().is_none(), "all are busy");
        members[2].member.end_request();
        at(&gate, 101);
        members[1].member.end_request();
        at(&gate, 110);
        let new = gate.admit();
        assert!(new.is_some());
        assert_eq!(verdicts(&members), [Verdict::Stay, Verdict::Stay, Verdict::Leave]);
        drop(members);
        drop(new);
        assert_eq!((gate.members().len(), gate.leaving.load(Relaxed)), (0, 0));
        assert!(gate.warnings()[0].starts_with("1 connection(s) refused (503 SlowDown): 3 are open"));
    }

    #[test]
    fn a_connection_that_was_just_used_is_not_evicted() {
        let gate = gate(1);
        let one = gate.admit().unwrap();
        one.member.begin_request();
        at(&gate, 5);
        one.member.end_request();
        assert!(gate.admit().is_none());
        at(&gate, 7);
        assert!(gate.admit().is_some());
    }

    #[test]
    fn half_a_head_has_its_time_and_a_body_has_as_long_as_it_moves() {
        let gate = gate(100);
        let members: Vec<_> = (0..3).map(|_| gate.admit().unwrap()).collect();
        for one in &members {
            one.member.received();
        }
        for body in &members[1..] {
            body.member.begin_request();
            body.member.wait_for_body(true);
        }
        for second in 1..40 {
            members[0].member.received();
            members[1].member.received();
            at(&gate, second);
        }
        assert_eq!(
            verdicts(&members),
            [Verdict::Cut, Verdict::Stay, Verdict::Cut],
            "a head, a body that moves, one that does not"
        );
        members[1].member.wait_for_body(false);
        at(&gate, 1000);
        assert_eq!(members[1].member.verdict(), Verdict::Stay, "the server is at work on it");
        assert!(gate.warnings()[0].starts_with("2 connection(s) closed: half a request"));
        assert_eq!(gate.warnings(), [""; 0], "said once in a while");
    }

    #[test]
    fn half_requests_are_bounded_and_the_oldest_go_first() {
        let gate = gate(40);
        let members: Vec<_> = (0..12).map(|_| gate.admit().unwrap()).collect();
        for (second, one) in (1..).zip(&members) {
            at(&gate, second);
            one.member.received();
        }
        at(&gate, 13);
        let cut = verdicts(&members).iter().filter(|verdict| **verdict == Verdict::Cut).count();
        assert_eq!((cut, members[0].member.verdict(), members[11].member.verdict()), (2, Verdict::Cut, Verdict::Stay));
    }
}
