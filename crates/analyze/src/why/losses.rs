//! The waits of all steps, explained and added up.

use std::collections::{BTreeMap, HashMap};

use super::detail::{Detail, NONE, Names, Step};
use super::path::{Paths, Wait, between};
use super::{CriticalRank, Loss, SlowStep, Why, Without};

/// Slow steps that are listed.
const SLOW_STEPS: usize = 20;

/// How much of the waits of all ranks is whose, nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Blame {
    pub(super) total: u64,
    pub(super) endpoints: HashMap<u32, u64>,
    /// Queueing of the first requests of connections.
    pub(super) cold: u64,
    /// Failed attempts and the pauses after them.
    pub(super) retries: u64,
}

/// Epoch and step.
type At = (u32, u32);

pub(super) fn fill(why: &mut Why, details: &[Detail], names: &Names, skipped: (u64, u64)) -> Blame {
    let mut blame = Blame::default();
    for detail in details {
        let paths = Paths::new(detail);
        let mut epochs: BTreeMap<u32, Loss> = BTreeMap::new();
        for (position, step) in counted(detail, skipped) {
            let Some((from, to)) = step.fetch else { continue };
            let wait = paths.wait(position, from, to);
            blame.add(&wait, detail);
            why.slow_steps.push(slow_step(detail, names, position, (between(from, to), &wait)));
            let compute = step.compute.map_or(0, |(start, end)| between(start, end));
            why.samples.wait.push(between(from, to) as f64 / 1e9);
            why.samples.step.push((between(from, to) + compute) as f64 / 1e9);
            let loss = epochs.entry(position.0).or_default();
            (loss.epoch, loss.rank) = (position.0, detail.rank);
            loss.steps += 1;
            loss.compute += compute;
            loss.parts.add(&wait.parts);
            loss.parts.barrier += step.barrier.map_or(0, |(start, end)| between(start, end));
        }
        why.losses.extend(epochs.into_values().map(|loss| finished(loss, detail, skipped)));
    }
    why.losses.sort_by_key(|loss| (loss.epoch, loss.rank));
    why.slow_steps.sort_by_key(|step| (std::cmp::Reverse(step.wait), step.epoch, step.step, step.rank));
    why.slow_steps.truncate(SLOW_STEPS);
    why.samples.au = why.losses.iter().map(|loss| loss.au_percentage).collect();
    why.critical_ranks = critical(details);
    blame
}

/// The steps that AU counts: those at the ends of a block are left out as its formula does.
fn counted(detail: &Detail, (start, end): (u64, u64)) -> Vec<(At, Step)> {
    let mut blocks: BTreeMap<At, Vec<(At, Step)>> = BTreeMap::new();
    for (position, step) in &detail.steps {
        blocks.entry((position.0, step.block)).or_default().push((*position, *step));
    }
    let trimmed = blocks.into_values().flat_map(|steps| {
        let take = (steps.len() as u64).saturating_sub(start + end);
        let (skip, take) = (usize::try_from(start).unwrap_or(usize::MAX), usize::try_from(take).unwrap_or(0));
        steps.into_iter().skip(skip).take(take)
    });
    trimmed.collect()
}

fn finished(mut loss: Loss, detail: &Detail, skipped: (u64, u64)) -> Loss {
    let mine = counted(detail, skipped).into_iter().filter(|(position, _)| position.0 == loss.epoch);
    let mut blocks: BTreeMap<u32, (i64, i64)> = BTreeMap::new();
    for (_, step) in mine {
        let Some((from, to)) = step.fetch else { continue };
        let end = [step.compute, step.barrier].into_iter().flatten().map(|part| part.1).fold(to, i64::max);
        let block = blocks.entry(step.block).or_insert((from, end));
        *block = (block.0.min(from), block.1.max(end));
    }
    for (from, end) in blocks.into_values() {
        loss.total += between(from, end);
        let saved = detail.checkpoints.iter().map(|(start, over)| between((*start).max(from), (*over).min(end)));
        loss.parts.checkpoint += saved.sum::<u64>();
    }
    let named: u64 = loss.compute + loss.parts.named().iter().map(|(_, amount)| amount).sum::<u64>();
    loss.parts.rest += loss.total.saturating_sub(named);
    let au = |total: u64| if total == 0 { 0.0 } else { (100.0 * loss.compute as f64 / total as f64).min(100.0) };
    loss.au_percentage = au(loss.total);
    let parts = loss.parts.named().into_iter().filter(|(_, amount)| *amount > 0);
    loss.without = parts
        .map(|(part, amount)| Without { part: part.to_owned(), au_percentage: au(loss.total.saturating_sub(amount)) })
        .collect();
    loss
}

impl Blame {
    fn add(&mut self, wait: &Wait, detail: &Detail) {
        self.retries += wait.parts.retries;
        for (at, amount) in &wait.ops {
            let op = &detail.ops[*at];
            self.total += amount;
            *self.endpoints.entry(op.endpoint).or_default() += amount;
            if op.age == 0 {
                self.cold += between(op.start, op.issued).min(*amount);
            }
        }
    }
}

fn slow_step(detail: &Detail, names: &Names, at: (u32, u32), (nanos, wait): (u64, &Wait)) -> SlowStep {
    let mut objects: HashMap<u32, (u64, u32)> = HashMap::new();
    for (op, amount) in &wait.ops {
        let op = &detail.ops[*op];
        let entry = objects.entry(op.object).or_insert((0, op.endpoint));
        entry.0 += amount;
    }
    let most = objects
        .into_iter()
        .filter(|(object, _)| *object != NONE)
        .max_by_key(|(object, (amount, _))| (*amount, *object));
    let name = |number: Option<u32>| {
        number.filter(|number| *number != NONE).map(|number| names.get(number).to_owned()).unwrap_or_default()
    };
    SlowStep {
        epoch: at.0,
        step: at.1,
        rank: detail.rank,
        wait: nanos,
        parts: wait.parts,
        object: name(most.map(|(object, _)| object)),
        endpoint: name(most.map(|(_, (_, endpoint))| endpoint)),
    }
}

/// Start and end of a rank's barrier, and which rank.
type Arrival = ((i64, i64), usize);

/// Who came last to the barriers, and what that cost the others: as long as they waited for it, and no longer than they
/// really spent in the barrier, whatever their clocks say.
fn critical(details: &[Detail]) -> Vec<CriticalRank> {
    if details.len() < 2 {
        return Vec::new();
    }
    let mut meetings: BTreeMap<At, Vec<Arrival>> = BTreeMap::new();
    for (index, detail) in details.iter().enumerate() {
        for (position, step) in &detail.steps {
            if let Some(barrier) = step.barrier {
                meetings.entry(*position).or_default().push((barrier, index));
            }
        }
    }
    let mut rows: Vec<(CriticalRank, Late)> = details
        .iter()
        .map(|detail| {
            let row = CriticalRank { rank: detail.rank, host: detail.host.clone(), ..CriticalRank::default() };
            (row, Late::default())
        })
        .collect();
    for (position, arrivals) in meetings.into_iter().filter(|(_, arrivals)| arrivals.len() > 1) {
        let Some(((last, _), who)) = arrivals.iter().copied().max() else { continue };
        let waited = arrivals.iter().map(|((start, end), _)| between(*start, last).min(between(*start, *end)));
        let waited: u64 = waited.sum();
        let (row, late) = &mut rows[who];
        row.steps += u64::from(waited > 0);
        row.seconds += waited as f64 / 1e9;
        let others = arrivals.iter().map(|(_, other)| *other).filter(|other| *other != who);
        late.add(&details[who].steps[&position], others.map(|other| &details[other].steps[&position]));
    }
    let mut ranks: Vec<CriticalRank> = rows
        .into_iter()
        .map(|(row, late)| CriticalRank { waiting_percentage: late.waiting_percentage(), ..row })
        .filter(|row| row.steps > 0)
        .collect();
    ranks.sort_by(|one, other| other.seconds.total_cmp(&one.seconds).then(one.rank.cmp(&other.rank)));
    ranks
}

/// By how much a rank waited and computed longer than the others did on average, over the steps in which it was last.
#[derive(Debug, Default)]
struct Late {
    waiting: f64,
    computing: f64,
}

impl Late {
    fn add<'s>(&mut self, step: &Step, others: impl Iterator<Item = &'s Step>) {
        let length = |part: Option<(i64, i64)>| part.map_or(0.0, |(start, end)| between(start, end) as f64);
        let (mut waited, mut computed, mut count) = (0.0, 0.0, 0.0);
        for other in others {
            waited += length(other.fetch);
            computed += length(other.compute);
            count += 1.0;
        }
        self.waiting += (length(step.fetch) - waited / f64::max(count, 1.0)).max(0.0);
        self.computing += (length(step.compute) - computed / f64::max(count, 1.0)).max(0.0);
    }

    /// Share of waiting, percent; 0 when it was late by neither.
    fn waiting_percentage(&self) -> f64 {
        100.0 * self.waiting / (self.waiting + self.computing).max(f64::MIN_POSITIVE)
    }
}
