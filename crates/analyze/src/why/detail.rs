//! What attribution needs of each rank: its operations one by one, and its steps.

use std::collections::{BTreeMap, HashMap};

use dlio_event::{ConnectionId, Lane, OpKind, Outcome, Phase};
use dlio_trace::{Batch, RankTrace};

/// No name.
pub(super) const NONE: u32 = u32::MAX;

/// One storage operation, or one stretch of decoding.
#[derive(Debug, Clone, Copy)]
pub(super) struct Op {
    pub(super) start: i64,
    pub(super) issued: i64,
    pub(super) first_byte: i64,
    pub(super) end: i64,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    pub(super) step: (u32, u32),
    pub(super) object: u32,
    pub(super) endpoint: u32,
    /// How many requests its connection had served before; `NONE` without a connection.
    pub(super) age: u32,
    pub(super) lane: Lane,
    pub(super) attempt: u8,
    pub(super) kind: OpKind,
    pub(super) outcome: Outcome,
}

impl Op {
    pub(super) fn nanos(&self) -> u64 {
        u64::try_from(self.end.saturating_sub(self.start)).unwrap_or(0)
    }
}

/// One training step: start and end of its parts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Step {
    pub(super) block: u32,
    pub(super) fetch: Option<(i64, i64)>,
    pub(super) compute: Option<(i64, i64)>,
    pub(super) barrier: Option<(i64, i64)>,
}

/// One rank.
#[derive(Debug, Default)]
pub(super) struct Detail {
    pub(super) rank: u32,
    pub(super) host: String,
    /// In the order of their start; positions are those of training, (0, 0) elsewhere.
    pub(super) ops: Vec<Op>,
    pub(super) steps: BTreeMap<(u32, u32), Step>,
    pub(super) checkpoints: Vec<(i64, i64)>,
}

/// Names of all ranks, each with one number.
#[derive(Debug, Default)]
pub(super) struct Names {
    numbers: HashMap<String, u32>,
    pub(super) names: Vec<String>,
}

impl Names {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(NONE);
        self.numbers.insert(name.to_owned(), number);
        self.names.push(name.to_owned());
        number
    }

    pub(super) fn get(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("-", String::as_str)
    }
}

/// Reads one rank.
pub(super) fn detail(trace: &RankTrace, names: &mut Names) -> Result<Detail, dlio_trace::Error> {
    let header = &trace.header;
    let mut detail = Detail { rank: header.rank, host: header.host.clone(), ..Detail::default() };
    let mut connections = Vec::new();
    for batch in trace.batches()? {
        detail.add(&batch?, names, &mut connections);
    }
    let mut order: Vec<usize> = (0..detail.ops.len()).collect();
    order.sort_by_key(|op| detail.ops[*op].start);
    let mut served: HashMap<ConnectionId, u32> = HashMap::new();
    for op in &order {
        let connection = connections[*op];
        if connection != ConnectionId::NONE {
            let before = served.entry(connection).or_default();
            detail.ops[*op].age = *before;
            *before += 1;
        }
    }
    detail.ops.sort_by_key(|op| op.start);
    Ok(detail)
}

impl Detail {
    fn add(&mut self, batch: &Batch, names: &mut Names, connections: &mut Vec<ConnectionId>) {
        // A batch names each string once: its number is looked up once.
        let mut known = [vec![NONE; batch.object.count()], vec![NONE; batch.endpoint.count()]];
        for row in 0..batch.len() {
            let train = batch.phase[row] == Phase::Train;
            let step = if train { (batch.epoch[row], batch.step[row]) } else { (0, 0) };
            let kind = batch.kind[row];
            if !kind.is_storage() && !matches!(kind, OpKind::Decode | OpKind::Preprocess) {
                self.span(batch, row, train);
                continue;
            }
            let mut number = |which: usize, column: &dlio_trace::Names| {
                let Some(key) = column.key(row) else { return NONE };
                if known[which][key] == NONE {
                    known[which][key] = column.value(key).map_or(NONE, |name| names.number(name));
                }
                known[which][key]
            };
            let (start, end) = (batch.start[row], batch.end[row]);
            let issued = batch.issued[row].unwrap_or(start).clamp(start, end.max(start));
            let first_byte = batch.first_byte[row].unwrap_or(issued).clamp(issued, end.max(issued));
            connections.push(batch.connection[row]);
            self.ops.push(Op {
                start,
                issued,
                first_byte,
                end,
                offset: batch.offset[row],
                bytes: batch.bytes[row],
                step,
                object: number(0, &batch.object),
                endpoint: number(1, &batch.endpoint),
                age: NONE,
                lane: batch.lane[row],
                attempt: batch.attempt[row],
                kind,
                outcome: batch.outcome[row],
            });
        }
    }

    fn span(&mut self, batch: &Batch, row: usize, train: bool) {
        let time = (batch.start[row], batch.end[row]);
        let kind = batch.kind[row];
        if matches!(kind, OpKind::CheckpointSave | OpKind::CheckpointLoad) {
            self.checkpoints.push(time);
        }
        let position = (batch.epoch[row], batch.step[row]);
        if !train || position.0 == 0 || position.1 == 0 {
            return;
        }
        let step = match kind {
            OpKind::Fetch | OpKind::Compute | OpKind::Barrier => self.steps.entry(position).or_default(),
            _ => return,
        };
        step.block = batch.block[row];
        match kind {
            OpKind::Fetch => step.fetch = Some(time),
            OpKind::Compute => step.compute = Some(time),
            _ => step.barrier = Some(time),
        }
    }
}
