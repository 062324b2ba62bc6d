//! What the formulas need to know besides the times, and which steps they count.

use dlio_event::Nanos;
use serde::{Deserialize, Serialize};

use super::sum;

/// Where [`Parameters::embed`] puts the parameters in a trace's configuration.
const CONFIG_KEY: &str = "metric_parameters";

/// Which of the two references defines the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Formula {
    /// DLIO's.
    #[default]
    Dlio,
    /// The MLPerf Storage fork's.
    Mlperf,
}

/// What the formulas need to know besides the times.
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
    /// `record_length_bytes`: what one sample counts in MB/s.
    pub record_bytes: f64,
    /// `metric.au`: the AU that must be reached, as a fraction.
    pub au_threshold: f64,
    /// Samples that all ranks together must read in an epoch, if known: what coverage is checked against.
    pub train_samples: Option<u64>,
    /// Which reference defines the metrics; DLIO in traces that do not say.
    #[serde(default)]
    pub formula: Formula,
    /// Size of one checkpoint over all ranks, bytes: what its throughput is computed with; `None`: no checkpoints.
    #[serde(default)]
    pub checkpoint_bytes: Option<u64>,
}

impl Parameters {
    /// Adds the parameters to a configuration, as the text that goes into a trace's header.
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

    /// The parameters in a trace's configuration, if it has any.
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

/// The steps that count: `[first : end]` with Python's meaning of a negative `end`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) first: u64,
    pub(crate) end: i64,
}

impl Default for Window {
    /// The reference's default: all steps but the first.
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

    /// len(list[first:end])
    pub(super) fn steps(self, len: usize) -> usize {
        let (first, end) = self.bounds(len);
        end.saturating_sub(first)
    }

    /// Σ list[first:end]
    pub(super) fn inside(self, list: &[Nanos]) -> i128 {
        let (first, end) = self.bounds(list.len());
        list.get(first..end).map_or(0, sum)
    }

    /// Σ list[:first] + Σ list[end:]
    pub(super) fn outside(self, list: &[Nanos]) -> i128 {
        let (first, end) = self.bounds(list.len());
        sum(&list[..first]) + sum(&list[end..])
    }
}
