//! The retry policy of every S3 request: whether a request that failed is sent again, and when.
//!
//! Invariant: all decisions are made here, by a state machine without clock, randomness or I/O of its own. An operation is given up
//! when no byte of it has moved for `retry_for`; a transfer that moves is never ended by that limit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dlio_event::{Nanos, Outcome};

use super::failure::{Failure, Retry};

/// Longest pause between two attempts that the server did not ask for.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Answers in a row that may end early before the server counts as broken rather than as unavailable.
const SHORT_MAX: u32 = 5;
/// An answer that delivered this many bytes before it ended early does not count towards [`SHORT_MAX`].
const SHORT_PROGRESS: u64 = 1 << 20;
/// How long the check before a run goes on asking an endpoint that refuses connections.
const REFUSED_AT_START: Duration = Duration::from_secs(5);
/// Shortest time that an attempt gets, however little is left.
const ATTEMPT_MIN: Duration = Duration::from_secs(1);
/// Longest wait for the first byte of an answer where other endpoints can take the request.
const FAILOVER_LIMIT: Duration = Duration::from_secs(5);
/// Retries that one client may send to an endpoint at once, and then per second.
const BUDGET_BURST: u64 = 32;
/// Time in which the budget earns one retry.
const BUDGET_INTERVAL: Duration = Duration::from_millis(50);

/// When requests that fail are sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts of one request, the first included, but for those that reach nobody; `None`: as many as `retry_for` has room for.
    pub max_attempts: Option<u32>,
    /// An operation is given up when no byte of it has moved for this long; zero: nothing is sent twice.
    pub retry_for: Duration,
    /// What the user calls that limit, for messages: a key or a flag.
    pub named: &'static str,
    /// First pause between attempts; it doubles with each up to 5 s, times a seeded factor of 0.5 to 1.
    pub backoff: Duration,
    /// This is the check before a run: an endpoint that refuses connections is given up after 5 s.
    pub at_start: bool,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: None,
            retry_for: Duration::from_mins(1),
            named: "dlio_rs.retry_for",
            backoff: Duration::from_millis(100),
            at_start: false,
        }
    }
}

/// What the policy must know of an attempt that failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// When the attempt began.
    pub(super) start: Nanos,
    /// When it failed.
    pub(super) end: Nanos,
    /// Bytes of an answer that were passed on: they need not be asked for again.
    pub(super) delivered: u64,
    /// Bytes of a request's body that were sent.
    pub(super) sent: u64,
}

/// What is to be done after an attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Send it again at once; it does not count.
    Again,
    /// Send it again after this pause.
    After(Duration),
    /// It failed for good.
    GiveUp,
}

/// The attempts of one operation so far.
#[derive(Debug, Default)]
pub(super) struct RetryState {
    counted: u32,
    /// Failures since a byte was delivered: the exponent of the next pause.
    streak: u32,
    short: u32,
    freed: bool,
    /// Since when no byte has moved; `None`: nothing has failed, or bytes came since.
    since: Option<Nanos>,
}

impl RetryState {
    /// Decides after a failed attempt; `draw` is a number of the client's seeded stream.
    pub(super) fn next(&mut self, policy: &RetryPolicy, failure: &Failure, seen: Seen, draw: u64) -> Next {
        if failure.retry == Retry::Free && !self.freed {
            self.freed = true;
            return Next::Again;
        }
        // DLIO's files name 5 attempts: meant for requests that a server refuses, not for the time of its restart.
        self.counted += u32::from(failure.outcome != Outcome::Connect);
        self.note(failure, seen);
        let waited = self.waited(seen.end);
        let attempts = policy.max_attempts.is_some_and(|most| self.counted >= most.max(1));
        let refused = policy.at_start && failure.outcome == Outcome::Connect && waited >= REFUSED_AT_START;
        let broken = self.short >= SHORT_MAX;
        if failure.retry == Retry::Never || attempts || refused || broken || waited >= policy.retry_for {
            return Next::GiveUp;
        }
        let growth = 2_u32.saturating_pow(self.streak.saturating_sub(1));
        let factor = 0.5 + (draw >> 11) as f64 / (1_u64 << 54) as f64;
        let pause = policy.backoff.saturating_mul(growth).min(PAUSE_MAX).mul_f64(factor);
        let pause = failure.retry_after.map_or(pause, |asked| asked.max(pause));
        // The last attempt comes at the end of the time, not after it.
        Next::After(pause.min(policy.retry_for.saturating_sub(waited)))
    }

    fn note(&mut self, failure: &Failure, seen: Seen) {
        let is_short = failure.outcome == Outcome::ShortRead;
        let stalled = seen.end.saturating_sub(nanos(failure.silent));
        self.streak += 1;
        if seen.delivered > 0 {
            (self.since, self.streak) = (Some(stalled), 1);
        }
        match &mut self.since {
            // The time in which a body was on its way is no silence.
            Some(since) if seen.sent > 0 => *since += stalled.saturating_sub(seen.start.max(*since)),
            Some(_) => {}
            None => self.since = Some(stalled),
        }
        self.short = if is_short && seen.delivered < SHORT_PROGRESS { self.short + 1 } else { 0 };
    }

    /// An operation that waits for an endpoint without having sent anything.
    pub(super) fn wait_from(&mut self, now: Nanos) {
        self.since.get_or_insert(now);
    }

    /// How long no byte has moved.
    pub(super) fn waited(&self, now: Nanos) -> Duration {
        Duration::from_nanos(self.since.map_or(0, |since| now.saturating_sub(since)))
    }

    /// Longest silence that the next attempt is allowed.
    pub(super) fn limit(
        &self,
        policy: &RetryPolicy,
        request_timeout: Duration,
        now: Nanos,
        failover: bool,
    ) -> Duration {
        let limit = if failover { request_timeout.min(FAILOVER_LIMIT) } else { request_timeout };
        if policy.retry_for.is_zero() {
            return limit;
        }
        let left = policy.retry_for.saturating_sub(self.waited(now));
        limit.min(left.max(ATTEMPT_MIN.min(policy.retry_for)))
    }
}

/// Limits the retries that reach one endpoint, so that they cannot make an outage worse: a burst of 32, then 20 per second.
#[derive(Debug, Default)]
pub(super) struct RetryBudget {
    /// When the last retry that was granted is paid for.
    paid: AtomicU64,
}

impl RetryBudget {
    /// Takes one retry; returns how long it must wait for its turn.
    pub(super) fn take(&self, now: Nanos) -> Duration {
        let interval = nanos(BUDGET_INTERVAL);
        let grant = |paid: u64| paid.max(now) + interval;
        let before = self.paid.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |paid| Some(grant(paid)));
        let (Ok(before) | Err(before)) = before;
        Duration::from_nanos(grant(before).saturating_sub(now + BUDGET_BURST * interval))
    }
}

pub(super) fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    const SECOND: u64 = 1_000_000_000;

    fn refused() -> Failure {
        Failure::connect("Connection refused")
    }

    fn throttled(after: Option<u64>) -> Failure {
        let failure = Failure::new(ErrorKind::Server, Outcome::Throttled, "HTTP 503").later();
        Failure { retry_after: after.map(Duration::from_secs), ..failure }
    }

    fn short() -> Failure {
        Failure::short(100, 10)
    }

    fn at(start: u64, end: u64) -> Seen {
        Seen { start, end, delivered: 0, sent: 0 }
    }

    /// Lets an operation fail in the same way until it is given up; returns its attempts and the time in seconds.
    fn endure(policy: &RetryPolicy, lasts: u64, fail: impl Fn() -> Failure) -> (u32, f64) {
        let (mut state, mut now, mut attempts) = (RetryState::default(), 7 * SECOND, 0);
        loop {
            let start = now;
            now += lasts;
            attempts += 1;
            match state.next(policy, &fail(), at(start, now), u64::from(attempts) << 40) {
                Next::After(pause) => now += nanos(pause),
                Next::Again => {}
                Next::GiveUp => return (attempts, (now - 7 * SECOND) as f64 / 1e9),
            }
        }
    }

    #[test]
    fn a_refused_connection_is_tried_for_the_whole_time_and_given_up_at_its_end() {
        let (attempts, seconds) = endure(&RetryPolicy::default(), 1000, refused);
        assert!((60.0..60.1).contains(&seconds), "{seconds}");
        assert!((16..40).contains(&attempts), "{attempts} attempts");
    }

    #[test]
    fn attempts_are_a_limit_where_they_are_named() {
        let policy = RetryPolicy { max_attempts: Some(3), ..RetryPolicy::default() };
        assert_eq!(endure(&policy, 1000, || throttled(None)).0, 3);
        assert!(endure(&policy, 1000, refused).1 >= 60.0, "what reaches nobody is no attempt at anything");
    }

    #[test]
    fn nothing_is_sent_twice_without_time() {
        let policy = RetryPolicy { retry_for: Duration::ZERO, ..RetryPolicy::default() };
        assert_eq!(endure(&policy, 1000, refused).0, 1);
    }

    #[test]
    fn silence_counts_from_the_last_byte_and_not_from_its_discovery() {
        let policy = RetryPolicy::default();
        let limit = Duration::from_secs(30);
        let (attempts, seconds) = endure(&policy, 30 * SECOND, || Failure::timeout("no byte moved", limit));
        assert_eq!(attempts, 2 + u32::from(seconds < 60.0), "{seconds}");
        assert!((60.0..90.1).contains(&seconds), "{seconds}");
    }

    #[test]
    fn the_last_attempts_get_what_is_left() {
        let policy = RetryPolicy::default();
        let request = Duration::from_secs(30);
        let mut state = RetryState::default();
        assert_eq!(state.limit(&policy, request, 0, false), request);
        assert_eq!(state.limit(&policy, request, 0, true), FAILOVER_LIMIT);
        let short = RetryPolicy { retry_for: Duration::from_secs(5), ..policy };
        assert_eq!(state.limit(&short, request, 0, false), Duration::from_secs(5));
        let none = RetryPolicy { retry_for: Duration::ZERO, ..policy };
        assert_eq!(state.limit(&none, request, 0, false), request);
        state.next(&policy, &refused(), at(0, 0), 0);
        assert_eq!(state.limit(&policy, request, 50 * SECOND, false), Duration::from_secs(10));
        assert_eq!(state.limit(&policy, request, 60 * SECOND, false), ATTEMPT_MIN);
    }

    #[test]
    fn a_transfer_that_moves_goes_on_however_often_it_breaks() {
        let policy = RetryPolicy::default();
        let mut state = RetryState::default();
        for turn in 1..1000 {
            let start = turn * 20 * SECOND;
            let seen = Seen { delivered: 2 << 20, ..at(start, start + 19 * SECOND) };
            assert!(matches!(state.next(&policy, &short(), seen, 0), Next::After(pause) if pause < policy.backoff));
        }
    }

    #[test]
    fn answers_that_end_at_once_are_given_up_soon() {
        let (attempts, seconds) = endure(&RetryPolicy::default(), 1000, short);
        assert_eq!(attempts, SHORT_MAX);
        assert!(seconds < 3.0);
    }

    #[test]
    fn the_time_in_which_a_body_was_sent_is_no_silence() {
        let policy = RetryPolicy::default();
        let mut state = RetryState::default();
        let mut now = 0;
        for _ in 0..4 {
            let seen = Seen { sent: 1 << 30, ..at(now, now + 100 * SECOND) };
            now += 100 * SECOND;
            assert_ne!(state.next(&policy, &throttled(None), seen, 0), Next::GiveUp, "at {now}");
        }
        assert!(state.waited(now) < Duration::from_secs(1));
        let small = || throttled(None);
        assert!(endure(&policy, 1000, small).1 < 61.0, "refusals of small bodies end in time");
    }

    #[test]
    fn the_server_says_how_long_to_wait_within_what_is_left() {
        let policy = RetryPolicy::default();
        let mut state = RetryState::default();
        let asked = state.next(&policy, &throttled(Some(20)), at(0, 0), 0);
        assert_eq!(asked, Next::After(Duration::from_secs(20)));
        let capped = state.next(&policy, &throttled(Some(3600)), at(20 * SECOND, 20 * SECOND), 0);
        assert_eq!(capped, Next::After(Duration::from_secs(40)));
        assert_eq!(state.next(&policy, &throttled(Some(1)), at(60 * SECOND, 60 * SECOND), 0), Next::GiveUp);
    }

    #[test]
    fn pauses_double_and_repeat_with_their_seed() {
        let policy = RetryPolicy::default();
        let pauses = |seed: u64| {
            let mut state = RetryState::default();
            let next = |k: u64| state.next(&policy, &refused(), at(k, k), dlio_event::mix::splitmix64(seed ^ k));
            (0..8).map(next).collect::<Vec<_>>()
        };
        assert_eq!(pauses(3), pauses(3));
        assert_ne!(pauses(3), pauses(4));
        for (turn, next) in pauses(3).into_iter().enumerate() {
            let full = Duration::from_millis(100 << turn).min(PAUSE_MAX);
            assert!(matches!(next, Next::After(pause) if pause >= full / 2 && pause <= full), "{next:?} of {full:?}");
        }
    }

    #[test]
    fn a_connection_that_was_closed_while_idle_is_free_once() {
        let policy = RetryPolicy::default();
        let closed = || Failure { retry: Retry::Free, ..refused() };
        let mut state = RetryState::default();
        assert_eq!(state.next(&policy, &closed(), at(0, 0), 0), Next::Again);
        assert!(matches!(state.next(&policy, &closed(), at(0, 0), 0), Next::After(_)));
    }

    #[test]
    fn the_check_before_a_run_does_not_wait_long_for_an_endpoint_that_refuses() {
        let policy = RetryPolicy { at_start: true, ..RetryPolicy::default() };
        let seconds = endure(&policy, 1000, refused).1;
        assert!((5.0..10.1).contains(&seconds), "{seconds}");
        assert!(endure(&policy, 1000, || throttled(None)).1 >= 60.0);
    }

    #[test]
    fn a_budget_spreads_retries_once_its_burst_is_used_up() {
        let budget = RetryBudget::default();
        assert!((0..BUDGET_BURST).all(|_| budget.take(SECOND).is_zero()));
        let waits: Vec<Duration> = (0..3).map(|_| budget.take(SECOND)).collect();
        assert_eq!(waits, [1, 2, 3].map(|turn| BUDGET_INTERVAL * turn));
        assert!(budget.take(60 * SECOND).is_zero(), "it recovers with time");
    }
}
