//! One rank while its trace is read: each row is looked at once, in the order of the file.

use dlio_event::{OpKind, Outcome, Phase};
use dlio_trace::{NO_CONNECTION, NO_SAMPLE, NO_TIME, RankTrace, Rows};

use super::digest::Digest;
use super::kept::KeptGroup;
use super::meetings::Visit;
use super::objects::{LastReads, Locator, NO_OBJECT, ReadRanges};
use super::part::{Coldest, EpochLoss, LongWait, RankPart};
use super::samples::{IS_OBJECT, Samples};
use super::sweep::Sweep;
use super::tally::ObjectReads;
use super::walk::{At, Counted, NO_ENDPOINT, Op, Place, Span, Spans, Step, Walk};
use super::{Piece, Shared, went_well};
use crate::rebuild;
use crate::why::between;

/// Steps with long waits that a rank offers.
const LONG_WAITS: usize = 20;
/// Steps that are handed to all ranks' at a time.
const VISITS: usize = 1 << 10;
/// Epochs whose spans are kept in a streaming analysis: a row may come somewhat late.
const EPOCHS: usize = 3;
/// Connections of a rank whose requests are counted; numbers are given in the order of opening.
const CONNECTIONS: usize = 1 << 20;

/// Everything about a rank that grows while its trace is read.
pub(crate) struct RankState {
    part: RankPart,
    spans: rebuild::Spans,
    walk: Walk,
    counted: Counted,
    visits: Vec<Visit>,
    samples: Samples,
    /// Requests that each connection has served.
    served: Vec<u32>,
    last_reads: LastReads,
    ranges: ReadRanges,
    reads: ObjectReads,
    sweep: Sweep,
    checkpoints: Vec<Span>,
    /// First and last moment of the steps that count, by epoch and block.
    blocks: Vec<((u32, u32), Span)>,
    /// Nanoseconds of waits of training steps that operations of each endpoint took.
    waited_for: Vec<u64>,
    /// Names of endpoints by their numbers, as far as they are needed.
    names: Vec<String>,
    kept: Vec<KeptGroup>,
    /// The shortest of the long waits when they were cut last.
    shortest: u64,
    /// Rows of the group that have been taken.
    taken: u32,
}

/// What is to come after a row group ends at the first moment or after it, and begins at the second one or after it; `None`:
/// nothing is to come.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Later {
    pub(crate) ends: Option<i64>,
    pub(crate) starts: Option<i64>,
}

impl RankState {
    pub(crate) fn new(index: u32, trace: &RankTrace, shared: &Shared<'_>) -> Self {
        Self {
            part: RankPart { index, rank: trace.header.rank, host: trace.header.host.clone(), ..RankPart::default() },
            spans: rebuild::Spans::new(shared.extent.start),
            walk: Walk::new(trace.rows_of(0), !shared.keep),
            counted: Counted::default(),
            visits: Vec::new(),
            samples: Samples::new(trace.rows),
            served: Vec::new(),
            last_reads: LastReads::default(),
            ranges: ReadRanges::default(),
            reads: ObjectReads::default(),
            sweep: Sweep::new(shared.axis, !shared.keep),
            checkpoints: Vec::new(),
            blocks: Vec::new(),
            waited_for: Vec::new(),
            names: Vec::new(),
            kept: Vec::new(),
            shortest: 0,
            taken: 0,
        }
    }

    /// Takes the next rows of a group.
    pub(crate) fn rows(&mut self, group: u32, piece: &Piece, shared: &Shared<'_>) {
        for (endpoint, key) in piece.endpoints.iter().zip(0_usize..) {
            self.name(*endpoint, || {
                key.checked_sub(1).and_then(|key| piece.rows.endpoint.value(key)).unwrap_or("local")
            });
        }
        for row in 0..piece.rows.len() {
            if piece.rows.kind[row].is_storage() {
                let at = (group, self.taken + small(row));
                let endpoint = piece.endpoints[piece.rows.endpoint.key(row).map_or(0, |key| key + 1)];
                self.storage(&piece.rows, row, (at, (piece.objects[row], endpoint)), shared);
            } else {
                self.span(&piece.rows, row);
            }
        }
        self.taken += small(piece.rows.len());
    }

    /// All rows of the group have been taken, and this is what was made of them beside.
    pub(crate) fn group_over(&mut self, digest: Digest, later: Later, shared: &Shared<'_>) {
        let Digest { lines, kept, long, edges } = digest;
        self.taken = 0;
        self.part.lines.merge(&lines);
        if shared.keep {
            self.kept.push(KeptGroup { rows: kept, long });
        }
        self.ranges.limit(shared.most.ranges);
        self.sweep.take(edges, later.starts);
        self.samples.close(false, &shared.coverage);
        if !shared.keep {
            self.spans.close(EPOCHS, &shared.parameters);
        }
        self.advance(later.ends, shared);
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

    fn storage(&mut self, rows: &Rows, row: usize, (at, (object, endpoint)): (Place, (u64, u16)), shared: &Shared<'_>) {
        let (kind, nanos) = (rows.kind[row], between(rows.start[row], rows.end[row]));
        let (read, ok) = (kind.is_read(), went_well(kind, rows.outcome[row]));
        let age = self.age(rows.connection[row]);
        if read && ok {
            self.part.reads.push(nanos);
            if let Some(age) = age {
                self.part.ages[usize::from(age)].add(nanos);
            }
            if !shared.keep && object != NO_OBJECT {
                let (group, row) = at;
                let at = Locator { trace: self.part.index, group, row };
                self.reads.add(object, nanos, at, shared.most.reads);
            }
        }
        if !ok {
            self.failed(rows, row, endpoint, shared);
        }
        if read {
            self.read(rows, row, object, shared.most.samples);
        }
        self.on_path(rows, row, (at, (object, endpoint)), age == Some(0));
    }

    /// The class of a connection by the requests that it served before this one.
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

    fn failed(&mut self, rows: &Rows, row: usize, endpoint: u16, shared: &Shared<'_>) {
        let outcome = rows.outcome[row];
        *self.part.outcomes.entry(outcome.name().to_owned()).or_default() += 1;
        if outcome == Outcome::Throttled {
            let name = self.names.get(usize::from(endpoint)).cloned().unwrap_or_default();
            let second = between(shared.extent.start, rows.start[row]) / 1_000_000_000;
            *self.part.refused.entry(name).or_default().entry(second).or_default() += 1;
        }
    }

    fn read(&mut self, rows: &Rows, row: usize, object: u64, most: usize) {
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
        self.samples.read(rows.epoch[row], rows.step[row], sample, most);
    }

    fn on_path(&mut self, rows: &Rows, row: usize, (named_at, (object, endpoint)): (Place, (u64, u16)), opens: bool) {
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
            self.walk.span(kind, at, rows.block[row], (start, end));
        }
        self.spans.add(rows, row);
    }

    fn advance(&mut self, watermark: Option<i64>, shared: &Shared<'_>) {
        self.walk.advance(watermark);
        while let Some((at, step)) = self.walk.complete() {
            let length = |span: Option<Span>| span.map_or(0, |(start, end)| between(start, end));
            let Spans { fetch, compute, barrier, .. } = step.spans;
            self.part.waited += length(fetch);
            self.visits.push(Visit {
                at,
                rank: self.part.index,
                fetch: fetch.map(|(start, end)| between(start, end)),
                compute: length(compute),
                barrier,
            });
            // A barrier is no part of any step: AU counts those of the steps that it leaves out, too.
            self.part.losses.entry(at.0).or_default().parts.barrier += length(barrier);
            // Nor is a rank's wait in them its own loss, but it is that of the ranks that wait for it.
            if let Some(opened) = step.wait.as_ref().map(|wait| wait.opened).filter(|opened| opened.count > 0) {
                let found = Coldest { nanos: opened.longest, rank: self.part.rank, epoch: at.0, step: at.1 };
                self.part.coldest = self.part.coldest.max(Some(found));
            }
            if let Some((at, step)) = self.counted.next((at, step), shared.window) {
                self.fold(at, &step);
            }
            if self.visits.len() == VISITS {
                self.meet(shared);
            }
        }
        self.meet(shared);
    }

    fn meet(&mut self, shared: &Shared<'_>) {
        shared.meetings.add(&self.visits, shared.most.steps);
        self.visits.clear();
    }

    /// Adds up a step that counts.
    fn fold(&mut self, at: At, step: &Step) {
        let Spans { block, fetch, compute, barrier } = step.spans;
        let Some(((from, to), wait)) = fetch.zip(step.wait.as_ref()) else { return };
        let part = &mut self.part;
        let nanos = between(from, to);
        let computed = compute.map_or(0, |(start, end)| between(start, end));
        part.waits.push(nanos);
        part.steps.push(nanos + computed);
        part.rounds.push(nanos + computed + barrier.map_or(0, |(start, end)| between(start, end)));
        let loss: &mut EpochLoss = part.losses.entry(at.0).or_default();
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
        // The list is cut from time to time: what would not stay in it is not worth a name.
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

    /// The rank as a whole; its totals are added later.
    pub(crate) fn finish(mut self, shared: &Shared<'_>) -> (RankPart, Vec<KeptGroup>, ObjectReads) {
        self.samples.close(true, &shared.coverage);
        shared.ranges.add(self.ranges);
        let mut part = self.part;
        part.orders = self.samples.orders();
        keep_longest(&mut part.long_waits, LONG_WAITS);
        for ((epoch, _), (from, end)) in self.blocks {
            let loss = part.losses.entry(epoch).or_default();
            let saved = self.checkpoints.iter().map(|(start, over)| between((*start).max(from), (*over).min(end)));
            loss.parts.checkpoint += saved.sum::<u64>();
        }
        (part.lines.busy, part.together, part.late) = self.sweep.finish();
        self.spans.close(0, &shared.parameters);
        for closed in self.spans.closed {
            part.metric.epochs.push(closed.metric);
            part.counted.push(closed.counted);
            part.times.push(closed.time);
            part.timings.epochs.push(closed.timings);
        }
        (part.metric.rank, part.timings.rank) = (part.rank, part.rank);
        part.waited_for = self.names.into_iter().zip(self.waited_for).collect();
        (part, self.kept, self.reads)
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
