//! One rank while its trace is read: each row is looked at once, in the order of the file.

use dlio_event::{OpKind, Outcome, Phase};
use dlio_trace::{NO_CONNECTION, NO_SAMPLE, NO_TIME, RankTrace, Rows};

use super::kept::{Kept, KeptRow};
use super::meetings::Visit;
use super::objects::{LastReads, Locator, Map, NO_OBJECT, ReadRanges};
use super::part::{Coldest, EpochLoss, Flow, GROUPS, Group, LongWait, RankPart, group_key, size_class};
use super::samples::{IS_OBJECT, Samples};
use super::walk::{At, Counted, NO_ENDPOINT, Op, Span, Step, Walk};
use super::{Piece, Shared};
use crate::histogram::UNKNOWN;
use crate::rebuild::Spans;
use crate::why::between;

/// Steps with long waits that a rank offers.
const LONG_WAITS: usize = 20;
/// Bytes per nanosecond of one read (GB/s) that only memory reaches, and the size from which it is judged.
const MEMORY_SPEED: f64 = 4.0;
const MEMORY_BYTES: u64 = 16 << 10;

/// Everything about a rank that grows while its trace is read.
pub(crate) struct RankState {
    part: RankPart,
    groups: Vec<Option<Box<Group>>>,
    endpoints: Vec<(String, Flow)>,
    spans: Spans,
    walk: Walk,
    counted: Counted,
    samples: Samples,
    /// Requests that each connection has served.
    served: Map<u32, u32>,
    last_reads: LastReads,
    ranges: ReadRanges,
    checkpoints: Vec<Span>,
    /// First and last moment of the steps that count, by epoch and block.
    blocks: Vec<((u32, u32), Span)>,
    computes: Vec<Span>,
    loop_span: Option<Span>,
    kept: Option<Kept>,
}

impl RankState {
    pub(crate) fn new(index: u32, trace: &RankTrace, shared: &Shared<'_>) -> Self {
        let rows = usize::try_from(trace.rows).unwrap_or(0);
        Self {
            part: RankPart { index, rank: trace.header.rank, host: trace.header.host.clone(), ..RankPart::default() },
            groups: (0..GROUPS).map(|_| None).collect(),
            endpoints: Vec::new(),
            spans: Spans::new(shared.extent.start),
            walk: Walk::new(),
            counted: Counted::default(),
            samples: Samples::default(),
            served: Map::default(),
            last_reads: LastReads::default(),
            ranges: ReadRanges::default(),
            checkpoints: Vec::new(),
            blocks: Vec::new(),
            computes: Vec::new(),
            loop_span: None,
            kept: shared.keep.then(|| Kept::with_capacity(rows)),
        }
    }

    /// Takes the rows of one group; what comes later ends at `watermark` or after it.
    pub(crate) fn consume(&mut self, group: u32, pieces: &[Piece], watermark: Option<i64>, shared: &Shared<'_>) {
        let mut first_row = 0;
        for piece in pieces {
            let endpoints = self.endpoint_numbers(&piece.rows);
            for row in 0..piece.rows.len() {
                if piece.rows.kind[row].is_storage() {
                    let at = Locator { trace: self.part.index, group, row: first_row + small(row) };
                    let names = (piece.objects[row], endpoints[piece.rows.endpoint.key(row).map_or(0, |key| key + 1)]);
                    self.storage(&piece.rows, row, (at, names), shared);
                } else {
                    self.span(&piece.rows, row, shared);
                }
            }
            first_row += small(piece.rows.len());
        }
        if let Some(kept) = &mut self.kept {
            kept.group_over();
        }
        self.samples.close(false, &shared.coverage);
        self.advance(watermark, shared);
    }

    /// Numbers of the names of a piece; the first is that of no name.
    fn endpoint_numbers(&mut self, rows: &Rows) -> Vec<u16> {
        let mut used = vec![false; rows.endpoint.count() + 1];
        for row in 0..rows.len() {
            if rows.kind[row].is_storage() {
                used[rows.endpoint.key(row).map_or(0, |key| key + 1)] = true;
            }
        }
        let name = |key: usize| key.checked_sub(1).and_then(|key| rows.endpoint.value(key)).unwrap_or("local");
        let mut number = |(key, used): (usize, bool)| {
            if !used {
                return NO_ENDPOINT;
            }
            let known = self.endpoints.iter().position(|(known, _)| known == name(key));
            let at = known.unwrap_or_else(|| {
                self.endpoints.push((name(key).to_owned(), Flow::default()));
                self.endpoints.len() - 1
            });
            u16::try_from(at).unwrap_or(NO_ENDPOINT)
        };
        used.into_iter().enumerate().map(&mut number).collect()
    }

    fn storage(
        &mut self,
        rows: &Rows,
        row: usize,
        (at, (object, endpoint)): (Locator, (u64, u16)),
        shared: &Shared<'_>,
    ) {
        let (kind, bytes, start, end) = (rows.kind[row], rows.bytes[row], rows.start[row], rows.end[row]);
        let nanos = between(start, end);
        let first = match rows.first_byte[row] {
            NO_TIME => UNKNOWN,
            first => between(start, first).min(nanos),
        };
        // Who asks whether an object is there has an answer when it is not.
        let ok = match rows.outcome[row] {
            Outcome::Ok => true,
            Outcome::NotFound => kind == OpKind::Stat,
            _ => false,
        };
        let (read, write) = (kind.is_read(), kind.is_write());
        let key = group_key(kind, size_class(bytes));
        let group = self.groups[key].get_or_insert_default();
        group.bytes += bytes;
        group.retries += u64::from(rows.attempt[row] > 0);
        group.errors += u64::from(!ok);
        group.times.add(nanos, first);
        let age = self.age(rows.connection[row]);
        if let Some((_, flow)) = self.endpoints.get_mut(usize::from(endpoint)) {
            flow.operations += 1;
            flow.read_bytes += if read { bytes } else { 0 };
            flow.written_bytes += if write { bytes } else { 0 };
            flow.errors += u64::from(!ok);
            if read || write {
                flow.times.add(nanos, first);
            }
            if read && ok {
                flow.reads.add(nanos);
                self.part.reads.push(nanos);
                if let Some(age) = age {
                    self.part.ages[usize::from(age)].add(nanos);
                }
            }
        }
        if !ok {
            self.failed(rows, row, endpoint, shared);
        }
        let stretch = shared.extent.stretch(start, end);
        let lines = &mut self.part.lines;
        lines.operations.add(stretch, 1.0);
        lines.flying.add(stretch, nanos as f64);
        if read {
            lines.reads.add(stretch, bytes as f64);
        } else if write {
            lines.writes.add(stretch, bytes as f64);
        }
        if let Some(kept) = &mut self.kept {
            kept.push(KeptRow::storage(start, (nanos, first), (object, endpoint), (key, read && ok)));
        }
        if read {
            self.read(rows, row, object);
        }
        if rows.phase[row] == Phase::Train && rows.epoch[row] > 0 {
            self.train(rows, row, object, nanos);
        }
        self.on_path(rows, row, (at, (object, endpoint)), age == Some(0));
    }

    /// The class of a connection by the requests that it served before this one.
    fn age(&mut self, connection: u32) -> Option<u8> {
        if connection == NO_CONNECTION {
            return None;
        }
        let served = self.served.entry(connection).or_default();
        *served += 1;
        Some(match *served {
            1 => 0,
            2..=10 => 1,
            11..=100 => 2,
            _ => 3,
        })
    }

    fn failed(&mut self, rows: &Rows, row: usize, endpoint: u16, shared: &Shared<'_>) {
        let outcome = rows.outcome[row];
        *self.part.outcomes.entry(outcome.name().to_owned()).or_default() += 1;
        if outcome == Outcome::Throttled {
            let name = self.endpoints.get(usize::from(endpoint)).map(|(name, _)| name.clone()).unwrap_or_default();
            let second = between(shared.extent.start, rows.start[row]) / 1_000_000_000;
            *self.part.refused.entry(name).or_default().entry(second).or_default() += 1;
        }
    }

    fn read(&mut self, rows: &Rows, row: usize, object: u64) {
        let (bytes, offset) = (rows.bytes[row], rows.offset[row]);
        if bytes == 0 || object == NO_OBJECT {
            return;
        }
        self.part.read_bytes += bytes;
        let end = offset.saturating_add(bytes);
        self.ranges.read(object, offset, end);
        if let Some(continues) = self.last_reads.read(rows.lane[row], object, offset, end) {
            self.part.later_reads += 1;
            self.part.continued_reads += u64::from(continues);
        }
    }

    /// An operation of a training epoch.
    fn train(&mut self, rows: &Rows, row: usize, object: u64, nanos: u64) {
        self.part.lanes.storage += nanos;
        if !rows.kind[row].is_read() {
            return;
        }
        let bytes = rows.bytes[row];
        let reads = self.part.epochs.entry(rows.epoch[row]).or_default();
        reads.bytes += bytes;
        reads.operation_ns += nanos;
        reads.reads += 1;
        reads.from_memory += u64::from(bytes >= MEMORY_BYTES && bytes as f64 >= MEMORY_SPEED * nanos as f64);
        let sample = match (rows.sample[row], object) {
            (NO_SAMPLE, NO_OBJECT) => return,
            (NO_SAMPLE, object) => IS_OBJECT | object,
            (sample, _) => sample & !IS_OBJECT,
        };
        self.samples.read(rows.epoch[row], rows.step[row], sample);
    }

    fn on_path(&mut self, rows: &Rows, row: usize, (named_at, (object, endpoint)): (Locator, (u64, u16)), opens: bool) {
        let step: At = (rows.epoch[row], rows.step[row]);
        if rows.phase[row] != Phase::Train || step.0 == 0 || step.1 == 0 {
            return;
        }
        let (start, end) = (rows.start[row], rows.end[row]);
        let or = |time: i64, other: i64| if time == NO_TIME { other } else { time };
        let issued = or(rows.issued[row], start).clamp(start, end);
        let first_byte = or(rows.first_byte[row], issued).clamp(issued, end);
        self.walk.op(Op {
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

    fn span(&mut self, rows: &Rows, row: usize, shared: &Shared<'_>) {
        let (kind, start, end) = (rows.kind[row], rows.start[row], rows.end[row]);
        let (train, nanos) = (rows.phase[row] == Phase::Train, between(start, end));
        let lines = &mut self.part.lines;
        match kind {
            OpKind::Compute if train => {
                lines.computing.add(shared.extent.stretch(start, end), nanos as f64);
                self.computes.push((start, end));
            }
            OpKind::Fetch if train => lines.waiting.add(shared.extent.stretch(start, end), nanos as f64),
            OpKind::Block => lines.training.add(shared.extent.stretch(start, end), nanos as f64),
            OpKind::CheckpointSave | OpKind::CheckpointLoad => self.checkpoints.push((start, end)),
            OpKind::Decode | OpKind::Preprocess => {
                if train {
                    self.part.lanes.client += nanos;
                }
                let nowhere = Locator { trace: self.part.index, group: 0, row: 0 };
                self.on_path(rows, row, (nowhere, (NO_OBJECT, NO_ENDPOINT)), false);
            }
            _ => {}
        }
        let key = group_key(kind, 0);
        let group = self.groups[key].get_or_insert_default();
        group.bytes += rows.bytes[row];
        group.times.add(nanos, UNKNOWN);
        if let Some(kept) = &mut self.kept {
            kept.push(KeptRow::span(start, nanos, key));
        }
        let at = (rows.epoch[row], rows.step[row]);
        if train && at.0 > 0 && at.1 > 0 && matches!(kind, OpKind::Fetch | OpKind::Compute | OpKind::Barrier) {
            self.walk.span(kind, at, rows.block[row], (start, end));
            if kind != OpKind::Barrier {
                let known = self.loop_span.unwrap_or((start, end));
                self.loop_span = Some((known.0.min(start), known.1.max(end)));
            }
        }
        self.spans.add(rows, row);
    }

    fn advance(&mut self, watermark: Option<i64>, shared: &Shared<'_>) {
        let mut visits = Vec::new();
        for (at, step) in self.walk.advance(watermark) {
            let length = |span: Option<Span>| span.map_or(0, |(start, end)| between(start, end));
            self.part.waited += length(step.fetch);
            visits.push(Visit {
                at,
                rank: self.part.index,
                fetch: step.fetch.map(|(start, end)| between(start, end)),
                compute: length(step.compute),
                barrier: step.barrier,
            });
            // A barrier is no part of any step: AU counts those of the steps that it leaves out, too.
            self.part.losses.entry(at.0).or_default().parts.barrier += length(step.barrier);
            if let Some((at, step)) = self.counted.next((at, step), shared.window) {
                self.fold(at, &step);
            }
        }
        shared.meetings.add(&visits);
    }

    /// Adds up a step that counts.
    fn fold(&mut self, at: At, step: &Step) {
        let Some(((from, to), wait)) = step.fetch.zip(step.wait.as_ref()) else { return };
        let part = &mut self.part;
        let nanos = between(from, to);
        let compute = step.compute.map_or(0, |(start, end)| between(start, end));
        part.waits.push(nanos);
        part.steps.push(nanos + compute);
        let loss: &mut EpochLoss = part.losses.entry(at.0).or_default();
        loss.steps += 1;
        loss.parts.add(&wait.parts);
        let end = [step.compute, step.barrier].into_iter().flatten().map(|part| part.1).fold(to, i64::max);
        match self.blocks.last_mut() {
            Some((block, span)) if *block == (at.0, step.block) => *span = (span.0.min(from), span.1.max(end)),
            _ => self.blocks.push(((at.0, step.block), (from, end))),
        }
        part.retried += wait.parts.retries;
        for (endpoint, nanos) in &wait.endpoints {
            part.explained += nanos;
            if let Some((_, flow)) = self.endpoints.get_mut(usize::from(*endpoint)) {
                flow.waited += nanos;
            }
        }
        part.opened.merge(&wait.opened);
        if wait.opened.count > 0 {
            let found = Coldest { nanos: wait.opened.longest, rank: part.rank, epoch: at.0, step: at.1 };
            part.coldest = part.coldest.max(Some(found));
        }
        let endpoint = wait.object.and_then(|(_, endpoint)| self.endpoints.get(usize::from(endpoint)));
        part.long_waits.push(LongWait {
            epoch: at.0,
            step: at.1,
            rank: part.rank,
            wait: nanos,
            parts: wait.parts,
            object: wait.object.map(|(at, _)| at),
            endpoint: endpoint.map(|(name, _)| name.clone()).filter(|name| name != "local").unwrap_or_default(),
        });
        if part.long_waits.len() >= 4 * LONG_WAITS {
            keep_longest(&mut part.long_waits, LONG_WAITS);
        }
    }

    /// The rank as a whole.
    pub(crate) fn finish(mut self, shared: &Shared<'_>) -> (RankPart, Option<Kept>) {
        self.samples.close(true, &shared.coverage);
        shared.ranges.add(self.ranges);
        let mut part = self.part;
        part.orders = self.samples.orders;
        keep_longest(&mut part.long_waits, LONG_WAITS);
        for ((epoch, _), (from, end)) in self.blocks {
            let loss = part.losses.entry(epoch).or_default();
            let saved = self.checkpoints.iter().map(|(start, over)| between((*start).max(from), (*over).min(end)));
            loss.parts.checkpoint += saved.sum::<u64>();
        }
        if let Some(kept) = &mut self.kept {
            let found = kept.sweep(&mut self.computes, self.loop_span, shared.extent);
            part.lines.busy = found.0;
            part.together = found.1;
        }
        let (timings, times) = self.spans.timings(part.rank);
        (part.timings, part.times) = (timings, times);
        part.groups = self.groups.into_iter().enumerate().filter_map(|(key, group)| Some((key, *group?))).collect();
        if let Some(kept) = &mut self.kept {
            kept.endpoints = self.endpoints.iter().map(|(name, _)| name.clone()).collect();
        }
        part.flows = self.endpoints.into_iter().collect();
        (part, self.kept)
    }
}

/// The longest first; of equal ones the earliest.
pub(crate) fn keep_longest(waits: &mut Vec<LongWait>, most: usize) {
    waits.sort_by_key(|step| (std::cmp::Reverse(step.wait), step.epoch, step.step, step.rank));
    waits.truncate(most);
}

fn small(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX)
}
