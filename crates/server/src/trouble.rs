//! Trouble on purpose: some requests are answered late, refused, are the last of their connection, or share a narrow line. So an
//! analysis can be checked against a cause that is known, and a client against a storage that misbehaves.

use std::num::NonZeroU64;
use std::ops::Range;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dlio_event::quantity::Unit;
use tokio::time::Instant;

use crate::line::{Line, Lines};

/// Which requests have trouble, and what trouble.
#[derive(Debug, Clone, PartialEq)]
pub struct Trouble {
    /// They are answered so much later.
    pub delay: Duration,
    /// They are refused with 503 `SlowDown`.
    pub refuse: bool,
    /// Their connection ends behind the answer.
    pub close: bool,
    /// The bodies of all of them at one endpoint, sent and received, share so many bytes per second.
    pub bytes_per_second: Option<NonZeroU64>,
    /// Only at this endpoint of the process, from 0.
    pub endpoint: Option<usize>,
    /// Only GETs with these numbers, in the order of arrival at all endpoints, from 0.
    pub gets: Option<Range<u64>>,
    /// Only so long after the first GET. A limit of bytes begins and ends at these moments in the middle of a body, too.
    pub time: Option<Range<Duration>>,
    /// Only the first request of a connection.
    pub first: bool,
}

/// What happens to one request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Due {
    pub(crate) delay: Duration,
    pub(crate) refuse: bool,
    pub(crate) close: bool,
    /// What its bodies go through.
    pub(crate) lines: Lines,
}

/// A request, as far as trouble may depend on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) endpoint: usize,
    pub(crate) get: bool,
    pub(crate) first_of_connection: bool,
    pub(crate) arrived: Instant,
}

impl FromStr for Trouble {
    type Err = String;

    /// Words with commas between them: `ms=200,endpoint=1,gets=100..200`.
    fn from_str(rule: &str) -> Result<Self, String> {
        let mut trouble = Self {
            delay: Duration::ZERO,
            refuse: false,
            close: false,
            bytes_per_second: None,
            endpoint: None,
            gets: None,
            time: None,
            first: false,
        };
        for word in rule.split(',') {
            let wrong = |expected: &str| format!("{word:?} in {rule:?}: expected {expected}");
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "refuse" if value.is_empty() => trouble.refuse = true,
                "close" if value.is_empty() => trouble.close = true,
                "first" if value.is_empty() => trouble.first = true,
                "ms" => {
                    trouble.delay =
                        seconds(value, 1e-3).ok_or_else(|| wrong("milliseconds, 0 or more, such as 5 or 1.5s"))?;
                }
                "bytes" => {
                    let rate =
                        bytes(value).ok_or_else(|| wrong("bytes per second, 1 or more, such as 500kB or 8MiB"))?;
                    trouble.bytes_per_second = Some(rate);
                }
                "endpoint" => trouble.endpoint = Some(value.parse().map_err(|_| wrong("a number from 0"))?),
                "gets" => {
                    let number = |text: &str| text.parse().ok();
                    trouble.gets = Some(range(value, number, u64::MAX).ok_or_else(|| wrong("FROM..TO, two numbers"))?);
                }
                "s" => {
                    let moment = |text: &str| seconds(text, 1.0);
                    let range = range(value, moment, Duration::MAX);
                    trouble.time = Some(range.ok_or_else(|| wrong("FROM..TO, seconds after the first GET"))?);
                }
                _ => return Err(wrong("ms=N, bytes=N, refuse, close, endpoint=N, gets=FROM..TO, s=FROM..TO or first")),
            }
        }
        if trouble.delay.is_zero() && !trouble.refuse && !trouble.close && trouble.bytes_per_second.is_none() {
            return Err(format!("{rule:?} says no trouble: add ms=N, bytes=N, refuse or close"));
        }
        Ok(trouble)
    }
}

/// A time; a number alone counts multiples of `unit` seconds.
fn seconds(text: &str, unit: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(Unit::Seconds.value_or(text, unit)?).ok()
}

fn bytes(text: &str) -> Option<NonZeroU64> {
    let whole = Unit::Bytes.value_or(text, 1.0).filter(|value| (1.0..1e19).contains(value))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range just checked")]
    NonZeroU64::new(whole as u64)
}

/// `FROM..TO`; either may be missing.
fn range<T: PartialOrd + Default>(text: &str, value: impl Fn(&str) -> Option<T>, most: T) -> Option<Range<T>> {
    let (from, to) = text.split_once("..")?;
    let from = if from.is_empty() { T::default() } else { value(from)? };
    let to = if to.is_empty() { most } else { value(to)? };
    (from < to).then_some(from..to)
}

/// The rules of a server, and what they count.
#[derive(Debug)]
pub(crate) struct Troubles {
    /// With a line at each endpoint, where a rule limits bytes.
    rules: Vec<(Trouble, Vec<Arc<Line>>)>,
    gets: AtomicU64,
    first_get: Arc<OnceLock<Instant>>,
}

impl Troubles {
    pub(crate) fn new(rules: Vec<Trouble>, endpoints: usize) -> Self {
        let first_get: Arc<OnceLock<Instant>> = Arc::default();
        let with_lines = |rule: Trouble| {
            let line = |rate| Arc::new(Line::new(rate, rule.time.clone(), Arc::clone(&first_get)));
            let lines = rule.bytes_per_second.map(|rate| (0..endpoints).map(|_| line(rate)).collect());
            (rule, lines.unwrap_or_default())
        };
        Self { rules: rules.into_iter().map(with_lines).collect(), gets: AtomicU64::new(0), first_get }
    }

    /// What happens to a request: the worst of all rules that are about it.
    pub(crate) fn due(&self, asked: Asked) -> Due {
        let number = asked.get.then(|| self.gets.fetch_add(1, Ordering::Relaxed));
        let begin = asked.get.then(|| *self.first_get.get_or_init(|| asked.arrived)).or(self.first_get.get().copied());
        let after = begin.map(|begin| asked.arrived.saturating_duration_since(begin));
        let mut due = Due::default();
        for (rule, lines) in &self.rules {
            let about = rule.endpoint.is_none_or(|endpoint| endpoint == asked.endpoint)
                && (!rule.first || asked.first_of_connection)
                && rule.gets.as_ref().is_none_or(|gets| number.is_some_and(|number| gets.contains(&number)));
            if !about {
                continue;
            }
            // A line knows itself when it is narrow.
            due.lines.extend(lines.get(asked.endpoint).cloned());
            if rule.time.as_ref().is_some_and(|time| !after.is_some_and(|after| time.contains(&after))) {
                continue;
            }
            due.delay = due.delay.max(rule.delay);
            // What is sent with a refused request would have to be read first.
            due.refuse |= rule.refuse && asked.get;
            due.close |= rule.close;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Trouble {
        text.parse().unwrap()
    }

    #[test]
    fn a_rule_says_which_requests_and_what_trouble() {
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
            let error = wrong.parse::<Trouble>().unwrap_err();
            assert!(
                error.contains(&format!("{wrong:?}")) && error.contains("expected") || error.contains("no trouble"),
                "{error}"
            );
        }
    }

    #[test]
    fn rules_are_about_the_requests_that_they_name() {
        let rules =
            ["ms=10,endpoint=1", "ms=20,first", "refuse,gets=2..4", "close,s=5..6", "bytes=9,endpoint=1,gets=1.."];
        let troubles = Troubles::new(rules.map(rule).to_vec(), 2);
        let begin = Instant::now();
        let asked = |endpoint, get, first_of_connection, after| Asked {
            endpoint,
            get,
            first_of_connection,
            arrived: begin + Duration::from_secs(after),
        };
        let due = |asked| {
            let Due { delay, refuse, close, lines } = troubles.due(asked);
            assert_eq!(lines.is_empty(), !(asked.endpoint == 1 && asked.get), "{asked:?}");
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
