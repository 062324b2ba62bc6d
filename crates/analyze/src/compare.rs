//! Comparison of two runs: the change of each metric, and its confidence interval.

use dlio_event::mix::{GAMMA, Lcg64};
use serde::{Deserialize, Serialize};

use dlio_event::percentile::{P50, P99, nearest_rank};

/// Number of bootstrap draws.
const DRAWS: usize = 1_000;
/// Number of values that the bootstrap draws from; longer lists are thinned to this length.
const VALUES: usize = 2_048;
/// Fewest values of a metric to draw from. With fewer, the interval comes from the variation of the steps, barriers
/// included.
const FEW: usize = 3;

/// Values of a run that a comparison draws from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Samples {
    /// AU per epoch and rank, percent.
    pub au: Vec<f64>,
    /// Samples per second of all ranks, per epoch.
    pub samples_per_second: Vec<f64>,
    /// Wait per step, seconds.
    pub wait: Vec<f64>,
    /// Wait and computation per step, seconds.
    pub step: Vec<f64>,
    /// Wait, computation and barrier per step, seconds.
    pub round: Vec<f64>,
    /// Durations of a random sample of the reads, seconds.
    pub read: Vec<f64>,
    /// Median and 99th percentile of all reads, seconds.
    pub read_percentiles: Option<(f64, f64)>,
}

/// A metric of two runs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Change {
    /// Name of the metric: `au`, `samples_per_second`, `wait`, `step`, `read_p50` or `read_p99`.
    pub metric: String,
    /// Value of the base run: percent, samples per second, or seconds.
    pub base: f64,
    /// Value of the other run, in the same unit.
    pub this: f64,
    /// Change, percent of the base.
    pub change_percentage: f64,
    /// 95 % confidence interval of the change in percent, from percentiles of the bootstrap draws.
    pub interval: (f64, f64),
}

type Statistic = fn(&[f64]) -> f64;

/// Compares a run with a base. The same runs always give the same intervals.
#[must_use]
pub fn compare(old: &Samples, new: &Samples) -> Vec<Change> {
    let metrics: [(&str, Vec<f64>, Vec<f64>, Statistic); 6] = [
        ("au", old.au.clone(), new.au.clone(), mean),
        ("samples_per_second", old.samples_per_second.clone(), new.samples_per_second.clone(), mean),
        ("wait", old.wait.clone(), new.wait.clone(), mean),
        ("step", old.step.clone(), new.step.clone(), mean),
        ("read_p50", old.read.clone(), new.read.clone(), |values| percentile(values, P50)),
        ("read_p99", old.read.clone(), new.read.clone(), |values| percentile(values, P99)),
    ];
    let known = metrics.into_iter().filter(|(_, old, new, _)| !old.is_empty() && !new.is_empty());
    let mut changes: Vec<Change> = known
        .map(|(metric, before, after, statistic)| {
            // Without enough steps, the values themselves are all that there is to draw from.
            let few = before.len().min(after.len()) < FEW && old.round.len().min(new.round.len()) >= FEW;
            if few {
                by_steps(metric, (&before, &old.round), (&after, &new.round))
            } else {
                change(metric, &before, &after, statistic)
            }
        })
        .collect();
    // The percentiles are those of all reads; only the interval is drawn from a sample.
    if let Some((before, after)) = old.read_percentiles.zip(new.read_percentiles) {
        for (metric, base, this) in [("read_p50", before.0, after.0), ("read_p99", before.1, after.1)] {
            if let Some(change) = changes.iter_mut().find(|change| change.metric == metric) {
                let (amount, (low, high)) = (relative(base, this), change.interval);
                (change.base, change.this, change.change_percentage) = (base, this, amount);
                change.interval = (low.min(amount), high.max(amount));
            }
        }
    }
    changes
}

fn change(metric: &str, old: &[f64], new: &[f64], statistic: Statistic) -> Change {
    let (base, this) = (statistic(old), statistic(new));
    let (old, new) = (thin(old), thin(new));
    let interval =
        bootstrap_interval(|random| relative(statistic(&resample(&old, random)), statistic(&resample(&new, random))));
    Change { metric: metric.to_owned(), base, this, change_percentage: relative(base, this), interval }
}

/// Returns the change of a metric that falls as steps get longer, with an interval from the variation of the steps.
fn by_steps(metric: &str, old: (&[f64], &[f64]), new: (&[f64], &[f64])) -> Change {
    let parts = |(values, steps): (&[f64], &[f64])| (mean(values), mean(steps), thin(steps));
    let ((base, old_step, old), (this, new_step, new)) = (parts(old), parts(new));
    let interval = bootstrap_interval(|random| {
        let mut faster = |steps: &[f64], usual: f64| usual / mean(&resample(steps, random)).max(f64::MIN_POSITIVE);
        let (before, after) = (base * faster(&old, old_step), this * faster(&new, new_step));
        relative(before, after)
    });
    Change { metric: metric.to_owned(), base, this, change_percentage: relative(base, this), interval }
}

/// Returns the bounds of the middle 95 % of the bootstrap draws.
fn bootstrap_interval(mut draw: impl FnMut(&mut Lcg64) -> f64) -> (f64, f64) {
    let mut random = Lcg64::new(GAMMA);
    let mut draws: Vec<f64> = (0..DRAWS).map(|_| draw(&mut random)).collect();
    draws.sort_by(f64::total_cmp);
    (draws[DRAWS / 40], draws[DRAWS - 1 - DRAWS / 40])
}

/// Returns the change in percent of the base.
fn relative(base: f64, this: f64) -> f64 {
    match (base == 0.0, this == 0.0) {
        (true, true) => 0.0,
        (true, false) => 100.0,
        _ => 100.0 * (this - base) / base,
    }
}

/// Takes one value at random from each group of neighbours. A fixed stride would be biased, because reads repeat in
/// patterns.
fn thin(values: &[f64]) -> Vec<f64> {
    let every = values.len().div_ceil(VALUES).max(1);
    let mut random = Lcg64::new(0x5851_f42d_4c95_7f2d);
    values.chunks(every).map(|few| few[random_below(few.len(), &mut random)]).collect()
}

/// Draws as many values with replacement, in blocks of neighbours. A long step shortens the next ones when batches are
/// prefetched, so steps vary less than independent draws would.
fn resample(values: &[f64], random: &mut Lcg64) -> Vec<f64> {
    let block = (1..=VALUES).take_while(|side| side * side * side <= values.len()).count().max(1);
    let mut drawn = Vec::with_capacity(values.len() + block);
    while drawn.len() < values.len() {
        let from = random_below(values.len(), random);
        drawn.extend((from..from + block).map(|at| values[at % values.len()]));
    }
    drawn.truncate(values.len());
    drawn
}

/// Returns a random number below `count`.
fn random_below(count: usize, random: &mut Lcg64) -> usize {
    usize::try_from(random.below(count as u64)).unwrap_or(0)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Returns a percentile of the values, in parts of ten thousand; 0 without values.
fn percentile(values: &[f64], parts: u64) -> f64 {
    // The order of the values is that of the run, which the draws need.
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    nearest_rank(&sorted, parts).unwrap_or(0.0)
}

/// A limit for a change of a metric, such as `au<-1%` or `read_p99>10%`.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    metric: String,
    below: bool,
    percent: f64,
}

impl std::str::FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const KNOWN: &[&str] = &["au", "samples_per_second", "wait", "step", "read_p50", "read_p99"];
        let wrong = || {
            format!("{text:?} is not METRIC<PERCENT or METRIC>PERCENT, such as au<-1%; metrics: {}", KNOWN.join(", "))
        };
        let sign = text.find(['<', '>']).ok_or_else(wrong)?;
        let (metric, limit) = (text[..sign].trim(), text[sign + 1..].trim().trim_end_matches('%').trim());
        let percent: f64 = limit.parse().map_err(|_| wrong())?;
        if !KNOWN.contains(&metric) || !percent.is_finite() {
            return Err(wrong());
        }
        let below = text[sign..].starts_with('<');
        // An unchanged run must not cross a threshold: the sign is missing.
        if if below { percent > 0.0 } else { percent < 0.0 } {
            let sign = if below { '<' } else { '>' };
            return Err(format!(
                "{text:?} also holds for a run that did not change; did you mean {metric}{sign}{}%?",
                -percent
            ));
        }
        Ok(Self { metric: metric.to_owned(), below, percent })
    }
}

impl Threshold {
    /// Returns a message if the change crosses the threshold and its whole interval lies on that side of zero. A metric
    /// that the runs do not have cannot be judged, which is reported as well.
    #[must_use]
    pub fn crossed(&self, changes: &[Change]) -> Option<String> {
        let Some(change) = changes.iter().find(|change| change.metric == self.metric) else {
            return Some(format!("{}: the runs do not have this metric", self.metric));
        };
        let (amount, (low, high)) = (change.change_percentage, change.interval);
        let crossed = if self.below { amount < self.percent } else { amount > self.percent };
        let sure = if amount < 0.0 { high < 0.0 } else { low > 0.0 };
        let side = if self.below { "below" } else { "above" };
        (crossed && sure).then(|| {
            format!(
                "{} changed by {amount:+.2} % (95 %: {low:+.2} to {high:+.2}), {side} {:+} %",
                self.metric, self.percent
            )
        })
    }
}
