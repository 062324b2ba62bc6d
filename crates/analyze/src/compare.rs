//! Two runs side by side: how much each metric changed, and how sure that is.

use dlio_event::mix::{GAMMA, Lcg64};
use serde::{Deserialize, Serialize};

use crate::Report;
use crate::percentile::nearest_rank;

/// Draws of the bootstrap.
const DRAWS: usize = 1_000;
/// Values of a metric that the bootstrap draws from; of more, some.
const VALUES: usize = 2_048;
/// A metric that has fewer values in a run varies as its steps do, barriers included: from one or two, nothing can be drawn.
const FEW: usize = 3;

/// One metric of two runs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Change {
    /// `au`, `samples_per_second`, `wait`, `step`, `read_p50`, `read_p99`.
    pub metric: String,
    /// Percent, samples per second, or seconds.
    pub base: f64,
    /// The same of the other run.
    pub this: f64,
    /// By how much it changed, percent of the base.
    pub change_percentage: f64,
    /// 95 % confidence interval of the change: ends of the bootstrap's percentiles.
    pub interval: (f64, f64),
}

type Statistic = fn(&mut [f64]) -> f64;

/// Compares two runs. The same reports give the same intervals.
#[must_use]
pub fn compare(base: &Report, this: &Report) -> Vec<Change> {
    let rates = |report: &Report| report.epochs.iter().map(|epoch| epoch.samples_per_second).collect::<Vec<_>>();
    let (old, new) = (&base.why.samples, &this.why.samples);
    let metrics: [(&str, Vec<f64>, Vec<f64>, Statistic); 6] = [
        ("au", old.au.clone(), new.au.clone(), mean),
        ("samples_per_second", rates(base), rates(this), mean),
        ("wait", old.wait.clone(), new.wait.clone(), mean),
        ("step", old.step.clone(), new.step.clone(), mean),
        ("read_p50", old.read.clone(), new.read.clone(), |values| percentile(values, 500)),
        ("read_p99", old.read.clone(), new.read.clone(), |values| percentile(values, 990)),
    ];
    let known = metrics.into_iter().filter(|(_, old, new, _)| !old.is_empty() && !new.is_empty());
    let mut changes: Vec<Change> = known
        .map(|(metric, before, after, statistic)| {
            // With fewer steps than values, there is nothing better than the values.
            let few = before.len().min(after.len()) < FEW && old.round.len().min(new.round.len()) >= FEW;
            if few {
                by_steps(metric, (before, &old.round), (after, &new.round))
            } else {
                change(metric, before, after, statistic)
            }
        })
        .collect();
    // The percentiles themselves are of all reads; only the interval is drawn from some.
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

fn change(metric: &str, mut old: Vec<f64>, mut new: Vec<f64>, statistic: Statistic) -> Change {
    let (base, this) = (statistic(&mut old), statistic(&mut new));
    let (old, new) = (thinned(&old), thinned(&new));
    let interval = drawn(|random| relative(statistic(&mut again(&old, random)), statistic(&mut again(&new, random))));
    Change { metric: metric.to_owned(), base, this, change_percentage: relative(base, this), interval }
}

/// The change of what is the less the longer steps are, with the variation of the steps.
fn by_steps(metric: &str, old: (Vec<f64>, &[f64]), new: (Vec<f64>, &[f64])) -> Change {
    let parts =
        |(mut values, steps): (Vec<f64>, &[f64])| (mean(&mut values), mean(&mut steps.to_vec()), thinned(steps));
    let ((base, old_step, old), (this, new_step, new)) = (parts(old), parts(new));
    let interval = drawn(|random| {
        let mut faster = |steps: &[f64], usual: f64| usual / mean(&mut again(steps, random)).max(f64::MIN_POSITIVE);
        let (before, after) = (base * faster(&old, old_step), this * faster(&new, new_step));
        relative(before, after)
    });
    Change { metric: metric.to_owned(), base, this, change_percentage: relative(base, this), interval }
}

/// The middle 95 % of many draws.
fn drawn(mut draw: impl FnMut(&mut Lcg64) -> f64) -> (f64, f64) {
    let mut random = Lcg64::new(GAMMA);
    let mut drawn: Vec<f64> = (0..DRAWS).map(|_| draw(&mut random)).collect();
    drawn.sort_by(f64::total_cmp);
    (drawn[DRAWS / 40], drawn[DRAWS - 1 - DRAWS / 40])
}

/// Percent of the base.
fn relative(base: f64, this: f64) -> f64 {
    match (base == 0.0, this == 0.0) {
        (true, true) => 0.0,
        (true, false) => 100.0,
        _ => 100.0 * (this - base) / base,
    }
}

/// One of each so many that follow each other, by chance: reads come in patterns, of which every n-th is always the same part.
fn thinned(values: &[f64]) -> Vec<f64> {
    let every = values.len().div_ceil(VALUES).max(1);
    let mut random = Lcg64::new(0x5851_f42d_4c95_7f2d);
    values.chunks(every).map(|few| few[below(few.len(), &mut random)]).collect()
}

/// As many values, drawn with replacement, in blocks that follow each other: where a long step makes the next ones short, as
/// prefetched batches do, steps vary less than if each were on its own.
fn again(values: &[f64], random: &mut Lcg64) -> Vec<f64> {
    let block = (1..=VALUES).take_while(|side| side * side * side <= values.len()).count().max(1);
    let mut drawn = Vec::with_capacity(values.len() + block);
    while drawn.len() < values.len() {
        let from = below(values.len(), random);
        drawn.extend((from..from + block).map(|at| values[at % values.len()]));
    }
    drawn.truncate(values.len());
    drawn
}

/// A number below another.
fn below(count: usize, random: &mut Lcg64) -> usize {
    usize::try_from(random.below(count as u64)).unwrap_or(0)
}

fn mean(values: &mut [f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Durations in seconds, by nearest rank.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "durations in whole nanoseconds")]
fn percentile(values: &mut [f64], per_mille: usize) -> f64 {
    let mut nanos: Vec<u64> = values.iter().map(|value| (value * 1e9).round() as u64).collect();
    nanos.sort_unstable();
    nearest_rank(&nanos, per_mille) as f64 / 1e9
}

/// A change that is not acceptable, as in `au<-1%` or `read_p99>10%`.
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
        // No change at all must not be what is looked for: a sign was forgotten.
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
    /// What is wrong, if the change crosses the threshold and the whole interval lies on that side of no change. A
    /// metric that the runs do not have cannot be judged: that is wrong too.
    #[must_use]
    pub fn crossed(&self, changes: &[Change]) -> Option<String> {
        let Some(change) = changes.iter().find(|change| change.metric == self.metric) else {
            return Some(format!("{}: the runs have no values of it", self.metric));
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
