//! Time specifications (`computation_time`, `preprocess_time`, `eval_time`): a constant or a distribution, in seconds.

use serde::Serialize;

/// Duration of one emulated computation. The absolute value of a draw counts; 0 means no sleep.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum TimeSpec {
    /// No sleep: the key is absent, null, `{}` or a string, or its `type` is unknown.
    None,
    /// A constant time.
    Constant {
        /// The time, in seconds.
        mean: f64,
    },
    /// Normal distribution.
    Normal {
        /// Mean, in seconds.
        mean: f64,
        /// Standard deviation, in seconds.
        stdev: f64,
    },
    /// Uniform distribution over [min, max).
    Uniform {
        /// Lower bound, in seconds.
        min: f64,
        /// Upper bound, in seconds.
        max: f64,
    },
    /// Gamma distribution.
    Gamma {
        /// Shape k (without a unit).
        shape: f64,
        /// Scale θ, in seconds.
        scale: f64,
    },
    /// Exponential distribution.
    Exponential {
        /// Scale, which is the mean, in seconds.
        scale: f64,
    },
    /// Poisson distribution; draws are whole seconds.
    Poisson {
        /// Mean λ, in seconds.
        lam: f64,
    },
}

impl TimeSpec {
    /// Returns the mean of the distribution in seconds, before absolute values are taken.
    #[must_use]
    pub fn mean(&self) -> f64 {
        match *self {
            TimeSpec::None => 0.0,
            TimeSpec::Constant { mean } | TimeSpec::Normal { mean, .. } => mean,
            TimeSpec::Uniform { min, max } => f64::midpoint(min, max),
            TimeSpec::Gamma { shape, scale } => shape * scale,
            TimeSpec::Exponential { scale } => scale,
            TimeSpec::Poisson { lam } => lam,
        }
    }
}
