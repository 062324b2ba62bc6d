//! Fault injection: a rule delays, refuses or throttles some requests, or closes their connection after the response.
//! An analysis can be checked against a known cause, and a client against a misbehaving storage system.

use std::num::NonZeroU64;
use std::ops::Range;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dlio_event::quantity::Unit;
use tokio::time::Instant;

use crate::token_bucket::{TokenBucket, TokenBuckets};

/// A fault and the requests that it applies to.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultRule {
    /// Additional latency of the response.
    pub delay: Duration,
    /// Whether the request is refused with 503 `SlowDown`.
    pub refuse: bool,
    /// Whether the connection is closed after the response.
    pub close: bool,
    /// Bandwidth that the bodies of all matching requests at one endpoint share, in both directions.
    pub bytes_per_second: Option<NonZeroU64>,
    /// Endpoint of the process to which the rule is limited, from 0.
    pub endpoint: Option<usize>,
    /// GETs to which the rule is limited, numbered from 0 in the order of arrival at all endpoints.
    pub gets: Option<Range<u64>>,
    /// Time after the first GET to which the rule is limited. A bandwidth limit also begins and ends in the middle of
    /// a body.
    pub time: Option<Range<Duration>>,
    /// Whether the rule is limited to the first request of each connection.
    pub first: bool,
}

/// The combined effect of all rules on one request.
#[derive(Debug, Clone, Default)]
pub(crate) struct FaultEffect {
    pub(crate) delay: Duration,
    pub(crate) refuse: bool,
    pub(crate) close: bool,
    /// Token buckets that the request's bodies pass through.
    pub(crate) buckets: TokenBuckets,
}

/// The properties of a request that rules match.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestFacts {
    pub(crate) endpoint: usize,
    pub(crate) get: bool,
    pub(crate) first_of_connection: bool,
    pub(crate) arrived: Instant,
}

impl FromStr for FaultRule {
    type Err = String;

    /// Parses comma-separated words such as `ms=200,endpoint=1,gets=100..200`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut rule = Self {
            delay: Duration::ZERO,
            refuse: false,
            close: false,
            bytes_per_second: None,
            endpoint: None,
            gets: None,
            time: None,
            first: false,
        };
        for word in text.split(',') {
            let wrong = |expected: &str| format!("{word:?} in {text:?}: expected {expected}");
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "refuse" if value.is_empty() => rule.refuse = true,
                "close" if value.is_empty() => rule.close = true,
                "first" if value.is_empty() => rule.first = true,
                "ms" => {
                    rule.delay =
                        seconds(value, 1e-3).ok_or_else(|| wrong("milliseconds, 0 or more, such as 5 or 1.5s"))?;
                }
                "bytes" => {
                    let rate =
                        bytes(value).ok_or_else(|| wrong("bytes per second, 1 or more, such as 500kB or 8MiB"))?;
                    rule.bytes_per_second = Some(rate);
                }
                "endpoint" => rule.endpoint = Some(value.parse().map_err(|_| wrong("a number from 0"))?),
                "gets" => {
                    let number = |bound: &str| bound.parse().ok();
                    rule.gets = Some(range(value, number, u64::MAX).ok_or_else(|| wrong("FROM..TO, two numbers"))?);
                }
                "s" => {
                    let moment = |bound: &str| seconds(bound, 1.0);
                    let range = range(value, moment, Duration::MAX);
                    rule.time = Some(range.ok_or_else(|| wrong("FROM..TO, seconds after the first GET"))?);
                }
                _ => return Err(wrong("ms=N, bytes=N, refuse, close, endpoint=N, gets=FROM..TO, s=FROM..TO or first")),
            }
        }
        if rule.delay.is_zero() && !rule.refuse && !rule.close && rule.bytes_per_second.is_none() {
            return Err(format!("{text:?} has no effect: add ms=N, bytes=N, refuse or close"));
        }
        Ok(rule)
    }
}

/// Parses a time; a number without a unit is a multiple of `unit` seconds.
fn seconds(text: &str, unit: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(Unit::Seconds.value_or(text, unit)?).ok()
}

fn bytes(text: &str) -> Option<NonZeroU64> {
    let whole = Unit::Bytes.value_or(text, 1.0).filter(|value| (1.0..1e19).contains(value))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range just checked")]
    NonZeroU64::new(whole as u64)
}

/// Parses `FROM..TO`; either bound may be missing.
fn range<T: PartialOrd + Default>(text: &str, value: impl Fn(&str) -> Option<T>, most: T) -> Option<Range<T>> {
    let (from, to) = text.split_once("..")?;
    let from = if from.is_empty() { T::default() } else { value(from)? };
    let to = if to.is_empty() { most } else { value(to)? };
    (from < to).then_some(from..to)
}

/// The rules of a server with the counters that they need.
#[derive(Debug)]
pub(crate) struct FaultRules {
    /// Creates the rules; a rule that limits bandwidth gets one bucket per endpoint.
    rules: Vec<(FaultRule, Vec<Arc<TokenBucket>>)>,
    gets: AtomicU64,
    first_get: Arc<OnceLock<Instant>>,
}

impl FaultRules {
    pub(crate) fn new(rules: Vec<FaultRule>, endpoints: usize) -> Self {
        let first_get: Arc<OnceLock<Instant>> = Arc::default();
        let with_lines = |rule: FaultRule| {
            let bucket = |rate| Arc::new(TokenBucket::new(rate, rule.time.clone(), Arc::clone(&first_get)));
            let buckets = rule.bytes_per_second.map(|rate| (0..endpoints).map(|_| bucket(rate)).collect());
            (rule, buckets.unwrap_or_default())
        };
        Self { rules: rules.into_iter().map(with_lines).collect(), gets: AtomicU64::new(0), first_get }
    }

    /// Returns the effect on a request: the strongest of all matching rules.
    pub(crate) fn due(&self, asked: RequestFacts) -> FaultEffect {
        let number = asked.get.then(|| self.gets.fetch_add(1, Ordering::Relaxed));
        let begin = asked.get.then(|| *self.first_get.get_or_init(|| asked.arrived)).or(self.first_get.get().copied());
        let after = begin.map(|begin| asked.arrived.saturating_duration_since(begin));
        let mut due = FaultEffect::default();
        for (rule, buckets) in &self.rules {
            let about = rule.endpoint.is_none_or(|endpoint| endpoint == asked.endpoint)
                && (!rule.first || asked.first_of_connection)
                && rule.gets.as_ref().is_none_or(|gets| number.is_some_and(|number| gets.contains(&number)));
            if !about {
                continue;
            }
            // A bucket checks its own time window.
            due.buckets.extend(buckets.get(asked.endpoint).cloned());
            if rule.time.as_ref().is_some_and(|time| !after.is_some_and(|after| time.contains(&after))) {
                continue;
            }
            due.delay = due.delay.max(rule.delay);
            // The body of a refused request would have to be read first.
            due.refuse |= rule.refuse && asked.get;
            due.close |= rule.close;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> FaultRule {
        text.parse().unwrap()
    }

    #[test]
    fn a_rule_says_which_requests_and_which_fault() {
        let known = rule("ms=1.5,endpoint=2,gets=10..20,s=1..,first");
        assert_eq!(known.delay, Duration::from_micros(1500));
        assert_eq!((known.endpoint, known.gets, known.first), (Some(2), Some(10..20), true));
        assert_eq!(known.time, Some(Duration::from_secs(1)..Duration::MAX));
        assert_eq!((rule("refuse").refuse, rule("gets=..5,close").close), (true, true));
        assert_eq!(rule("bytes=5000,s=2..62").bytes_per_second, NonZeroU64::new(5000));
        assert_eq!(rule("bytes=2MiB,s=2..1min").bytes_per_second, NonZeroU64::new(2 << 20));
        assert_eq!(rule("ms=0.1s"), rule("ms=100"));
        for wrong in [
            "",
            "bytes=0",
            "bytes=1Mb",
            "endpoint=1",
            "ms=-1",
            "ms=x",
            "gets=5..5,close",
            "gets=5,close",
            "sometimes,close",
            "refuse=1",
        ] {
            let error = wrong.parse::<FaultRule>().unwrap_err();
            let explained = ["expected", "no rule", "has no effect"].iter().any(|text| error.contains(text));
            assert!(error.contains(&format!("{wrong:?}")) && explained, "{error}");
        }
    }

    #[test]
    fn rules_are_about_the_requests_that_they_name() {
        let rules =
            ["ms=10,endpoint=1", "ms=20,first", "refuse,gets=2..4", "close,s=5..6", "bytes=9,endpoint=1,gets=1.."];
        let fault_rules = FaultRules::new(rules.map(rule).to_vec(), 2);
        let begin = Instant::now();
        let asked = |endpoint, get, first_of_connection, after| RequestFacts {
            endpoint,
            get,
            first_of_connection,
            arrived: begin + Duration::from_secs(after),
        };
        let due = |asked| {
            let FaultEffect { delay, refuse, close, buckets } = fault_rules.due(asked);
            assert_eq!(buckets.is_empty(), !(asked.endpoint == 1 && asked.get), "{asked:?}");
            (delay.as_millis(), refuse, close)
        };
        assert_eq!(due(asked(0, false, false, 0)), (0, false, false), "a PUT before the first GET");
        assert_eq!(due(asked(0, true, true, 0)), (20, false, false));
        assert_eq!(due(asked(1, true, false, 1)), (10, false, false));
        assert_eq!(due(asked(1, true, true, 1)), (20, true, false));
        assert_eq!(due(asked(0, false, false, 1)), (0, false, false), "a PUT has no number");
        assert_eq!(due(asked(0, true, false, 5)), (0, true, true));
        assert_eq!(due(asked(0, true, false, 6)), (0, false, false));
    }
}
