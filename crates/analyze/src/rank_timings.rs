//! Timings of a rank, rebuilt from the spans of its trace, and the time of each epoch by activity.

use std::collections::BTreeMap;

use dlio_event::{BlockTimings, CheckpointTimings, EpochTimings, Nanos, OpKind, Phase};
use dlio_trace::Rows;
use serde::{Deserialize, Serialize};

use crate::metric::{self, EpochMetric, Parameters};

/// Collects the spans of a rank. Spans of a row group are sorted, but row groups may overlap.
#[derive(Debug, Default)]
pub(crate) struct SpanCollector {
    /// Start of the run, nanoseconds; times are relative to it, so that none is negative.
    base: i64,
    epochs: BTreeMap<u32, EpochSpans>,
    checkpoints: BTreeMap<u32, Vec<CheckpointTimings>>,
    /// Epochs whose spans are complete.
    pub(crate) closed: Vec<ClosedEpoch>,
}

/// An epoch whose spans are complete.
#[derive(Debug)]
pub(crate) struct ClosedEpoch {
    /// Timings without those of single steps.
    pub(crate) timings: EpochTimings,
    pub(crate) time: EpochTime,
    pub(crate) metric: EpochMetric,
    /// Computation of the counted steps, and the time that AU divides it by, nanoseconds.
    pub(crate) counted: (u64, u64),
}

#[derive(Debug, Default)]
struct EpochSpans {
    span: Option<(i64, i64)>,
    train_end: i64,
    blocks: BTreeMap<u32, BlockSpans>,
    eval: Option<BlockSpans>,
    barrier_ns: u64,
}

#[derive(Debug, Default)]
struct BlockSpans {
    span: Option<(i64, i64)>,
    /// Step, start and end.
    fetches: Vec<(u32, i64, i64)>,
    computes: Vec<(u32, i64, i64)>,
}

/// Time of one epoch of one rank by activity, nanoseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct EpochTime {
    pub(crate) epoch: u32,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) compute: u64,
    pub(crate) waiting: u64,
    pub(crate) barrier: u64,
    pub(crate) checkpoint: u64,
    pub(crate) evaluation: u64,
}

impl SpanCollector {
    pub(crate) fn new(base: i64) -> Self {
        Self { base, ..Self::default() }
    }

    pub(crate) fn add(&mut self, rows: &Rows, row: usize) {
        let kind = rows.kind[row];
        let (epoch, block, step) = (rows.epoch[row], rows.block[row], rows.step[row]);
        let (start, end) = (rows.start[row].saturating_sub(self.base), rows.end[row].saturating_sub(self.base));
        let eval = rows.phase[row] == Phase::Eval;
        if epoch == 0 {
            return;
        }
        match kind {
            OpKind::CheckpointSave | OpKind::CheckpointLoad => {
                let list = self.checkpoints.entry(epoch).or_default();
                let load = kind == OpKind::CheckpointLoad;
                list.push(CheckpointTimings { number: block, load, start: nanos(start), end: nanos(end) });
            }
            OpKind::Epoch => self.epochs.entry(epoch).or_default().span = Some((start, end)),
            OpKind::Eval => self.epoch(epoch).eval.get_or_insert_default().span = Some((start, end)),
            OpKind::Block => {
                let spans = self.epoch(epoch);
                spans.blocks.entry(block).or_default().span = Some((start, end));
                spans.train_end = spans.train_end.max(end);
            }
            OpKind::Barrier => {
                let spans = self.epoch(epoch);
                spans.barrier_ns += nanos(end.saturating_sub(start));
                spans.train_end = spans.train_end.max(end);
            }
            OpKind::Fetch => self.part(epoch, block, eval).fetches.push((step, start, end)),
            OpKind::Compute => self.part(epoch, block, eval).computes.push((step, start, end)),
            _ => {}
        }
    }

    fn epoch(&mut self, epoch: u32) -> &mut EpochSpans {
        self.epochs.entry(epoch).or_default()
    }

    fn part(&mut self, epoch: u32, block: u32, eval: bool) -> &mut BlockSpans {
        let spans = self.epoch(epoch);
        if eval { spans.eval.get_or_insert_default() } else { spans.blocks.entry(block).or_default() }
    }

    /// Closes all epochs but the last `keep`. Timings are as the engine measured them; a block without an end (of a
    /// killed run) ends with its last step.
    pub(crate) fn close(&mut self, keep: usize, parameters: &Parameters) {
        while self.epochs.len() > keep {
            let Some((number, spans)) = self.epochs.pop_first() else { return };
            let mut saved = self.checkpoints.remove(&number).unwrap_or_default();
            saved.sort_by_key(|checkpoint| checkpoint.start);
            let (mut timings, time) = spans.timings(number, saved);
            let metric = metric::epoch(&timings, parameters);
            let blocks = timings.blocks.iter().map(|block| metric::counted(block, parameters));
            let counted = blocks.fold((0, 0), |sum, block| (sum.0 + block.0, sum.1 + block.1));
            for block in timings.blocks.iter_mut().chain(&mut timings.eval) {
                (block.load, block.compute, block.proc) = (Vec::new(), Vec::new(), Vec::new());
            }
            self.closed.push(ClosedEpoch { timings, time, metric, counted });
        }
    }
}

impl EpochSpans {
    fn timings(self, epoch: u32, checkpoints: Vec<CheckpointTimings>) -> (EpochTimings, EpochTime) {
        let blocks: Vec<BlockTimings> = self.blocks.into_iter().map(|(block, spans)| spans.timings(block)).collect();
        let eval = self.eval.map(|spans| spans.timings(0));
        let starts = blocks.iter().chain(&eval).map(|block| block.start);
        let ends = blocks.iter().chain(&eval).map(|block| block.end);
        let (start, end) = match self.span {
            Some((start, end)) => (nanos(start), nanos(end)),
            None => (starts.min().unwrap_or(0), ends.max().unwrap_or(0)),
        };
        let sum = |pick: fn(&BlockTimings) -> &Vec<Nanos>| blocks.iter().flat_map(pick).sum();
        let time = EpochTime {
            epoch,
            start,
            end,
            compute: sum(|block| &block.compute),
            waiting: sum(|block| &block.load),
            barrier: self.barrier_ns,
            checkpoint: checkpoints.iter().map(|timings| timings.end.saturating_sub(timings.start)).sum(),
            evaluation: eval.as_ref().map_or(0, |eval| eval.end.saturating_sub(eval.start)),
        };
        // A checkpoint after the last block belongs to the training part of the epoch.
        let saved = checkpoints.iter().filter(|timings| !timings.load).map(|timings| timings.end).max().unwrap_or(0);
        let train_end = nanos(self.train_end).max(start).max(saved);
        (EpochTimings { epoch, start, train_end, end, blocks, eval, checkpoints }, time)
    }
}

impl BlockSpans {
    fn timings(mut self, block: u32) -> BlockTimings {
        self.fetches.sort_unstable();
        self.computes.sort_unstable();
        let mut timings = BlockTimings { block, ..BlockTimings::default() };
        let mut computes = self.computes.iter().peekable();
        let mut last = None;
        for (step, start, loaded) in &self.fetches {
            while computes.next_if(|compute| compute.0 < *step).is_some() {}
            // A step that was not finished has a fetch without a computation.
            let Some((_, begun, done)) = computes.next_if(|compute| compute.0 == *step) else { continue };
            timings.load.push(nanos(loaded.saturating_sub(*start)));
            timings.compute.push(nanos(done.saturating_sub(*begun)));
            timings.proc.push(nanos(done.saturating_sub(*start)));
            last = Some(*done);
        }
        let first = self.fetches.first().map(|fetch| fetch.1);
        let (start, end) = self.span.unwrap_or_else(|| {
            let start = first.unwrap_or(0);
            (start, last.unwrap_or(start))
        });
        (timings.start, timings.end) = (nanos(start), nanos(end));
        timings
    }
}

fn nanos(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
