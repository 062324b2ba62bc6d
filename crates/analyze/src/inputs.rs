//! The traces to analyze, how to analyze them, and what follows from their headers.

use dlio_trace::RankTrace;

use crate::metric::{Formula, Parameters};
use crate::timeline::Extent;

/// Largest number of events for which rows are retained, 16 bytes each, so that percentiles are exact.
pub const EXACT_EVENTS: u64 = 12_500_000;
/// Options of an analysis.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether to retain no rows (`true`) or all rows (`false`); by default, [`EXACT_EVENTS`] decides.
    pub streaming: Option<bool>,
    /// Overrides the metric parameters that the traces carry. Without either, one step is left out at the start of each
    /// block, and a batch counts as one sample.
    pub parameters: Option<Parameters>,
}

/// The traces to analyze, and what follows from their headers.
#[derive(Debug)]
pub(crate) struct Inputs<'a> {
    pub(crate) traces: &'a [RankTrace],
    /// Time from the first event of any rank to the last one.
    pub(crate) extent: Extent,
    /// Whether rows are not retained.
    pub(crate) streaming: bool,
    /// The metric's parameters, if the caller or the traces have them.
    pub(crate) known: Option<Parameters>,
}

impl<'a> Inputs<'a> {
    /// Reads the headers of the traces.
    pub(crate) fn new(traces: &'a [RankTrace], options: &Options) -> Self {
        let ranges: Vec<(i64, i64)> = traces.iter().filter_map(RankTrace::time_range).collect();
        let extent = Extent {
            start: ranges.iter().map(|range| range.0).min().unwrap_or(0),
            end: ranges.iter().map(|range| range.1).max().unwrap_or(0),
        };
        let carried = || traces.first().and_then(|trace| Parameters::from_config(&trace.header.config_json));
        let events: u64 = traces.iter().map(|trace| trace.rows).sum();
        Self {
            traces,
            extent,
            streaming: options.streaming.unwrap_or(events > EXACT_EVENTS),
            known: options.parameters.clone().or_else(carried),
        }
    }

    /// Returns the parameters of the metric formulas.
    pub(crate) fn parameters(&self) -> Parameters {
        self.known.clone().unwrap_or_else(|| Parameters {
            // Without any parameters: the reference's defaults, and as many steps as the traces have.
            exclude_start_steps: 1,
            exclude_end_steps: 0,
            train_steps: u64::MAX,
            eval_steps: u64::MAX,
            batch_size: 1,
            eval_batch_size: 1,
            record_bytes: 0.0,
            au_threshold: 0.9,
            train_samples: None,
            formula: Formula::default(),
            checkpoint_bytes: None,
        })
    }
}
