//! Parameters of the metric formulas, and the window of counted steps.

use dlio_event::Nanos;
use serde::{Deserialize, Serialize};

/// Key of the parameters in a trace's configuration; see [`Parameters::embed`].
const CONFIG_KEY: &str = "metric_parameters";

/// Returns the sum of durations, nanoseconds.
fn sum(list: &[Nanos]) -> i128 {
    list.iter().map(|value| i128::from(*value)).sum()
}

/// The reference that defines the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Formula {
    /// DLIO.
    #[default]
    Dlio,
    /// The MLPerf Storage fork of DLIO.
    Mlperf,
}

/// Parameters of the metric formulas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    /// `output.exclude_start_steps`: steps left out at the start of every block.
    pub exclude_start_steps: u64,
    /// `output.exclude_end_steps`: steps left out at the end of the epoch.
    pub exclude_end_steps: u64,
    /// Steps per epoch as configured, before files are trimmed (`total_training_steps` overrides).
    pub train_steps: u64,
    /// Evaluation steps as configured.
    pub eval_steps: u64,
    /// Samples per training step and rank.
    pub batch_size: u64,
    /// Samples per evaluation step and rank.
    pub eval_batch_size: u64,
    /// `record_length_bytes`: size of a sample in MB/s figures.
    pub record_bytes: f64,
    /// `metric.au`: the AU that must be reached, as a fraction.
    pub au_threshold: f64,
    /// Number of samples that all ranks together must read in an epoch, if known; coverage is checked against it.
    pub train_samples: Option<u64>,
    /// The reference that defines the metrics; DLIO for traces without this field.
    #[serde(default)]
    pub formula: Formula,
    /// Size of one checkpoint over all ranks, bytes, which gives its throughput; `None` without checkpoints.
    #[serde(default)]
    pub checkpoint_bytes: Option<u64>,
}

impl Parameters {
    /// Returns a configuration with these parameters added, as the text of a trace's header.
    #[must_use]
    pub fn embed(&self, config: serde_json::Value) -> String {
        let mut config = match config {
            serde_json::Value::Object(object) => object,
            other => [("workload".to_owned(), other)].into_iter().collect(),
        };
        if let Ok(value) = serde_json::to_value(self) {
            config.insert(CONFIG_KEY.to_owned(), value);
        }
        serde_json::Value::Object(config).to_string()
    }

    /// Returns the parameters in a trace's configuration, if it has any.
    #[must_use]
    pub fn from_config(config_json: &str) -> Option<Self> {
        let mut config: serde_json::Value = serde_json::from_str(config_json).ok()?;
        serde_json::from_value(config.get_mut(CONFIG_KEY)?.take()).ok()
    }

    pub(crate) fn train_window(&self) -> Window {
        Window::new(self.exclude_start_steps, self.exclude_end_steps, self.train_steps)
    }

    pub(super) fn eval_window(&self) -> Window {
        Window::new(self.exclude_start_steps, self.exclude_end_steps, self.eval_steps)
    }
}

/// Window of counted steps: `[first : end]` with Python's meaning of a negative `end`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) first: u64,
    pub(crate) end: i64,
}

impl Default for Window {
    /// The reference's default window: all steps but the first.
    fn default() -> Self {
        Self { first: 1, end: i64::MAX }
    }
}

impl Window {
    fn new(exclude_start: u64, exclude_end: u64, steps: u64) -> Self {
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        Self { first: exclude_start, end: signed(steps).saturating_sub(signed(exclude_end)) }
    }

    pub(super) fn bounds(self, len: usize) -> (usize, usize) {
        let first = usize::try_from(self.first).unwrap_or(usize::MAX).min(len);
        let end = match usize::try_from(self.end) {
            Ok(end) => end.min(len),
            Err(_) => len.saturating_sub(usize::try_from(self.end.unsigned_abs()).unwrap_or(usize::MAX)),
        };
        (first, end)
    }

    /// Returns `len(list[first:end])`.
    pub(super) fn steps(self, len: usize) -> usize {
        let (first, end) = self.bounds(len);
        end.saturating_sub(first)
    }

    /// Returns `Σ list[first:end]`.
    pub(super) fn inside(self, list: &[Nanos]) -> i128 {
        let (first, end) = self.bounds(list.len());
        list.get(first..end).map_or(0, sum)
    }

    /// Returns `Σ list[:first] + Σ list[end:]`.
    pub(super) fn outside(self, list: &[Nanos]) -> i128 {
        let (first, end) = self.bounds(list.len());
        sum(&list[..first]) + sum(&list[end..])
    }
}
