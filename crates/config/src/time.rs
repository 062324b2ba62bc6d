//! Time specifications (`computation_time`, `preprocess_time`, `eval_time`): a constant or a distribution, in seconds.

use serde::Serialize;

/// How long one emulated computation takes. A draw is made absolute; 0 means no sleep.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum TimeSpec {
    /// No sleep at all: absent, null, `{}`, a string, or an unknown `type`.
    None,
    /// Always this many seconds.
    Constant {
        /// Seconds.
        mean: f64,
    },
    /// Normal distribution.
    Normal {
        /// Mean, seconds.
        mean: f64,
        /// Standard deviation, seconds.
        stdev: f64,
    },
    /// Uniform on [min, max).
    Uniform {
        /// Lower bound, seconds.
        min: f64,
        /// Upper bound, seconds.
        max: f64,
    },
    /// Gamma distribution.
    Gamma {
        /// Shape k.
        shape: f64,
        /// Scale θ, seconds.
        scale: f64,
    },
    /// Exponential distribution.
    Exponential {
        /// Scale (mean), seconds.
        scale: f64,
    },
    /// Poisson distribution: whole seconds.
    Poisson {
        /// Mean λ, seconds.
        lam: f64,
    },
}

impl TimeSpec {
    /// Mean of the distribution in seconds, before the absolute value is taken.
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
