//! Causes of lost AU, the ranks that others waited for, and the overlap of computation and I/O.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::sources::Sources;
use crate::metric::EpochMetric;
use crate::pass::keep_longest;
use crate::pass::objects::Locator;
use crate::pass::rank_stats::{OverlapTime, RankStats};
use crate::wait_breakdown::WaitBreakdown;

/// Largest number of slow steps in a report.
const SLOW_STEPS: usize = 20;

/// Lost AU of one epoch of one rank by cause, over the time that AU is computed from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EpochLoss {
    /// Epoch.
    pub epoch: u32,
    /// Rank.
    pub rank: u32,
    /// Number of counted steps.
    pub steps: u64,
    /// Time of the blocks without the steps that are not counted, nanoseconds: the `T` of the AU formula.
    pub total: u64,
    /// Computation of the counted steps, nanoseconds.
    pub compute: u64,
    /// AU as in the metric, percent.
    pub au_percentage: f64,
    /// Remaining time by cause; barriers are those of all steps, as in the AU formula.
    pub parts: WaitBreakdown,
    /// AU without each cause that took time.
    pub without: Vec<WhatIf>,
}

/// AU if one cause had taken no time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct WhatIf {
    /// Name of the cause.
    pub part: String,
    /// Resulting AU, percent.
    pub au_percentage: f64,
}

/// Cost of one cause in AU, over all epochs and ranks.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct WaterfallEntry {
    /// Name of the cause.
    pub part: String,
    /// Time in seconds, summed over ranks.
    pub seconds: f64,
    /// Percentage points of lost AU.
    pub percentage: f64,
    /// AU without this cause, percent.
    pub au_without: f64,
}

/// A step with a long wait.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SlowStep {
    /// Epoch.
    pub epoch: u32,
    /// Step.
    pub step: u32,
    /// Rank that waited.
    pub rank: u32,
    /// Duration of the wait, nanoseconds.
    pub wait: u64,
    /// Components of the wait.
    pub parts: WaitBreakdown,
    /// Object that took most of the wait.
    pub object: String,
    /// Endpoint of that object.
    pub endpoint: String,
    /// Row from which the name of the object can be read.
    #[serde(skip)]
    pub(crate) named_at: Option<Locator>,
}

/// A rank that other ranks waited for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CriticalRank {
    /// Rank.
    pub rank: u32,
    /// Host of the rank.
    pub host: String,
    /// Number of steps in which it arrived last at the barrier.
    pub steps: u64,
    /// Time that the other ranks together waited for it, seconds.
    pub seconds: f64,
    /// Share of its lateness that was waiting for data (the rest is computation), percent.
    pub waiting_percentage: f64,
}

/// Overlap of a rank's activities from its first to its last training step, seconds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Overlap {
    /// Rank.
    pub rank: u32,
    /// Computation and storage operations at the same time.
    pub both: f64,
    /// Computation alone.
    pub compute: f64,
    /// Storage operations alone.
    pub io: f64,
    /// Neither computation nor storage operations.
    pub neither: f64,
    /// Mean number of operations in flight over that time.
    pub concurrency: f64,
    /// Largest number of operations in flight.
    pub concurrency_max: u64,
    /// Arrivals per second times mean duration (Little's law), which differs from `concurrency` if the run is not
    /// steady.
    pub little: f64,
}

/// Order in which bytes were read.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Access {
    /// Bytes read by distinct bytes read; `None` without reads.
    pub reread_factor: Option<f64>,
    /// Share of reads that began where the lane's previous read of the same object had ended, percent of the reads of a
    /// lane's last eight objects.
    pub sequential_percentage: Option<f64>,
}

/// Returns the causes of lost AU, per epoch and rank.
pub(super) fn losses(sources: &Sources<'_>) -> Vec<EpochLoss> {
    // AU is a mean over the epochs of all ranks that trained; without training there is no AU to lose.
    let trained = sources.metrics.iter().flat_map(|rank| &rank.epochs).any(|epoch| epoch.train.steps > 0);
    let mut losses = Vec::new();
    for (rank, metric) in sources.summary.parts.iter().zip(sources.metrics).filter(|_| trained) {
        let epochs = metric.epochs.iter().zip(&rank.counted);
        losses.extend(epochs.map(|(epoch, counted)| lost(rank, epoch, *counted)));
    }
    losses.sort_by_key(|loss| (loss.epoch, loss.rank));
    losses
}

/// Returns the overlap of computation and I/O, per rank.
pub(super) fn overlaps(parts: &[RankStats]) -> Vec<Overlap> {
    parts.iter().filter_map(|rank| rank.overlap.map(|time| overlap(rank.rank, &time))).collect()
}

fn lost(rank: &RankStats, metric: &EpochMetric, (compute, total): (u64, u64)) -> EpochLoss {
    let found = rank.losses.get(&metric.epoch).cloned().unwrap_or_default();
    let mut parts = found.parts;
    let named: u64 = compute + parts.named().iter().map(|(_, amount)| amount).sum::<u64>();
    parts.rest += total.saturating_sub(named);
    let mut loss = EpochLoss {
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
    loss.without =
        taking.map(|(part, amount)| WhatIf { part: part.to_owned(), au_percentage: loss.au_without(amount) }).collect();
    loss
}

impl EpochLoss {
    /// Returns the share of a cause in the AU that is missing to 100 %, percent. With several blocks, AU is not simply
    /// computation by time.
    fn percentage(&self, amount: u64) -> f64 {
        let sum: u64 = self.parts.named().iter().map(|(_, amount)| amount).sum();
        (100.0 - self.au_percentage).max(0.0) * amount as f64 / sum.max(1) as f64
    }

    /// Returns AU without a cause, percent.
    fn au_without(&self, amount: u64) -> f64 {
        let rest = self.total.saturating_sub(amount).max(1);
        (self.au_percentage * self.total as f64 / rest as f64).min(100.0)
    }
}

/// Waterfall from 100 % down to AU, over a set of epochs and ranks.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct Waterfall {
    /// AU as in the metric: the mean over epochs of the mean over ranks, percent.
    pub(crate) au_percentage: f64,
    /// Time that AU is computed from, summed over ranks, seconds.
    pub(crate) total: f64,
    /// Computation in that time, seconds.
    pub(crate) compute: f64,
    /// Losses by cause; their percentages and AU add up to 100.
    pub(crate) falls: Vec<WaterfallEntry>,
}

impl Waterfall {
    pub(crate) fn of(losses: &[EpochLoss]) -> Self {
        let mut ranks: BTreeMap<u32, f64> = BTreeMap::new();
        for loss in losses {
            *ranks.entry(loss.epoch).or_default() += 1.0;
        }
        let weight = |loss: &EpochLoss| 1.0 / (ranks.len() as f64 * ranks[&loss.epoch]);
        let mut bar = Self::default();
        let mut falls = WaitBreakdown::default()
            .named()
            .map(|(part, _)| WaterfallEntry { part: part.to_owned(), ..WaterfallEntry::default() });
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

/// Returns the longest waits of all ranks; the names of their objects are looked up afterwards.
pub(super) fn slow_steps(parts: &[RankStats]) -> Vec<SlowStep> {
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

/// Lateness of a rank relative to the mean of the others, over the steps in which it arrived last, nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
struct Lateness {
    steps: u64,
    waited_for: u64,
    fetching: f64,
    computing: f64,
}

/// Returns the ranks that arrived last at barriers, and the waiting that they caused.
pub(super) fn critical(sources: &Sources<'_>) -> Vec<CriticalRank> {
    let parts = &sources.summary.parts;
    let mut lateness = vec![Lateness::default(); parts.len()];
    for (_, barrier) in sources.summary.barriers.list.iter().filter(|(_, barrier)| barrier.arrived > 1) {
        let waited = barrier.waited();
        let who = parts.binary_search_by_key(&barrier.last.2, |part| part.index);
        let Some(row) = who.ok().and_then(|who| lateness.get_mut(who)).filter(|_| waited > 0) else { continue };
        row.steps += 1;
        row.waited_for += waited;
        let others = (barrier.arrived - 1) as f64;
        let longer = |mine: u64, all: u64| (mine as f64 - all.saturating_sub(mine) as f64 / others).max(0.0);
        row.fetching += longer(barrier.last_fetched, barrier.arrived_fetched);
        row.computing += longer(barrier.last_computed, barrier.arrived_computed);
    }
    // Extrapolates from the sampled steps to all steps.
    let factor = sources.summary.barriers.sampling.factor();
    let named = parts.iter().zip(lateness).filter(|(_, lateness)| lateness.steps > 0);
    let mut ranks: Vec<CriticalRank> = named
        .map(|(part, lateness)| CriticalRank {
            rank: part.rank,
            host: part.host.clone(),
            steps: lateness.steps * factor,
            seconds: lateness.waited_for as f64 * factor as f64 / 1e9,
            waiting_percentage: 100.0 * lateness.fetching
                / (lateness.fetching + lateness.computing).max(f64::MIN_POSITIVE),
        })
        .collect();
    ranks.sort_by(|one, other| other.seconds.total_cmp(&one.seconds).then(one.rank.cmp(&other.rank)));
    ranks
}

fn overlap(rank: u32, time: &OverlapTime) -> Overlap {
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    let all = (time.both + time.compute + time.io + time.neither).max(1) as f64;
    Overlap {
        rank,
        both: seconds(time.both),
        compute: seconds(time.compute),
        io: seconds(time.io),
        neither: seconds(time.neither),
        concurrency: time.in_flight as f64 / all,
        concurrency_max: time.most,
        little: time.begun as f64 / all,
    }
}

pub(super) fn access(sources: &Sources<'_>) -> Access {
    let parts = &sources.summary.parts;
    let sum = |pick: fn(&RankStats) -> u64| parts.iter().map(pick).sum::<u64>();
    let (read, later) = (sum(|part| part.read_bytes), sum(|part| part.later_reads));
    let share = |part: u64, whole: u64| part as f64 / whole as f64;
    Access {
        reread_factor: (sources.different_bytes > 0).then(|| share(read, sources.different_bytes)),
        sequential_percentage: (later > 0).then(|| 100.0 * share(sum(|part| part.continued_reads), later)),
    }
}
