//! What AU was lost to, added up; the ranks that others waited for; what happened at the same time.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::metric::EpochMetric;
use crate::pass::keep_longest;
use crate::pass::part::{RankPart, Together};

use super::{Access, CriticalRank, Fall, Loss, Overlap, Parts, SlowStep, Sources, Why, Without};

/// Slow steps that are listed.
const SLOW_STEPS: usize = 20;

pub(super) fn fill(why: &mut Why, sources: &Sources<'_>) {
    let parts = &sources.summary.parts;
    // AU is a mean over the epochs of all ranks that trained; without training there is none to lose.
    let trained = sources.metrics.iter().flat_map(|rank| &rank.epochs).any(|epoch| epoch.train.steps > 0);
    for (rank, metric) in parts.iter().zip(sources.metrics).filter(|_| trained) {
        let epochs = metric.epochs.iter().zip(&rank.counted);
        why.losses.extend(epochs.map(|(epoch, counted)| lost(rank, epoch, *counted)));
    }
    for rank in parts {
        let seconds = |values: &[u64]| values.iter().map(|nanos| *nanos as f64 / 1e9).collect::<Vec<_>>();
        why.samples.wait.extend(seconds(&rank.waits.values));
        why.samples.step.extend(seconds(&rank.steps.values));
        why.samples.round.extend(seconds(&rank.rounds.values));
        why.samples.read.extend(seconds(&rank.reads.values));
        why.overlap.extend(rank.together.map(|together| overlap(rank.rank, &together)));
    }
    why.losses.sort_by_key(|loss| (loss.epoch, loss.rank));
    why.samples.au = why.losses.iter().map(|loss| loss.au_percentage).collect();
    why.waterfall = Bar::of(&why.losses).falls;
    why.slow_steps = slow_steps(parts);
    why.critical_ranks = critical(sources);
    why.access = access(sources);
}

fn lost(rank: &RankPart, metric: &EpochMetric, (compute, total): (u64, u64)) -> Loss {
    let found = rank.losses.get(&metric.epoch).cloned().unwrap_or_default();
    let mut parts = found.parts;
    let named: u64 = compute + parts.named().iter().map(|(_, amount)| amount).sum::<u64>();
    parts.rest += total.saturating_sub(named);
    let mut loss = Loss {
        epoch: metric.epoch,
        rank: rank.rank,
        steps: found.steps,
        total,
        compute,
        au_percentage: metric.train.au_percentage,
        parts,
        without: Vec::new(),
    };
    let taking = parts.named().into_iter().filter(|(_, amount)| *amount > 0);
    loss.without = taking
        .map(|(part, amount)| Without { part: part.to_owned(), au_percentage: loss.au_without(amount) })
        .collect();
    loss
}

impl Loss {
    /// Share of a part in what is missing of 100 %, percent: with several blocks, AU is not just computation by time.
    fn percentage(&self, amount: u64) -> f64 {
        let sum: u64 = self.parts.named().iter().map(|(_, amount)| amount).sum();
        (100.0 - self.au_percentage).max(0.0) * amount as f64 / sum.max(1) as f64
    }

    /// What AU would be without a part, percent.
    fn au_without(&self, amount: u64) -> f64 {
        let rest = self.total.saturating_sub(amount).max(1);
        (self.au_percentage * self.total as f64 / rest as f64).min(100.0)
    }
}

/// From 100 % down to AU, over some epochs and ranks.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct Bar {
    /// AU as the metric has it: the mean over the epochs of the mean over their ranks, percent.
    pub(crate) au_percentage: f64,
    /// Time that AU is computed of, summed over the ranks, seconds.
    pub(crate) total: f64,
    /// Of it computation, seconds.
    pub(crate) compute: f64,
    /// What is missing: the percentages and AU add up to 100.
    pub(crate) falls: Vec<Fall>,
}

impl Bar {
    pub(crate) fn of(losses: &[Loss]) -> Self {
        let mut ranks: BTreeMap<u32, f64> = BTreeMap::new();
        for loss in losses {
            *ranks.entry(loss.epoch).or_default() += 1.0;
        }
        let weight = |loss: &Loss| 1.0 / (ranks.len() as f64 * ranks[&loss.epoch]);
        let mut bar = Self::default();
        let mut falls = Parts::default().named().map(|(part, _)| Fall { part: part.to_owned(), ..Fall::default() });
        for loss in losses {
            bar.total += loss.total as f64 / 1e9;
            bar.compute += loss.compute as f64 / 1e9;
            bar.au_percentage += weight(loss) * loss.au_percentage;
            for (fall, (_, nanos)) in falls.iter_mut().zip(loss.parts.named()) {
                fall.seconds += nanos as f64 / 1e9;
                fall.percentage += weight(loss) * loss.percentage(nanos);
                fall.au_without += weight(loss) * loss.au_without(nanos);
            }
        }
        bar.falls = falls.into_iter().filter(|fall| fall.seconds > 0.0).collect();
        bar
    }
}

/// The longest waits of all ranks; the names of their objects are looked up afterwards.
fn slow_steps(parts: &[RankPart]) -> Vec<SlowStep> {
    let mut all: Vec<_> = parts.iter().flat_map(|rank| rank.long_waits.iter().cloned()).collect();
    keep_longest(&mut all, SLOW_STEPS);
    all.into_iter()
        .map(|step| SlowStep {
            epoch: step.epoch,
            step: step.step,
            rank: step.rank,
            wait: step.wait,
            parts: step.parts,
            object: String::new(),
            endpoint: step.endpoint,
            named_at: step.object,
        })
        .collect()
}

/// By how much a rank waited and computed longer than the others did on average, over the steps in which it was last.
#[derive(Debug, Clone, Copy, Default)]
struct Late {
    steps: u64,
    waited_for: u64,
    fetching: f64,
    computing: f64,
}

/// Who came last to the barriers, and what that cost the others.
fn critical(sources: &Sources<'_>) -> Vec<CriticalRank> {
    let parts = &sources.summary.parts;
    let mut late = vec![Late::default(); parts.len()];
    for (_, meeting) in sources.summary.met.list.iter().filter(|(_, meeting)| meeting.arrived > 1) {
        let waited = meeting.waited();
        let who = parts.binary_search_by_key(&meeting.last.2, |part| part.index);
        let Some(row) = who.ok().and_then(|who| late.get_mut(who)).filter(|_| waited > 0) else { continue };
        row.steps += 1;
        row.waited_for += waited;
        let others = (meeting.arrived - 1) as f64;
        let longer = |mine: u64, all: u64| (mine as f64 - all.saturating_sub(mine) as f64 / others).max(0.0);
        row.fetching += longer(meeting.last_fetched, meeting.arrived_fetched);
        row.computing += longer(meeting.last_computed, meeting.arrived_computed);
    }
    // Of a part of the steps as of all.
    let factor = sources.summary.met.followed.factor();
    let named = parts.iter().zip(late).filter(|(_, late)| late.steps > 0);
    let mut ranks: Vec<CriticalRank> = named
        .map(|(part, late)| CriticalRank {
            rank: part.rank,
            host: part.host.clone(),
            steps: late.steps * factor,
            seconds: late.waited_for as f64 * factor as f64 / 1e9,
            waiting_percentage: 100.0 * late.fetching / (late.fetching + late.computing).max(f64::MIN_POSITIVE),
        })
        .collect();
    ranks.sort_by(|one, other| other.seconds.total_cmp(&one.seconds).then(one.rank.cmp(&other.rank)));
    ranks
}

fn overlap(rank: u32, together: &Together) -> Overlap {
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    let all = (together.both + together.compute + together.io + together.neither).max(1) as f64;
    Overlap {
        rank,
        both: seconds(together.both),
        compute: seconds(together.compute),
        io: seconds(together.io),
        neither: seconds(together.neither),
        concurrency: together.flying as f64 / all,
        concurrency_max: together.most,
        little: together.begun as f64 / all,
    }
}

fn access(sources: &Sources<'_>) -> Access {
    let parts = &sources.summary.parts;
    let sum = |pick: fn(&RankPart) -> u64| parts.iter().map(pick).sum::<u64>();
    let (read, later) = (sum(|part| part.read_bytes), sum(|part| part.later_reads));
    let share = |part: u64, whole: u64| part as f64 / whole as f64;
    Access {
        reread_factor: (sources.different_bytes > 0).then(|| share(read, sources.different_bytes)),
        sequential_percentage: (later > 0).then(|| 100.0 * share(sum(|part| part.continued_reads), later)),
    }
}
