//! State of one rank while its trace is read. Each row is processed once, in the order of the file.

use dlio_event::{OpKind, Outcome, Phase};
use dlio_trace::{NO_CONNECTION, NO_SAMPLE, NO_TIME, RankTrace, Rows};

use super::barriers::BarrierArrival;
use super::class::went_well;
use super::context::{PassContext, RowBatch};
use super::object_reads::ObjectReads;
use super::objects::{LastReads, Locator, NO_OBJECT, ReadRanges};
use super::overlap::OverlapSweep;
use super::rank_stats::{EpochWait, LongWait, RankStats, SlowestFirstRequest};
use super::retained_rows::RetainedGroup;
use super::row_group_stats::RowGroupStats;
use super::samples::{IS_OBJECT, Samples};
use super::step_attribution::{
    AttributedStep, CountedSteps, EpochStep, NO_ENDPOINT, Op, RowPosition, Span, StepAttribution, StepSpans,
};
use crate::rank_timings;
use crate::timeline::between;

/// Number of steps with long waits that a rank reports.
const LONG_WAITS: usize = 20;
/// Number of arrivals that are handed over to the barrier collector at a time.
const ARRIVALS: usize = 1 << 10;
/// Number of epochs whose spans are kept in a streaming analysis, for rows that come late.
const EPOCHS: usize = 3;
/// Largest number of connections of a rank whose requests are counted; connections are numbered in the order of
/// opening.
const CONNECTIONS: usize = 1 << 20;

/// State of a rank that grows while its trace is read.
pub(crate) struct RankState {
    part: RankStats,
    spans: rank_timings::SpanCollector,
    attribution: StepAttribution,
    counted: CountedSteps,
    arrivals: Vec<BarrierArrival>,
    samples: Samples,
    /// Number of requests that each connection has served.
    served: Vec<u32>,
    last_reads: LastReads,
    ranges: ReadRanges,
    reads: ObjectReads,
    overlap: OverlapSweep,
    checkpoints: Vec<Span>,
    /// Start and end of the counted steps, by epoch and block.
    blocks: Vec<((u32, u32), Span)>,
    /// Waiting of training steps by endpoint, nanoseconds.
    waited_for: Vec<u64>,
    /// Names of endpoints by number, as far as they are needed.
    names: Vec<String>,
    retained: Vec<RetainedGroup>,
    /// Shortest of the long waits when the list was last truncated, nanoseconds.
    shortest: u64,
    /// Number of rows of the current group that have been processed.
    taken: u32,
}

/// Earliest end and earliest start of all rows after a row group; `None` after the last group.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Watermarks {
    pub(crate) ends: Option<i64>,
    pub(crate) starts: Option<i64>,
}

impl RankState {
    pub(crate) fn new(index: u32, trace: &RankTrace, context: &PassContext<'_>) -> Self {
        Self {
            part: RankStats { index, rank: trace.header.rank, host: trace.header.host.clone(), ..RankStats::default() },
            spans: rank_timings::SpanCollector::new(context.extent.start),
            attribution: StepAttribution::new(trace.rows_of(0), !context.keep),
            counted: CountedSteps::default(),
            arrivals: Vec::new(),
            samples: Samples::new(trace.rows),
            served: Vec::new(),
            last_reads: LastReads::default(),
            ranges: ReadRanges::default(),
            reads: ObjectReads::default(),
            overlap: OverlapSweep::new(context.axis, !context.keep),
            checkpoints: Vec::new(),
            blocks: Vec::new(),
            waited_for: Vec::new(),
            names: Vec::new(),
            retained: Vec::new(),
            shortest: 0,
            taken: 0,
        }
    }

    /// Processes the next rows of a group.
    pub(crate) fn rows(&mut self, group: u32, batch: &RowBatch, context: &PassContext<'_>) {
        for (endpoint, key) in batch.endpoints.iter().zip(0_usize..) {
            self.name(*endpoint, || {
                key.checked_sub(1).and_then(|key| batch.rows.endpoint.value(key)).unwrap_or("local")
            });
        }
        for row in 0..batch.rows.len() {
            if batch.rows.kind[row].is_storage() {
                let at = (group, self.taken + small(row));
                let endpoint = batch.endpoints[batch.rows.endpoint.key(row).map_or(0, |key| key + 1)];
                self.storage(&batch.rows, row, (at, (batch.objects[row], endpoint)), context);
            } else {
                self.span(&batch.rows, row);
            }
        }
        self.taken += small(batch.rows.len());
    }

    /// Finishes a row group after all of its rows; `stats` has its statistics.
    pub(crate) fn finish_group(&mut self, stats: RowGroupStats, later: Watermarks, context: &PassContext<'_>) {
        let RowGroupStats { timelines, retained, long, edges } = stats;
        self.taken = 0;
        self.part.timelines.merge(&timelines);
        if context.keep {
            self.retained.push(RetainedGroup { rows: retained, long });
        }
        self.ranges.limit(context.limits.ranges);
        self.overlap.take(edges, later.starts);
        self.samples.close(false, &context.coverage);
        if !context.keep {
            self.spans.close(EPOCHS, &context.parameters);
        }
        self.advance(later.ends, context);
    }

    fn name<'a>(&mut self, endpoint: u16, name: impl FnOnce() -> &'a str) {
        let at = usize::from(endpoint);
        if endpoint == NO_ENDPOINT || self.names.get(at).is_some_and(|known| !known.is_empty()) {
            return;
        }
        if at >= self.names.len() {
            self.names.resize(at + 1, String::new());
        }
        name().clone_into(&mut self.names[at]);
    }

    fn storage(
        &mut self,
        rows: &Rows,
        row: usize,
        (at, (object, endpoint)): (RowPosition, (u64, u16)),
        context: &PassContext<'_>,
    ) {
        let (kind, nanos) = (rows.kind[row], between(rows.start[row], rows.end[row]));
        let (read, ok) = (kind.is_read(), went_well(kind, rows.outcome[row]));
        let age = self.age(rows.connection[row]);
        if read && ok {
            self.part.reads.push(nanos);
            if let Some(age) = age {
                self.part.ages[usize::from(age)].record(nanos);
            }
            if !context.keep && object != NO_OBJECT {
                let (group, row) = at;
                let at = Locator { trace: self.part.index, group, row };
                self.reads.add(object, nanos, at, context.limits.reads);
            }
        }
        if !ok {
            self.failed(rows, row, endpoint, context);
        }
        if read {
            self.read(rows, row, object, context.limits.samples);
        }
        self.on_path(rows, row, (at, (object, endpoint)), age == Some(0));
    }

    /// Returns the age class of a connection from the number of requests that it has served.
    fn age(&mut self, connection: u32) -> Option<u8> {
        if connection == NO_CONNECTION {
            return None;
        }
        let at = usize::try_from(connection).ok().filter(|at| *at < CONNECTIONS)?;
        if at >= self.served.len() {
            self.served.resize(at + 1, 0);
        }
        let served = &mut self.served[at];
        *served += 1;
        Some(match *served {
            1 => 0,
            2..=10 => 1,
            11..=100 => 2,
            _ => 3,
        })
    }

    fn failed(&mut self, rows: &Rows, row: usize, endpoint: u16, context: &PassContext<'_>) {
        let outcome = rows.outcome[row];
        *self.part.outcomes.entry(outcome.name().to_owned()).or_default() += 1;
        if outcome == Outcome::Throttled {
            let name = self.names.get(usize::from(endpoint)).cloned().unwrap_or_default();
            let second = between(context.extent.start, rows.start[row]) / 1_000_000_000;
            *self.part.refused.entry(name).or_default().entry(second).or_default() += 1;
        }
    }

    fn read(&mut self, rows: &Rows, row: usize, object: u64, limits: usize) {
        let (bytes, offset) = (rows.bytes[row], rows.offset[row]);
        if bytes > 0 && object != NO_OBJECT {
            let end = offset.saturating_add(bytes);
            self.ranges.add(object, offset, end);
            if let Some(continues) = self.last_reads.read(rows.lane[row], object, offset, end) {
                self.part.later_reads += 1;
                self.part.continued_reads += u64::from(continues);
            }
        }
        if rows.phase[row] != Phase::Train || rows.epoch[row] == 0 {
            return;
        }
        let sample = match (rows.sample[row], object) {
            (NO_SAMPLE, NO_OBJECT) => return,
            (NO_SAMPLE, object) => IS_OBJECT | object,
            (sample, _) => sample & !IS_OBJECT,
        };
        self.samples.read(rows.epoch[row], rows.step[row], sample, limits);
    }

    fn on_path(
        &mut self,
        rows: &Rows,
        row: usize,
        (named_at, (object, endpoint)): (RowPosition, (u64, u16)),
        opens: bool,
    ) {
        let step: EpochStep = (rows.epoch[row], rows.step[row]);
        if rows.phase[row] != Phase::Train || step.0 == 0 || step.1 == 0 {
            return;
        }
        let (start, end) = (rows.start[row], rows.end[row]);
        let or = |time: i64, other: i64| if time == NO_TIME { other } else { time };
        let issued = or(rows.issued[row], start).clamp(start, end);
        let first_byte = or(rows.first_byte[row], issued).clamp(issued, end);
        self.attribution.op(Op {
            start,
            issued,
            first_byte,
            end,
            step,
            object,
            named_at,
            endpoint,
            lane: rows.lane[row],
            opens,
            attempt: rows.attempt[row],
            kind: rows.kind[row],
            outcome: rows.outcome[row],
        });
    }

    fn span(&mut self, rows: &Rows, row: usize) {
        let (kind, start, end) = (rows.kind[row], rows.start[row], rows.end[row]);
        match kind {
            OpKind::CheckpointSave | OpKind::CheckpointLoad => self.checkpoints.push((start, end)),
            OpKind::Decode | OpKind::Preprocess => {
                self.on_path(rows, row, ((0, 0), (NO_OBJECT, NO_ENDPOINT)), false);
            }
            _ => {}
        }
        let at = (rows.epoch[row], rows.step[row]);
        let train = rows.phase[row] == Phase::Train;
        if train && at.0 > 0 && at.1 > 0 && matches!(kind, OpKind::Fetch | OpKind::Compute | OpKind::Barrier) {
            self.attribution.span(kind, at, rows.block[row], (start, end));
        }
        self.spans.add(rows, row);
    }

    fn advance(&mut self, watermark: Option<i64>, context: &PassContext<'_>) {
        self.attribution.advance(watermark);
        while let Some((at, step)) = self.attribution.complete() {
            let length = |span: Option<Span>| span.map_or(0, |(start, end)| between(start, end));
            let StepSpans { fetch, compute, barrier, .. } = step.spans;
            self.part.waited += length(fetch);
            self.arrivals.push(BarrierArrival {
                at,
                rank: self.part.index,
                fetch: fetch.map(|(start, end)| between(start, end)),
                compute: length(compute),
                barrier,
            });
            // A barrier belongs to no step: AU also counts those of the steps that it leaves out.
            self.part.losses.entry(at.0).or_default().parts.barrier += length(barrier);
            // The wait of a rank in such a step is no loss of its own, but a loss of the ranks that wait for it.
            if let Some(opened) = step.wait.as_ref().map(|wait| wait.opened).filter(|opened| opened.count > 0) {
                let found =
                    SlowestFirstRequest { nanos: opened.longest, rank: self.part.rank, epoch: at.0, step: at.1 };
                self.part.slowest_first = self.part.slowest_first.max(Some(found));
            }
            if let Some((at, step)) = self.counted.next((at, step), context.window) {
                self.fold(at, &step);
            }
            if self.arrivals.len() == ARRIVALS {
                self.meet(context);
            }
        }
        self.meet(context);
    }

    fn meet(&mut self, context: &PassContext<'_>) {
        context.barriers.add(&self.arrivals, context.limits.steps);
        self.arrivals.clear();
    }

    /// Adds a counted step.
    fn fold(&mut self, at: EpochStep, step: &AttributedStep) {
        let StepSpans { block, fetch, compute, barrier } = step.spans;
        let Some(((from, to), wait)) = fetch.zip(step.wait.as_ref()) else { return };
        let part = &mut self.part;
        let nanos = between(from, to);
        let computed = compute.map_or(0, |(start, end)| between(start, end));
        part.waits.push(nanos);
        part.steps.push(nanos + computed);
        part.rounds.push(nanos + computed + barrier.map_or(0, |(start, end)| between(start, end)));
        let loss: &mut EpochWait = part.losses.entry(at.0).or_default();
        loss.steps += 1;
        loss.parts.add(&wait.parts);
        let end = [compute, barrier].into_iter().flatten().map(|part| part.1).fold(to, i64::max);
        match self.blocks.last_mut() {
            Some((known, span)) if *known == (at.0, block) => *span = (span.0.min(from), span.1.max(end)),
            _ => self.blocks.push(((at.0, block), (from, end))),
        }
        part.retried += wait.parts.retries;
        for (endpoint, nanos) in &wait.endpoints {
            part.explained += nanos;
            let at = usize::from(*endpoint);
            if *endpoint != NO_ENDPOINT {
                if at >= self.waited_for.len() {
                    self.waited_for.resize(at + 1, 0);
                }
                self.waited_for[at] += nanos;
            }
        }
        part.opened.merge(&wait.opened);
        // The list is truncated from time to time: a wait that would not stay in it needs no name.
        if nanos < self.shortest {
            return;
        }
        let endpoint = wait.object.and_then(|(_, endpoint)| self.names.get(usize::from(endpoint)));
        part.long_waits.push(LongWait {
            epoch: at.0,
            step: at.1,
            rank: part.rank,
            wait: nanos,
            parts: wait.parts,
            object: wait.object.map(|((group, row), _)| Locator { trace: part.index, group, row }),
            endpoint: endpoint.filter(|name| *name != "local").cloned().unwrap_or_default(),
        });
        if part.long_waits.len() >= 4 * LONG_WAITS {
            keep_longest(&mut part.long_waits, LONG_WAITS);
            self.shortest = part.long_waits.last().map_or(0, |step| step.wait);
        }
    }

    /// Returns the statistics of the rank; its totals are added later.
    pub(crate) fn finish(mut self, context: &PassContext<'_>) -> (RankStats, Vec<RetainedGroup>, ObjectReads) {
        self.samples.close(true, &context.coverage);
        context.ranges.add(self.ranges);
        let mut part = self.part;
        part.orders = self.samples.orders();
        keep_longest(&mut part.long_waits, LONG_WAITS);
        for ((epoch, _), (from, end)) in self.blocks {
            let loss = part.losses.entry(epoch).or_default();
            let saved = self.checkpoints.iter().map(|(start, over)| between((*start).max(from), (*over).min(end)));
            loss.parts.checkpoint += saved.sum::<u64>();
        }
        (part.timelines.busy, part.overlap, part.late) = self.overlap.finish();
        self.spans.close(0, &context.parameters);
        for closed in self.spans.closed {
            part.metric.epochs.push(closed.metric);
            part.counted.push(closed.counted);
            part.times.push(closed.time);
            part.timings.epochs.push(closed.timings);
        }
        (part.metric.rank, part.timings.rank) = (part.rank, part.rank);
        part.waited_for = self.names.into_iter().zip(self.waited_for).collect();
        (part, self.retained, self.reads)
    }
}

/// Keeps the longest waits, in descending order; among equal ones, the earliest come first.
pub(crate) fn keep_longest(waits: &mut Vec<LongWait>, limits: usize) {
    waits.sort_by_key(|step| (std::cmp::Reverse(step.wait), step.epoch, step.step, step.rank));
    waits.truncate(limits);
}

fn small(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX)
}
