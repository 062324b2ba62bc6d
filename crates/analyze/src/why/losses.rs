//! What AU was lost to, added up; the ranks that others waited for; what happened at the same time.

use crate::pass::keep_longest;
use crate::pass::part::{EpochLoss, RankPart, Together};

use super::{Access, CriticalRank, Fall, Loss, Overlap, Parts, SlowStep, Sources, Why, Without};

/// Slow steps that are listed.
const SLOW_STEPS: usize = 20;

pub(super) fn fill(why: &mut Why, sources: &Sources<'_>) {
    let parts = &sources.summary.parts;
    for rank in parts {
        why.losses.extend(rank.losses.iter().map(|(epoch, loss)| finished(*epoch, rank.rank, loss)));
        let seconds = |values: &[u64]| values.iter().map(|nanos| *nanos as f64 / 1e9).collect::<Vec<_>>();
        why.samples.wait.extend(seconds(&rank.waits.values));
        why.samples.step.extend(seconds(&rank.steps.values));
        why.samples.read.extend(seconds(&rank.reads.values));
        why.overlap.extend(rank.together.map(|together| overlap(rank.rank, &together)));
    }
    why.losses.sort_by_key(|loss| (loss.epoch, loss.rank));
    why.samples.au = why.losses.iter().map(|loss| loss.au_percentage).collect();
    why.waterfall = waterfall(&why.losses);
    why.slow_steps = slow_steps(parts);
    why.critical_ranks = critical(sources);
    why.access = access(sources);
}

fn finished(epoch: u32, rank: u32, found: &EpochLoss) -> Loss {
    let au = |total: u64| if total == 0 { 0.0 } else { (100.0 * found.compute as f64 / total as f64).min(100.0) };
    let taking = found.parts.named().into_iter().filter(|(_, amount)| *amount > 0);
    let without = taking
        .map(|(part, amount)| Without { part: part.to_owned(), au_percentage: au(found.total.saturating_sub(amount)) });
    Loss {
        epoch,
        rank,
        steps: found.steps,
        total: found.total,
        compute: found.compute,
        au_percentage: au(found.total),
        parts: found.parts,
        without: without.collect(),
    }
}

fn waterfall(losses: &[Loss]) -> Vec<Fall> {
    let total: u64 = losses.iter().map(|loss| loss.total).sum();
    let compute: u64 = losses.iter().map(|loss| loss.compute).sum();
    let mut sum = Parts::default();
    for loss in losses {
        sum.add(&loss.parts);
    }
    let fall = |(part, nanos): (&str, u64)| Fall {
        part: part.to_owned(),
        seconds: nanos as f64 / 1e9,
        percentage: 100.0 * nanos as f64 / total as f64,
        au_without: (100.0 * compute as f64 / total.saturating_sub(nanos).max(1) as f64).min(100.0),
    };
    sum.named().into_iter().filter(|(_, nanos)| *nanos > 0 && total > 0).map(fall).collect()
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
    for (_, meeting) in sources.summary.meetings.iter().filter(|(_, meeting)| meeting.arrived > 1) {
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
    let named = parts.iter().zip(late).filter(|(_, late)| late.steps > 0);
    let mut ranks: Vec<CriticalRank> = named
        .map(|(part, late)| CriticalRank {
            rank: part.rank,
            host: part.host.clone(),
            steps: late.steps,
            seconds: late.waited_for as f64 / 1e9,
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
