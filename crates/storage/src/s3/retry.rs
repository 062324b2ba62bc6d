//! The retry policy of all S3 requests: whether a failed request is sent again, and when.
//!
//! Invariant: all decisions are made here, by a state machine without clock, randomness or I/O. An operation is given
//! up when no byte of it has moved for `retry_for`; this limit never ends a transfer whose bytes keep moving.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dlio_event::{Nanos, Outcome};
use http::Request;
use hyper::client::conn::TrySendError;

use super::failure::{Failure, Retry};

/// Longest pause between two attempts, unless the server asks for more.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Consecutive truncated responses after which the server counts as broken rather than as unavailable.
const SHORT_MAX: u32 = 5;
/// A truncated response that delivered this many bytes does not count towards [`SHORT_MAX`].
const SHORT_PROGRESS: u64 = 1 << 20;
/// Retry time of the check before a run for an endpoint that refuses connections.
const REFUSED_AT_START: Duration = Duration::from_secs(5);
/// Shortest time limit of an attempt, however little time is left.
const ATTEMPT_MIN: Duration = Duration::from_secs(1);
/// Longest wait for the first byte of a response if other endpoints can take the request.
const FAILOVER_LIMIT: Duration = Duration::from_secs(5);
/// Retries that a client may send to an endpoint in a burst.
const BUDGET_BURST: u64 = 32;
/// Interval at which further retries are allowed.
const BUDGET_INTERVAL: Duration = Duration::from_millis(50);

/// When failed requests are sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Most attempts of one request, including the first; attempts without a connection do not count. `None`: as many
    /// as fit into `retry_for`.
    pub max_attempts: Option<u32>,
    /// An operation is given up when no byte of it has moved for this long; zero: no retries.
    pub retry_for: Duration,
    /// Name of that limit in messages: a key or a flag.
    pub named: &'static str,
    /// First pause between attempts. It doubles with each attempt up to 5 s, and is multiplied by a seeded random
    /// factor between 0.5 and 1.
    pub backoff: Duration,
    /// Whether this is the check before a run, in which an endpoint that refuses connections is given up after 5 s.
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

/// The properties of a failed attempt that the policy needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct FailedAttempt {
    /// Start of the attempt.
    pub(super) start: Nanos,
    /// Time of the failure.
    pub(super) end: Nanos,
    /// Bytes of the response that were delivered and need not be requested again.
    pub(super) delivered: u64,
    /// Bytes of the request's body that were sent.
    pub(super) sent: u64,
}

/// Decision after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryDecision {
    /// Send it again immediately, without counting the attempt.
    Again,
    /// Send it again after this pause.
    After(Duration),
    /// Give up.
    GiveUp,
}

/// State of an operation's retries.
#[derive(Debug, Default)]
pub(super) struct RetryState {
    counted: u32,
    /// Failures since a byte was delivered, which is the exponent of the next pause.
    streak: u32,
    short: u32,
    freed: bool,
    /// Time since which no byte has moved; `None` if nothing has failed or bytes have arrived since.
    since: Option<Nanos>,
}

impl RetryState {
    /// Decides what happens after a failed attempt; `draw` is the next number of the client's seeded stream.
    pub(super) fn next(
        &mut self,
        policy: &RetryPolicy,
        failure: &Failure,
        seen: FailedAttempt,
        draw: u64,
    ) -> RetryDecision {
        if failure.retry == Retry::Free && !self.freed {
            self.freed = true;
            return RetryDecision::Again;
        }
        // DLIO's files set 5 attempts, which is meant for refused requests and not for the time that a server needs
        // to restart.
        self.counted += u32::from(failure.outcome != Outcome::Connect);
        self.note(failure, seen);
        let waited = self.waited(seen.end);
        let attempts = policy.max_attempts.is_some_and(|most| self.counted >= most.max(1));
        let refused = policy.at_start && failure.outcome == Outcome::Connect && waited >= REFUSED_AT_START;
        let broken = self.short >= SHORT_MAX;
        if failure.retry == Retry::Never || attempts || refused || broken || waited >= policy.retry_for {
            return RetryDecision::GiveUp;
        }
        let growth = 2_u32.saturating_pow(self.streak.saturating_sub(1));
        let factor = 0.5 + (draw >> 11) as f64 / (1_u64 << 54) as f64;
        let pause = policy.backoff.saturating_mul(growth).min(PAUSE_MAX).mul_f64(factor);
        let pause = failure.retry_after.map_or(pause, |asked| asked.max(pause));
        // The last attempt takes place at the end of the time limit, not after it.
        RetryDecision::After(pause.min(policy.retry_for.saturating_sub(waited)))
    }

    fn note(&mut self, failure: &Failure, seen: FailedAttempt) {
        let is_short = failure.outcome == Outcome::ShortRead;
        let stalled = seen.end.saturating_sub(nanos(failure.silent));
        self.streak += 1;
        if seen.delivered > 0 {
            (self.since, self.streak) = (Some(stalled), 1);
        }
        match &mut self.since {
            // The time during which a body was being sent is not silence.
            Some(since) if seen.sent > 0 => *since += stalled.saturating_sub(seen.start.max(*since)),
            Some(_) => {}
            None => self.since = Some(stalled),
        }
        self.short = if is_short && seen.delivered < SHORT_PROGRESS { self.short + 1 } else { 0 };
    }

    /// Records that an operation waits for an endpoint without having sent anything.
    pub(super) fn wait_from(&mut self, now: Nanos) {
        self.since.get_or_insert(now);
    }

    /// Returns how long no byte has moved.
    pub(super) fn waited(&self, now: Nanos) -> Duration {
        Duration::from_nanos(self.since.map_or(0, |since| now.saturating_sub(since)))
    }

    /// Returns the longest silence allowed in the next attempt.
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

/// Decides what happens to a request that got no response on its connection. If the server had closed the idle
/// connection (`reused`) before the request was sent, the request is returned and must be sent on another connection.
///
/// # Errors
/// The failure of the attempt in all other cases.
pub(super) fn unsent<B>(mut error: TrySendError<Request<B>>, reused: bool) -> Result<Request<B>, Failure> {
    match error.take_message() {
        Some(request) if reused => Ok(request),
        _ => {
            let failure = Failure::broken(error.error());
            Err(if reused { Failure { retry: Retry::Free, ..failure } } else { failure })
        }
    }
}

/// Limits the retries to one endpoint, so that they do not make an outage worse: a burst of 32, then 20 per second.
#[derive(Debug, Default)]
pub(super) struct RetryBudget {
    /// Time up to which the budget has been used.
    paid: AtomicU64,
}

impl RetryBudget {
    /// Takes one retry from the budget; returns how long it must wait.
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

    fn at(start: u64, end: u64) -> FailedAttempt {
        FailedAttempt { start, end, delivered: 0, sent: 0 }
    }

    /// Lets an operation fail in the same way until it is given up; returns the number of attempts and the time in
    /// seconds.
    fn endure(policy: &RetryPolicy, lasts: u64, fail: impl Fn() -> Failure) -> (u32, f64) {
        let (mut state, mut now, mut attempts) = (RetryState::default(), 7 * SECOND, 0);
        loop {
            let start = now;
            now += lasts;
            attempts += 1;
            match state.next(policy, &fail(), at(start, now), u64::from(attempts) << 40) {
                RetryDecision::After(pause) => now += nanos(pause),
                RetryDecision::Again => {}
                RetryDecision::GiveUp => return (attempts, (now - 7 * SECOND) as f64 / 1e9),
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
            let seen = FailedAttempt { delivered: 2 << 20, ..at(start, start + 19 * SECOND) };
            assert!(
                matches!(state.next(&policy, &short(), seen, 0), RetryDecision::After(pause) if pause < policy.backoff)
            );
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
            let seen = FailedAttempt { sent: 1 << 30, ..at(now, now + 100 * SECOND) };
            now += 100 * SECOND;
            assert_ne!(state.next(&policy, &throttled(None), seen, 0), RetryDecision::GiveUp, "at {now}");
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
        assert_eq!(asked, RetryDecision::After(Duration::from_secs(20)));
        let capped = state.next(&policy, &throttled(Some(3600)), at(20 * SECOND, 20 * SECOND), 0);
        assert_eq!(capped, RetryDecision::After(Duration::from_secs(40)));
        assert_eq!(state.next(&policy, &throttled(Some(1)), at(60 * SECOND, 60 * SECOND), 0), RetryDecision::GiveUp);
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
            assert!(
                matches!(next, RetryDecision::After(pause) if pause >= full / 2 && pause <= full),
                "{next:?} of {full:?}"
            );
        }
    }

    #[test]
    fn a_connection_that_was_closed_while_idle_is_free_once() {
        let policy = RetryPolicy::default();
        let closed = || Failure { retry: Retry::Free, ..refused() };
        let mut state = RetryState::default();
        assert_eq!(state.next(&policy, &closed(), at(0, 0), 0), RetryDecision::Again);
        assert!(matches!(state.next(&policy, &closed(), at(0, 0), 0), RetryDecision::After(_)));
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
