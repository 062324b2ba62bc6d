//! Health of an endpoint, shared by all lanes of a rank: whether it answers, which request probes it while it is
//! down, and the outages of the run.
//!
//! Invariant: while an endpoint is down, only one request at a time is sent to it. For a healthy endpoint, a request
//! costs one load and one store.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dlio_event::{Nanos, TimeSource};
use tokio::sync::Notify;

use super::retry::nanos;

/// A request without a byte for this long is reported.
pub(super) const NOTICE: Duration = Duration::from_secs(3);
/// A shorter outage is counted but not reported.
const BLIP: Duration = Duration::from_secs(1);
/// Shortest interval between two reports of silence of a slow endpoint.
const SILENCE_PAUSE: Duration = Duration::from_mins(1);
/// First pause between probes of an endpoint that is down; it doubles with each probe.
const PROBE_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause between probes.
const PROBE_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Consecutive connections broken before a response, after which an endpoint counts as down.
const STRIKES: u32 = 2;
/// Most outages that are recorded individually.
const REMEMBERED: usize = 1000;

const UP: u8 = 0;
/// Requests are sent, but none has been answered for a while, which was reported.
const SILENT: u8 = 1;
const DOWN: u8 = 2;

/// A change in the health of an endpoint that users should know immediately.
#[derive(Debug, Clone, PartialEq)]
pub enum EndpointNotice {
    /// A request has waited for this long without a byte from the endpoint.
    Silent {
        /// Endpoint.
        endpoint: Arc<str>,
        /// The waiting operation: `reading s3://bucket/key`.
        waiting: String,
        /// Time waited.
        seconds: f64,
    },
    /// Requests to the endpoint fail.
    Down {
        /// Endpoint.
        endpoint: Arc<str>,
        /// The last failure.
        reason: String,
        /// Time since the outage began.
        seconds: f64,
    },
    /// The endpoint answers again.
    Recovered {
        /// Endpoint.
        endpoint: Arc<str>,
        /// Duration of the outage.
        seconds: f64,
        /// Requests that failed or waited.
        affected: u64,
    },
}

/// Receives notices, from any thread.
pub type NoticeSink = Arc<dyn Fn(EndpointNotice) + Send + Sync>;

/// A period in which an endpoint did not answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Outage {
    /// Endpoint.
    pub endpoint: Arc<str>,
    /// Start, on the storage's time source.
    pub start: Nanos,
    /// End; `None`: it has not ended.
    pub end: Option<Nanos>,
    /// Requests that failed or waited.
    pub affected: u64,
}

/// Health of an endpoint.
pub(super) struct Health {
    state: AtomicU8,
    /// Time of the last complete response.
    answered: AtomicU64,
    /// Start of the current outage.
    since: AtomicU64,
    affected: AtomicU64,
    reported: AtomicBool,
    /// Earliest time of the next report of silence.
    quiet_until: AtomicU64,
    strikes: AtomicU32,
    probing: AtomicBool,
    /// Failed probes of this outage.
    probes: AtomicU32,
    next_probe: AtomicU64,
    turn: Notify,
    cold: Mutex<Cold>,
}

#[derive(Default)]
struct Cold {
    reason: String,
    past: Vec<Outage>,
}

/// Evidence about an endpoint from a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evidence {
    /// No connection was made.
    Refused,
    /// A connection broke or stayed silent before a response.
    Unanswered,
}

impl Health {
    pub(super) fn new() -> Self {
        Self {
            state: AtomicU8::new(UP),
            answered: AtomicU64::new(0),
            since: AtomicU64::new(0),
            affected: AtomicU64::new(0),
            reported: AtomicBool::new(false),
            quiet_until: AtomicU64::new(0),
            strikes: AtomicU32::new(0),
            probing: AtomicBool::new(false),
            probes: AtomicU32::new(0),
            next_probe: AtomicU64::new(0),
            turn: Notify::new(),
            cold: Mutex::default(),
        }
    }

    /// Returns whether the endpoint is healthy.
    #[inline]
    pub(super) fn is_up(&self) -> bool {
        self.state.load(Ordering::Relaxed) == UP
    }

    /// Returns whether the endpoint has ever answered.
    pub(super) fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed) > 0
    }

    /// Returns whether requests must wait.
    #[inline]
    pub(super) fn is_down(&self) -> bool {
        self.state.load(Ordering::Relaxed) == DOWN
    }

    /// Records a response; returns the notice to report, if any.
    #[inline]
    pub(super) fn answered(&self, endpoint: &Arc<str>, now: Nanos) -> Option<EndpointNotice> {
        self.answered.store(now, Ordering::Relaxed);
        if self.is_up() && self.strikes.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.recovered(endpoint, now)
    }

    #[cold]
    fn recovered(&self, endpoint: &Arc<str>, now: Nanos) -> Option<EndpointNotice> {
        self.strikes.store(0, Ordering::Relaxed);
        let mut cold = self.cold.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.state.swap(UP, Ordering::AcqRel);
        if before == UP {
            return None;
        }
        self.probes.store(0, Ordering::Relaxed);
        let outage = self.outage(endpoint, Some(now));
        let (affected, seconds) = (outage.affected, seconds(now.saturating_sub(outage.start)));
        let reported = self.reported.swap(false, Ordering::AcqRel);
        if (before == DOWN || reported) && cold.past.len() < REMEMBERED {
            cold.past.push(outage);
        }
        drop(cold);
        self.turn.notify_waiters();
        reported.then(|| EndpointNotice::Recovered { endpoint: Arc::clone(endpoint), seconds, affected })
    }

    fn outage(&self, endpoint: &Arc<str>, end: Option<Nanos>) -> Outage {
        let (start, affected) = (self.since.load(Ordering::Relaxed), self.affected.load(Ordering::Relaxed));
        Outage { endpoint: Arc::clone(endpoint), start, end, affected }
    }

    /// Records an attempt that began at `start` and failed without a response; returns the notice to report, if any.
    pub(super) fn failed(
        &self,
        endpoint: &Arc<str>,
        evidence: Evidence,
        (start, now): (Nanos, Nanos),
        reason: &str,
    ) -> Option<EndpointNotice> {
        if self.answered.load(Ordering::Relaxed) > start {
            return None;
        }
        let strikes = self.strikes.fetch_add(1, Ordering::Relaxed) + 1;
        let mut cold = self.cold.lock().unwrap_or_else(PoisonError::into_inner);
        reason.clone_into(&mut cold.reason);
        let silent = self.state.load(Ordering::Relaxed) == SILENT;
        if !self.is_down() && (evidence == Evidence::Refused || silent || strikes >= STRIKES) {
            if self.state.swap(DOWN, Ordering::AcqRel) == UP {
                self.since.store(start, Ordering::Relaxed);
                self.affected.store(0, Ordering::Relaxed);
            }
            self.next_probe.store(now + nanos(PROBE_PAUSE), Ordering::Relaxed);
        }
        drop(cold);
        self.report(endpoint, now)
    }

    /// Returns a notice once an outage has lasted for a while.
    pub(super) fn report(&self, endpoint: &Arc<str>, now: Nanos) -> Option<EndpointNotice> {
        let lasted = now.saturating_sub(self.since.load(Ordering::Relaxed));
        if !self.is_down() || lasted < nanos(BLIP) || self.reported.swap(true, Ordering::AcqRel) {
            return None;
        }
        let reason = self.reason();
        Some(EndpointNotice::Down { endpoint: Arc::clone(endpoint), reason, seconds: seconds(lasted) })
    }

    /// Records a request that has waited since `start` without a byte; returns the notice to report, if any.
    pub(super) fn silent(
        &self,
        endpoint: &Arc<str>,
        (start, now): (Nanos, Nanos),
        waiting: impl FnOnce() -> String,
    ) -> Option<EndpointNotice> {
        if self.answered.load(Ordering::Relaxed) > start {
            return None;
        }
        let turned = self.state.compare_exchange(UP, SILENT, Ordering::AcqRel, Ordering::Acquire);
        if turned.is_ok() {
            self.since.store(start, Ordering::Relaxed);
            self.affected.store(0, Ordering::Relaxed);
        }
        self.affect();
        let quiet = now < self.quiet_until.load(Ordering::Relaxed);
        if quiet || self.reported.swap(true, Ordering::AcqRel) {
            return None;
        }
        self.quiet_until.store(now + nanos(SILENCE_PAUSE), Ordering::Relaxed);
        let seconds = seconds(now.saturating_sub(start));
        Some(EndpointNotice::Silent { endpoint: Arc::clone(endpoint), waiting: waiting(), seconds })
    }

    /// Counts an operation that failed or waits.
    pub(super) fn affect(&self) {
        self.affected.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the message of the last failure.
    pub(super) fn reason(&self) -> String {
        self.cold.lock().unwrap_or_else(PoisonError::into_inner).reason.clone()
    }

    /// Returns whether a probe is due.
    pub(super) fn is_probe_due(&self, now: Nanos) -> bool {
        now >= self.next_probe.load(Ordering::Relaxed) && !self.probing.load(Ordering::Relaxed)
    }

    /// Takes the right to probe the endpoint, if a probe is due.
    pub(super) fn probe(&self, now: Nanos) -> Option<Probe<'_>> {
        if now < self.next_probe.load(Ordering::Relaxed) {
            return None;
        }
        let taken = self.probing.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire);
        taken.is_ok().then_some(Probe { health: self })
    }

    /// Schedules the next probe after one that failed at `now`.
    pub(super) fn probe_failed(&self, now: Nanos) {
        let failed = self.probes.fetch_add(1, Ordering::Relaxed) + 1;
        let pause = PROBE_PAUSE.saturating_mul(2_u32.saturating_pow(failed)).min(PROBE_PAUSE_MAX);
        self.next_probe.store(now + nanos(pause), Ordering::Relaxed);
    }

    /// Waits until the state may have changed.
    pub(super) async fn change(&self, time: &dyn TimeSource, most: Duration) {
        let changed = self.turn.notified();
        if !self.is_down() {
            return;
        }
        let due = self.next_probe.load(Ordering::Relaxed).saturating_sub(time.now());
        // A probing request may have been dropped without a result, so the state is checked now and then.
        let pause = if due > 0 && !self.probing.load(Ordering::Relaxed) { Duration::from_nanos(due) } else { BLIP };
        let pause = pause.min(most).max(Duration::from_millis(1));
        let _ = tokio::time::timeout(pause, changed).await;
    }

    /// Returns all outages so far, including the current one.
    pub(super) fn outages(&self, endpoint: &Arc<str>) -> Vec<Outage> {
        let mut all = self.cold.lock().unwrap_or_else(PoisonError::into_inner).past.clone();
        if self.is_down() {
            all.push(self.outage(endpoint, None));
        }
        all
    }
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Health({})", ["up", "silent", "down"][usize::from(self.state.load(Ordering::Relaxed).min(DOWN))])
    }
}

/// The right to probe an endpoint that is down; dropping it lets the next request probe.
#[derive(Debug)]
pub(super) struct Probe<'a> {
    health: &'a Health,
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        self.health.probing.store(false, Ordering::Release);
        self.health.turn.notify_waiters();
    }
}

fn seconds(duration: Nanos) -> f64 {
    duration as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn name() -> Arc<str> {
        "http://a:9000".into()
    }

    #[test]
    fn a_refused_connection_takes_an_endpoint_down_and_an_answer_brings_it_back() {
        let health = Health::new();
        assert_eq!(
            health.failed(&name(), Evidence::Refused, (SECOND, SECOND), "refused"),
            None,
            "not yet worth a line"
        );
        assert!(health.is_down());
        health.affect();
        let told = health.failed(&name(), Evidence::Refused, (2 * SECOND, 3 * SECOND), "refused");
        assert_eq!(told, Some(EndpointNotice::Down { endpoint: name(), reason: "refused".into(), seconds: 2.0 }));
        assert_eq!(health.failed(&name(), Evidence::Refused, (4 * SECOND, 4 * SECOND), "refused"), None, "one line");
        let told = health.answered(&name(), 5 * SECOND);
        assert_eq!(told, Some(EndpointNotice::Recovered { endpoint: name(), seconds: 4.0, affected: 1 }));
        assert!(health.is_up());
        let outage = Outage { endpoint: name(), start: SECOND, end: Some(5 * SECOND), affected: 1 };
        assert_eq!(health.outages(&name()), [outage]);
    }

    #[test]
    fn a_short_outage_is_remembered_without_a_line() {
        let health = Health::new();
        health.failed(&name(), Evidence::Refused, (SECOND, SECOND), "refused");
        assert_eq!(health.answered(&name(), SECOND + SECOND / 2), None);
        assert_eq!(health.outages(&name()).len(), 1);
    }

    #[test]
    fn one_broken_connection_is_no_outage_and_neither_is_one_beside_answers() {
        let health = Health::new();
        health.failed(&name(), Evidence::Unanswered, (SECOND, SECOND), "reset");
        assert!(health.is_up());
        health.answered(&name(), 2 * SECOND);
        health.failed(&name(), Evidence::Unanswered, (3 * SECOND, 3 * SECOND), "reset");
        assert!(health.is_up(), "the answer in between counts");
        health.failed(&name(), Evidence::Refused, (SECOND, 4 * SECOND), "refused");
        assert!(health.is_up(), "others were answered meanwhile");
        health.failed(&name(), Evidence::Unanswered, (3 * SECOND, 4 * SECOND), "reset");
        assert!(health.is_down());
    }

    #[test]
    fn one_request_at_a_time_asks_and_pauses_grow() {
        let health = Health::new();
        health.failed(&name(), Evidence::Refused, (SECOND, SECOND), "refused");
        assert!(health.probe(SECOND).is_none(), "too early");
        let now = 2 * SECOND;
        let probe = health.probe(now).unwrap();
        assert!(health.probe(now).is_none(), "somebody asks already");
        health.probe_failed(now);
        drop(probe);
        assert!(health.probe(now + nanos(PROBE_PAUSE)).is_none());
        assert!(health.probe(now + nanos(PROBE_PAUSE * 2)).is_some());
        (0..10).for_each(|_| health.probe_failed(now));
        assert!(health.probe(now + nanos(PROBE_PAUSE_MAX)).is_some());
    }

    #[test]
    fn silence_is_told_once_and_only_if_nobody_was_answered() {
        let health = Health::new();
        let waiting = || "reading s3://b/k".to_owned();
        let told = health.silent(&name(), (SECOND, 4 * SECOND), waiting);
        let silent = EndpointNotice::Silent { endpoint: name(), waiting: waiting(), seconds: 3.0 };
        assert_eq!(told, Some(silent));
        assert_eq!(health.silent(&name(), (SECOND, 4 * SECOND), waiting), None);
        assert!(!health.is_up() && !health.is_down());
        assert!(
            matches!(health.answered(&name(), 9 * SECOND), Some(EndpointNotice::Recovered { seconds, .. }) if seconds > 7.9)
        );
        assert_eq!(health.outages(&name()).len(), 1);
        assert_eq!(health.silent(&name(), (8 * SECOND, 11 * SECOND), waiting), None, "answered at 9 s");
        assert_eq!(
            health.silent(&name(), (10 * SECOND, 13 * SECOND), waiting),
            None,
            "a slow endpoint is told once a minute"
        );
        assert_eq!(health.answered(&name(), 14 * SECOND), None);
        assert_eq!(health.outages(&name()).len(), 1, "slowness is no outage");
    }
}
