//! Limits the number of open connections to what the descriptor limit allows, and closes connections whose request
//! stalls.
//!
//! Every connection has a [`TrackedConnection`] that records its phase: nothing received yet, waiting for a request, in the
//! middle of a request's head, or handling a request. When the limit is reached, connections that have been idle for
//! long are closed to make room; if there are none, the new connection is refused. Once per tick, a sweep closes
//! connections whose request has stopped arriving. The measured path writes only atomics of its own connection and
//! takes no lock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Connections that have been idle for less than this are kept, because their next request may be on its way.
const IDLE_MS: u64 = 1000;
/// Connections allowed beyond the limit while others close to make room.
const SLACK: usize = 32;
/// Refusals written at the same time; further connections wait until one of them has ended.
const REFUSALS: usize = 32;
/// Shortest interval between two warnings of the same kind.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// Phase of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// No byte has been received yet.
    New,
    /// The last request has been answered.
    Idle,
    /// Part of a request's head has been received.
    Head,
    /// A request is being received or answered.
    Busy,
}

/// The way in which a connection must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum CloseMode {
    /// The connection stays open.
    Stay,
    /// After the request in flight.
    Leave,
    /// Immediately.
    Cut,
}

/// Limits on connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Most connections open at a time.
    pub(crate) connections: usize,
    /// Descriptor limit of the process, for messages; `None`: unlimited.
    pub(crate) descriptors: Option<u64>,
    /// Longest time without further bytes of an incomplete request.
    pub(crate) request_timeout: Duration,
}

impl Limits {
    /// Most connections that may be in the middle of a request's head.
    fn half_open(&self) -> usize {
        (self.connections / 4).max(4)
    }
}

/// All connections of a process.
#[derive(Debug)]
pub(crate) struct ConnectionLimiter {
    limits: Limits,
    begin: Instant,
    /// Milliseconds since `begin`, as of the last tick. Connections read it; only the tick writes it.
    now_ms: Arc<AtomicU64>,
    members: Mutex<BTreeMap<u64, Arc<TrackedConnection>>>,
    next: AtomicU64,
    /// Members that were told to close and have not closed yet.
    leaving: AtomicUsize,
    refusals: Arc<Semaphore>,
    counts: Counts,
    said: Mutex<LastWarnings>,
}

/// Counters of events since the start.
#[derive(Debug, Default)]
struct Counts {
    refused: AtomicU64,
    cut: AtomicU64,
    not_accepted: AtomicU64,
}

/// Counters as of the last warnings.
#[derive(Debug, Default)]
struct LastWarnings {
    at: Option<Instant>,
    refused: u64,
    cut: u64,
    not_accepted: u64,
}

/// The state of one connection.
#[derive(Debug)]
pub(crate) struct TrackedConnection {
    phase: AtomicU8,
    /// Start of the phase or, within a request, time of the last byte, in milliseconds.
    since_ms: AtomicU64,
    waits_for_body: AtomicBool,
    verdict: AtomicU8,
    told: Notify,
    now_ms: Arc<AtomicU64>,
}

impl ConnectionLimiter {
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

    fn members(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<TrackedConnection>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a new connection; `None` means that it must be refused.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<ConnectionSlot> {
        let mut members = self.members();
        if members.len() >= self.limits.connections {
            self.make_room(&members);
            let staying = members.len().saturating_sub(self.leaving.load(Relaxed));
            if staying >= self.limits.connections || members.len() >= self.limits.connections.saturating_add(SLACK) {
                self.counts.refused.fetch_add(1, Relaxed);
                return None;
            }
        }
        let member = Arc::new(TrackedConnection {
            phase: AtomicU8::new(Phase::New as u8),
            since_ms: AtomicU64::new(self.now_ms.load(Relaxed)),
            waits_for_body: AtomicBool::new(false),
            verdict: AtomicU8::new(CloseMode::Stay as u8),
            told: Notify::new(),
            now_ms: Arc::clone(&self.now_ms),
        });
        let number = self.next.fetch_add(1, Relaxed);
        members.insert(number, Arc::clone(&member));
        Some(ConnectionSlot { gate: Arc::clone(self), number, member })
    }

    /// Waits until another refusal may be written.
    pub(crate) async fn begin_refusal(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.refusals).acquire_owned().await.ok()
    }

    /// Counts an accept that failed because no descriptor was left.
    pub(crate) fn could_not_accept(&self) {
        self.counts.not_accepted.fetch_add(1, Relaxed);
        self.make_room(&self.members());
    }

    /// Tells the connections that have been idle longest to close.
    fn make_room(&self, members: &BTreeMap<u64, Arc<TrackedConnection>>) {
        let now = self.now_ms.load(Relaxed);
        // The clock advances once per tick.
        let least = IDLE_MS + millis(self.tick());
        let long_ago = |member: &&Arc<TrackedConnection>| {
            let idle = matches!(member.phase(), Phase::New | Phase::Idle | Phase::Head);
            idle && member.verdict() == CloseMode::Stay && now.saturating_sub(member.since_ms.load(Relaxed)) >= least
        };
        let mut idle: Vec<&Arc<TrackedConnection>> = members.values().filter(long_ago).collect();
        idle.sort_by_key(|member| member.since_ms.load(Relaxed));
        for member in idle.into_iter().take((self.limits.connections / 32).max(1)) {
            // Closing a connection that never sent a request loses nothing.
            self.request_close(member, if member.phase() == Phase::Idle { CloseMode::Leave } else { CloseMode::Cut });
        }
    }

    fn request_close(&self, member: &TrackedConnection, verdict: CloseMode) {
        if member.verdict.swap(verdict as u8, Relaxed) == CloseMode::Stay as u8 {
            self.leaving.fetch_add(1, Relaxed);
        }
        member.told.notify_one();
    }

    /// Runs the sweep once per tick as long as the server lives.
    pub(crate) async fn watch(gate: Weak<Self>, tick: Duration) {
        loop {
            tokio::time::sleep(tick).await;
            let Some(gate) = gate.upgrade() else { return };
            gate.now_ms.store(millis(gate.begin.elapsed()), Relaxed);
            gate.sweep();
        }
    }

    /// Interval of the sweep of [`ConnectionLimiter::watch`].
    pub(crate) fn tick(&self) -> Duration {
        (self.limits.request_timeout / 8).clamp(Duration::from_millis(20), Duration::from_secs(1))
    }

    /// Closes connections whose request has stopped arriving and, where too many requests are incomplete, the oldest
    /// of these.
    fn sweep(&self) {
        let (now, limit) = (self.now_ms.load(Relaxed), millis(self.limits.request_timeout));
        let members = self.members();
        let mut half_open = Vec::new();
        for member in members.values().filter(|member| member.verdict() != CloseMode::Cut) {
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

    fn cut(&self, member: &TrackedConnection) {
        self.counts.cut.fetch_add(1, Relaxed);
        self.request_close(member, CloseMode::Cut);
    }

    /// Returns warnings for the user that were not given in the last seconds.
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

impl TrackedConnection {
    fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::New,
            1 => Phase::Idle,
            2 => Phase::Head,
            _ => Phase::Busy,
        }
    }

    fn verdict(&self) -> CloseMode {
        match self.verdict.load(Relaxed) {
            0 => CloseMode::Stay,
            1 => CloseMode::Leave,
            _ => CloseMode::Cut,
        }
    }

    fn enter(&self, phase: Phase) {
        self.touch();
        self.phase.store(phase as u8, Relaxed);
    }

    fn touch(&self) {
        self.since_ms.store(self.now_ms.load(Relaxed), Relaxed);
    }

    /// Records that bytes have arrived.
    pub(crate) fn received(&self) {
        match self.phase() {
            Phase::New | Phase::Idle => self.enter(Phase::Head),
            // The deadline of a head counts from its first byte, even if more bytes keep arriving.
            Phase::Head => {}
            Phase::Busy => self.touch(),
        }
    }

    /// Records that a request's head is complete.
    pub(crate) fn begin_request(&self) {
        self.enter(Phase::Busy);
    }

    /// Records that a response has been sent or handed to the connection.
    pub(crate) fn end_request(&self) {
        self.waits_for_body.store(false, Relaxed);
        self.enter(Phase::Idle);
    }

    /// Records whether the server waits for the request's body.
    pub(crate) fn wait_for_body(&self, waits: bool) {
        if waits != self.waits_for_body.load(Relaxed) {
            self.waits_for_body.store(waits, Relaxed);
        }
    }

    /// Waits until the connection is told to close.
    pub(crate) async fn close_requested(&self) -> CloseMode {
        loop {
            self.told.notified().await;
            match self.verdict() {
                CloseMode::Stay => {}
                verdict => return verdict,
            }
        }
    }
}

/// A registered connection; dropping it removes the registration.
pub(crate) struct ConnectionSlot {
    gate: Arc<ConnectionLimiter>,
    number: u64,
    pub(crate) member: Arc<TrackedConnection>,
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.gate.members().remove(&self.number);
        if self.member.verdict() != CloseMode::Stay {
            self.gate.leaving.fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(connections: usize) -> Arc<ConnectionLimiter> {
        ConnectionLimiter::new(Limits { connections, descriptors: Some(256), request_timeout: Duration::from_secs(30) })
    }

    fn at(gate: &ConnectionLimiter, seconds: u64) {
        gate.now_ms.store(seconds * 1000, Relaxed);
        gate.sweep();
    }

    fn verdicts(members: &[ConnectionSlot]) -> Vec<CloseMode> {
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
        assert_eq!(verdicts(&members), [CloseMode::Stay, CloseMode::Stay, CloseMode::Leave]);
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
            [CloseMode::Cut, CloseMode::Stay, CloseMode::Cut],
            "a head, a body that moves, one that does not"
        );
        members[1].member.wait_for_body(false);
        at(&gate, 1000);
        assert_eq!(members[1].member.verdict(), CloseMode::Stay, "the server is at work on it");
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
        let cut = verdicts(&members).iter().filter(|verdict| **verdict == CloseMode::Cut).count();
        assert_eq!(
            (cut, members[0].member.verdict(), members[11].member.verdict()),
            (2, CloseMode::Cut, CloseMode::Stay)
        );
    }
}
