//! Distributions, their moments and distances, and a small simulation of readers that feed a training loop.

use dlio_event::percentile::{P50, nearest_rank};

/// Returns the nearest count, at least 1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "quotients of counts, of which none is negative"
)]
pub(super) fn count(quotient: f64) -> u64 {
    quotient.round().max(1.0) as u64
}

/// Returns a percentile of the values, in parts of ten thousand; 0 without values.
pub(super) fn percentile(values: &[f64], parts: u64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    nearest_rank(&sorted, parts).unwrap_or(0.0)
}

/// Returns mean and population standard deviation.
pub(super) fn moments(values: &[f64]) -> (f64, f64) {
    if values.is_empty() {
        return (0.0, 0.0);
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

/// Returns the Kolmogorov-Smirnov distance of values to a continuous distribution.
pub(super) fn distance(values: &[f64], cdf: impl Fn(f64) -> f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len().max(1) as f64;
    let mut widest = 0.0f64;
    for value in &sorted {
        let below = sorted.partition_point(|other| other < value) as f64 / count;
        let upto = sorted.partition_point(|other| other <= value) as f64 / count;
        let expected = cdf(*value);
        widest = widest.max((expected - below).abs()).max((expected - upto).abs());
    }
    widest
}

/// Returns the distance of values to a single point; values within 5 % count as that point.
pub(super) fn distance_to_point(values: &[f64], point: f64) -> f64 {
    let share = |outside: &dyn Fn(f64) -> bool| {
        values.iter().filter(|value| outside(**value)).count() as f64 / values.len().max(1) as f64
    };
    share(&|value| value < point * 0.95).max(share(&|value| value > point * 1.05))
}

/// Returns the cumulative share of a normal distribution up to `x`.
pub(super) fn normal_cdf(x: f64, mean: f64, stdev: f64) -> f64 {
    f64::midpoint(1.0, erf((x - mean) / (stdev * std::f64::consts::SQRT_2)))
}

/// Abramowitz and Stegun 7.1.26, with an error of at most 1.5e-7.
fn erf(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let factors = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let polynomial = factors.iter().fold(0.0, |sum, factor| (sum + factor) * t);
    (1.0 - polynomial * (-x * x).exp()).copysign(x)
}

/// Distribution of the seconds of computation per step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Compute {
    /// The same time for each step.
    Constant(f64),
    /// Returns mean and population standard deviation.
    Normal(f64, f64),
    /// Lower and upper bound.
    Uniform(f64, f64),
    /// Mean.
    Exponential(f64),
}

impl Compute {
    /// Returns the distribution that is nearest to the values. The constant candidate is the median, which a few long
    /// values do not move.
    pub(super) fn of(values: &[f64]) -> Self {
        let (mean, stdev) = moments(values);
        let median = percentile(values, P50);
        let half = stdev * 3.0f64.sqrt();
        let candidates = [
            Compute::Constant(median),
            Compute::Normal(mean, stdev),
            Compute::Uniform((mean - half).max(0.0), mean + half),
            Compute::Exponential(mean),
        ];
        let far = |candidate: &Compute| candidate.distance(values);
        candidates.into_iter().min_by(|a, b| far(a).total_cmp(&far(b))).unwrap_or(Compute::Constant(mean))
    }

    /// Mean.
    #[must_use]
    pub fn mean(self) -> f64 {
        match self {
            Compute::Constant(mean) | Compute::Normal(mean, _) | Compute::Exponential(mean) => mean,
            Compute::Uniform(from, to) => f64::midpoint(from, to),
        }
    }

    /// Returns the distance of values to the distribution.
    pub(super) fn distance(self, values: &[f64]) -> f64 {
        match self {
            Compute::Constant(mean) => distance_to_point(values, mean),
            Compute::Normal(mean, stdev) => distance(values, |x| normal_cdf(x, mean, stdev)),
            Compute::Uniform(from, to) => {
                distance(values, |x| ((x - from) / (to - from).max(f64::MIN_POSITIVE)).clamp(0.0, 1.0))
            }
            Compute::Exponential(mean) => distance(values, |x| 1.0 - (-x / mean).exp()),
        }
    }

    pub(super) fn yaml(self) -> String {
        match self {
            Compute::Constant(mean) => format!("{mean:.9}"),
            Compute::Normal(mean, stdev) => format!("{{type: normal, mean: {mean:.9}, stdev: {stdev:.9}}}"),
            Compute::Uniform(min, max) => format!("{{type: uniform, min: {min:.9}, max: {max:.9}}}"),
            Compute::Exponential(scale) => format!("{{type: exponential, scale: {scale:.9}}}"),
        }
    }
}

/// Predicted behaviour of one rank of the fitted workload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Simulated {
    pub(super) steps_per_second: f64,
    /// Mean number of samples that are read at a time.
    pub(super) concurrency: f64,
}

/// Number of batches that a reader has ready or in progress.
const PREFETCH: usize = 2;

impl Simulated {
    /// Simulates a rank. Readers take the steps of an epoch in turn, each at most [`PREFETCH`] batches ahead of the
    /// loop; without readers, the loop reads. Readings take the recorded durations in a fixed shuffled order.
    pub(super) fn run(
        (steps, epochs): (u64, u64),
        (readers, batch): (u64, u64),
        durations: &[f64],
        compute: f64,
    ) -> Self {
        // Long runs repeat themselves; this number of steps determines the rate.
        const STEPS: usize = 20_000;
        let (steps, epochs) = (usize::try_from(steps).unwrap_or(STEPS).clamp(1, STEPS), epochs.clamp(1, 3));
        let (inline, readers) = (readers == 0, usize::try_from(readers).unwrap_or(1).max(1));
        let (mut now, mut busy, mut draw) = (0.0f64, 0.0f64, 0usize);
        for _ in 0..epochs {
            let mut free = vec![now; readers];
            let mut taken: Vec<f64> = Vec::with_capacity(steps);
            for step in 0..steps {
                let reader = step % readers;
                // A prefetch slot is free once the loop has taken the reader's batch of [`PREFETCH`] turns before.
                let place = step.checked_sub(readers * PREFETCH).and_then(|before| taken.get(before)).copied();
                let mut at = free[reader].max(place.unwrap_or(now.min(free[reader])));
                if inline {
                    at = now;
                }
                for _ in 0..batch {
                    draw = (draw + 7919) % durations.len().max(1);
                    let seconds = durations.get(draw).copied().unwrap_or(0.0);
                    at += seconds;
                    busy += seconds;
                }
                free[reader] = at;
                now = now.max(at);
                taken.push(now);
                now += compute;
            }
        }
        let rate = |count: f64| if now > 0.0 { count / now } else { 0.0 };
        Self { steps_per_second: rate((steps * usize::try_from(epochs).unwrap_or(1)) as f64), concurrency: rate(busy) }
    }
}
