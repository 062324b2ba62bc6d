//! Requirements that a replay must meet: `--require 'issue_error_p99<=1ms'`.

use dlio_event::percentile::{P50, P99};
use dlio_event::quantity::Unit;

use super::{Error, Fidelity};

/// Metrics that can be required, with their meaning. Times are in nanoseconds unless a unit is given.
pub const METRICS: [(&str, &str); 13] = [
    ("issue_error_p50", "median of issue minus due"),
    ("issue_error_p99", "99th percentile of issue minus due"),
    ("issue_error_max", "largest issue minus due"),
    ("think_error_p50", "median of pause minus recorded pause (closed timing)"),
    ("think_error_p99", "99th percentile of pause minus recorded pause (closed timing)"),
    ("think_error_max", "largest pause minus recorded pause (closed timing)"),
    ("inversions", "operations issued after one that was recorded later, per rank"),
    ("operations_missing", "operations that were planned and not done"),
    ("bytes_missing", "bytes that were planned and not moved"),
    ("opens_difference", "files opened for reading, more or fewer than recorded"),
    ("concurrency_ratio", "mean concurrency, achieved / recorded"),
    ("interarrival_ks", "Kolmogorov-Smirnov distance of the times between issues"),
    ("stretched", "how far the schedule was moved (--late stretch)"),
];

impl Fidelity {
    /// Returns a metric by its name; `None` if it was not measured.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<f64> {
        let nanos = |value: Option<u64>| value.map(|value| value as f64);
        match name {
            "issue_error_p50" => nanos(self.issue_error.percentile(P50)),
            "issue_error_p99" => nanos(self.issue_error.percentile(P99)),
            "issue_error_max" => nanos(self.issue_error.max()),
            "think_error_p50" => nanos(self.think_error.percentile(P50)),
            "think_error_p99" => nanos(self.think_error.percentile(P99)),
            "think_error_max" => nanos(self.think_error.max()),
            "inversions" => Some(self.inversions as f64),
            "operations_missing" => Some(self.operations_planned.saturating_sub(self.operations_done) as f64),
            "bytes_missing" => Some(self.bytes_planned.saturating_sub(self.bytes_done) as f64),
            "opens_difference" => Some(self.opens.abs_diff(self.opens_recorded) as f64),
            "concurrency_ratio" => {
                let (recorded, achieved) = self.concurrency();
                (recorded > 0.0).then(|| achieved / recorded)
            }
            "interarrival_ks" => self.recorded_gaps.distance(&self.gaps),
            "stretched" => Some(self.stretched_ns as f64),
            _ => None,
        }
    }
}

/// A bound on one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Requirement {
    text: String,
    metric: &'static str,
    at_most: bool,
    bound: f64,
    /// Unit of the bound, and its size in the unit of the metric.
    unit: (String, f64),
}

impl Requirement {
    /// Parses `METRIC<=VALUE` or `METRIC>=VALUE`. The value may have a unit that fits the metric: `1ms`, `4MiB`, `10k`.
    ///
    /// # Errors
    /// [`Error::Option`] if the text is not a requirement.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |why: &str| Error::Option(format!("--require {text}: {why}"));
        let (at_most, parts) = match (text.split_once("<="), text.split_once(">=")) {
            (Some(parts), None) => (true, parts),
            (None, Some(parts)) => (false, parts),
            _ => return Err(wrong("expected METRIC<=VALUE or METRIC>=VALUE, such as issue_error_p99<=1ms")),
        };
        let (name, value) = (parts.0.trim(), parts.1.trim());
        let metric = METRICS.iter().map(|(metric, _)| *metric).find(|metric| *metric == name).ok_or_else(|| {
            let known: Vec<&str> = METRICS.iter().map(|(metric, _)| *metric).collect();
            wrong(&format!("there is no metric {name}; there are {}", known.join(", ")))
        })?;
        let (bound, unit) = bound_of(metric, value).map_err(|why| wrong(&why))?;
        Ok(Self { text: text.to_owned(), metric, at_most, bound, unit })
    }

    /// Returns a message if the bound is violated. A metric that was not measured violates every bound.
    #[must_use]
    pub fn broken_by(&self, fidelity: &Fidelity) -> Option<String> {
        let Some(found) = fidelity.metric(self.metric) else {
            return Some(format!("{}: {} was not measured", self.text, self.metric));
        };
        let kept = if self.at_most { found <= self.bound } else { found >= self.bound };
        let (unit, factor) = &self.unit;
        (!kept).then(|| format!("{}: {} is {}{unit}", self.text, self.metric, (found / factor * 1e3).round() / 1e3))
    }
}

/// Returns what a metric counts, and the number of its units per base unit (times are in nanoseconds); `None` for a
/// ratio.
fn counts(metric: &str) -> Option<(Unit, f64)> {
    match metric {
        "bytes_missing" => Some((Unit::Bytes, 1.0)),
        "inversions" | "operations_missing" | "opens_difference" => Some((Unit::Count, 1.0)),
        "concurrency_ratio" | "interarrival_ks" => None,
        _ => Some((Unit::Seconds, 1e9)),
    }
}

/// Returns a bound in the unit of the metric, and the unit in which it was written.
fn bound_of(metric: &str, value: &str) -> Result<(f64, (String, f64)), String> {
    if let Ok(bound) = value.parse::<f64>() {
        return if bound.is_finite() {
            Ok((bound, (String::new(), 1.0)))
        } else {
            Err("the bound must be finite".to_owned())
        };
    }
    let Some((unit, scale)) = counts(metric) else { return Err(format!("{value} is no number; {metric} has no unit")) };
    let given = value.trim_start_matches(|c: char| !c.is_alphabetic());
    let read = unit.value(value).zip(unit.value(&format!("1{given}")));
    read.map(|(bound, factor)| (bound * scale, (given.to_owned(), factor * scale)))
        .ok_or_else(|| format!("{value} is no number with a unit, such as {}", unit.examples()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_have_units_and_what_was_not_measured_breaks_them() {
        let mut fidelity = Fidelity::default();
        let bound = Requirement::parse("issue_error_p99<=1.5ms").unwrap();
        assert!(bound.broken_by(&fidelity).unwrap().contains("not measured"));
        fidelity.issue_error.record(1_400_000);
        assert_eq!(bound.broken_by(&fidelity), None);
        assert!(Requirement::parse("issue_error_max <= 1 us").unwrap().broken_by(&fidelity).is_some());
        assert_eq!(Requirement::parse("inversions<=0").unwrap().broken_by(&fidelity), None);
        assert!(Requirement::parse("concurrency_ratio>=0.9").unwrap().broken_by(&fidelity).is_some());
    }

    #[test]
    fn what_cannot_be_required_is_refused_with_the_list() {
        for text in ["latency<=1ms", "issue_error_p99", "issue_error_p99<=fast", "inversions<=inf", "a<=b>=c"] {
            assert!(Requirement::parse(text).is_err(), "{text}");
        }
        assert!(Requirement::parse("latency<=1").unwrap_err().to_string().contains("issue_error_p50"));
    }
}
