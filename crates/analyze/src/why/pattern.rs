//! What happened at the same time, and in which order bytes were read.

use std::collections::HashMap;

use super::detail::{Detail, NONE, Op};
use super::{Access, Overlap, Why};

pub(super) fn fill(why: &mut Why, details: &[Detail]) {
    why.overlap = details.iter().filter_map(overlap).collect();
    why.access = Access { reread_factor: reread(details), sequential_percentage: sequential(details) };
}

/// A sweep over the starts and ends of everything between the first and the last training step.
fn overlap(detail: &Detail) -> Option<Overlap> {
    let spans = || detail.steps.values().flat_map(|step| [step.fetch, step.compute]).flatten();
    let (from, to) = (spans().map(|span| span.0).min()?, spans().map(|span| span.1).max()?);
    let mut edges: Vec<(i64, bool, i64)> = Vec::new();
    let mut push = |start: i64, end: i64, io: bool| {
        let (start, end) = (start.max(from), end.min(to));
        if start < end {
            edges.extend([(start, io, 1), (end, io, -1)]);
        }
    };
    detail.steps.values().filter_map(|step| step.compute).for_each(|(start, end)| push(start, end, false));
    let storage = || detail.ops.iter().filter(|op| op.kind.is_storage());
    storage().for_each(|op| push(op.start, op.end, true));
    edges.sort_unstable_by_key(|edge| (edge.0, edge.2));
    let mut row = Overlap { rank: detail.rank, ..Overlap::default() };
    let (mut at, mut computing, mut flying) = (from, 0_i64, 0_i64);
    for (time, io, change) in edges.into_iter().chain([(to, false, 0)]) {
        let passed = time.saturating_sub(at) as f64 / 1e9;
        let part = match (computing > 0, flying > 0) {
            (true, true) => &mut row.both,
            (true, false) => &mut row.compute,
            (false, true) => &mut row.io,
            (false, false) => &mut row.neither,
        };
        *part += passed;
        row.concurrency += passed * flying as f64;
        *(if io { &mut flying } else { &mut computing }) += change;
        row.concurrency_max = row.concurrency_max.max(u64::try_from(flying).unwrap_or(0));
        at = time;
    }
    let seconds = to.saturating_sub(from) as f64 / 1e9;
    let inside = storage().filter(|op| op.start >= from && op.start < to);
    row.concurrency /= seconds.max(f64::MIN_POSITIVE);
    row.little = inside.map(|op| op.nanos() as f64 / 1e9).sum::<f64>() / seconds.max(f64::MIN_POSITIVE);
    Some(row)
}

fn reads(detail: &Detail) -> impl Iterator<Item = &Op> {
    detail.ops.iter().filter(|op| op.kind.is_read() && op.bytes > 0 && op.object != NONE)
}

fn reread(details: &[Detail]) -> Option<f64> {
    let mut ranges: Vec<(u32, u64, u64)> =
        details.iter().flat_map(reads).map(|op| (op.object, op.offset, op.offset + op.bytes)).collect();
    ranges.sort_unstable();
    let (mut all, mut different, mut covered) = (0_u64, 0_u64, (NONE, 0_u64));
    for (object, start, end) in ranges {
        all += end - start;
        let upto = if covered.0 == object { covered.1 } else { 0 };
        different += end.saturating_sub(start.max(upto));
        covered = (object, upto.max(end));
    }
    (different > 0).then(|| all as f64 / different as f64)
}

fn sequential(details: &[Detail]) -> Option<f64> {
    let (mut followed, mut later) = (0_u64, 0_u64);
    for detail in details {
        let mut ends: HashMap<(u16, u32), u64> = HashMap::new();
        for op in reads(detail) {
            if let Some(end) = ends.insert((op.lane.0, op.object), op.offset + op.bytes) {
                later += 1;
                followed += u64::from(end == op.offset);
            }
        }
    }
    (later > 0).then(|| 100.0 * followed as f64 / later as f64)
}
