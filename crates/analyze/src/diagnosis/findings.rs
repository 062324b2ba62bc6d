//! Findings of the diagnosis, one sentence each. A finding needs enough operations, a cost worth reporting, and a
//! statistically significant difference, so that a clean run has none, however short it is.

use std::collections::BTreeMap;

use dlio_event::Histogram;
use dlio_event::percentile::P50;
use serde::{Deserialize, Serialize};

use super::losses::{CriticalRank, EpochLoss};
use super::sources::Sources;
use super::windows::{clock, periods, slow};
use crate::pass::rank_stats::{SlowestFirstRequest, Timelines};
use crate::pass::step_attribution::ConnectionOpenings;

/// Ratio of the waiting per read on an endpoint to that elsewhere, from which the endpoint is reported.
const ENDPOINT_FACTOR: f64 = 1.5;
/// Share of all waiting below which a cause is not reported.
const WORTH: f64 = 0.05;
/// Fewest reads of a group, and fewest barriers of a run, to judge them.
const ENOUGH: u64 = 30;
const ENOUGH_BARRIERS: u64 = 10;
/// Fewest wins of a slow endpoint's reads over those elsewhere (0.5 is chance), and their significance in standard
/// deviations.
const LONGER: f64 = 0.65;
const SURE: f64 = 4.0;
/// Ratio of a waiting rank's reading and decoding time to the mean of the others, from which the rank is slow.
const SLOWER: f64 = 1.1;
/// Ratio of a connection's opening to the usual time to the first byte, from which the opening is long.
const LONG_OPENING: f64 = 10.0;
/// Ratio of an opening to the median of all openings, from which it differs from the others.
const LONG_BESIDE: f64 = 5.0;

/// A finding of the diagnosis.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Finding {
    /// Short name, stable across versions: `slow_endpoint`, `slow_rank`, `throttled`, `slow_period`, `cold_connections`.
    pub code: String,
    /// Subject of the finding: an endpoint, a rank or a period.
    pub subject: String,
    /// Description of the finding.
    pub text: String,
    /// Seconds of waiting that the cause accounts for, summed over ranks.
    pub seconds: f64,
}

/// Returns the findings, most costly first.
pub(super) fn findings(sources: &Sources<'_>, losses: &[EpochLoss], critical: &[CriticalRank]) -> Vec<Finding> {
    let parts = &sources.summary.parts;
    let explained: u64 = parts.iter().map(|part| part.explained).sum();
    let mut waits: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, nanos) in parts.iter().flat_map(|part| &part.waited_for) {
        *waits.entry(name).or_default() += nanos;
    }
    let mut found = Vec::new();
    endpoints(sources, (explained, &waits), &mut found);
    rank(sources, losses, critical, &mut found);
    let refused = throttled(sources, explained, &mut found);
    if !refused {
        period(sources, &mut found);
    }
    cold(sources, losses, explained, &mut found);
    found.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
    found
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn finding(code: &str, subject: &str, seconds: f64, text: String) -> Finding {
    Finding { code: code.to_owned(), subject: subject.to_owned(), text, seconds }
}

fn endpoints(sources: &Sources<'_>, (explained, waits): (u64, &BTreeMap<&str, u64>), found: &mut Vec<Finding>) {
    let reads: u64 = sources.endpoints.values().map(|flow| flow.reads.count()).sum();
    for (name, flow) in sources.endpoints {
        let mut others = Histogram::default();
        for (_, flow) in sources.endpoints.iter().filter(|(other, _)| *other != name) {
            others.merge(&flow.reads);
        }
        let (mine, elsewhere) = (flow.reads.count(), reads - flow.reads.count());
        if mine < ENOUGH || elsewhere < ENOUGH {
            continue;
        }
        let waited = waits.get(name.as_str()).copied().unwrap_or(0);
        let other_waits = explained.saturating_sub(waited);
        let (longer, deviations) = flow.reads.larger_than(&others);
        let costly = waited as f64 / mine as f64 >= ENDPOINT_FACTOR * other_waits as f64 / elsewhere as f64;
        let waiting = share(waited, explained);
        if costly && waiting >= WORTH && longer >= LONGER && deviations >= SURE {
            let text = format!(
                "{name} caused {:.0} % of the waiting with {:.0} % of the reads: they take {:.1} times as long there",
                100.0 * waiting,
                100.0 * share(mine, reads),
                flow.reads.mean() / others.mean().max(1.0)
            );
            found.push(finding("slow_endpoint", name, seconds(waited), text));
        }
    }
}

fn rank(sources: &Sources<'_>, losses: &[EpochLoss], critical: &[CriticalRank], found: &mut Vec<Finding>) {
    let Some(first) = critical.first() else { return };
    let all: f64 = critical.iter().map(|row| row.seconds).sum();
    let barriers: u64 = critical.iter().map(|row| row.steps).sum();
    let total: f64 = losses.iter().map(|loss| seconds(loss.total)).sum();
    let fair = 1.0 / sources.summary.parts.len().max(1) as f64;
    let part = first.seconds / all.max(f64::MIN_POSITIVE);
    let sure = |steps: u64, barriers: u64| {
        let expected = barriers as f64 * fair;
        barriers >= ENOUGH_BARRIERS && steps as f64 - expected >= SURE * (expected * (1.0 - fair)).sqrt()
    };
    let (costly, all_costly) = costly_barriers(sources, first.rank);
    let sure = sure(first.steps, barriers) || sure(costly, all_costly);
    // Of two ranks, one always arrives last: it must do so most of the time.
    let mostly = part >= (2.0 * fair).min(0.5 + 0.5 * fair);
    if !sure || !mostly || first.seconds < 0.01 * total {
        return;
    }
    let number = first.rank;
    let mine = sources.summary.parts.iter().find(|rank| rank.rank == number);
    let from =
        |name: &str| mine.map_or(0.0, |rank| share(rank.waited_for.get(name).copied().unwrap_or(0), rank.explained));
    if let Some(endpoint) = found.iter_mut().find(|known| known.code == "slow_endpoint" && from(&known.subject) > 0.6) {
        endpoint.text = format!("{}; rank {number}, which the others waited for, reads from there", endpoint.text);
        endpoint.seconds += first.seconds;
        return;
    }
    let for_data = first.waiting_percentage >= 50.0;
    // If storage is the bottleneck, the rank that began last arrives last at every barrier without being slower.
    if for_data && reading(losses, sources, number) < SLOWER * mean_reading(losses, sources, number) {
        return;
    }
    let cause = if for_data { "waiting for its data" } else { "computing" };
    let text = format!(
        "rank {number} on {} was the last at {} barriers, mostly {cause}: {:.0} % of the waiting at barriers",
        first.host,
        first.steps,
        100.0 * part
    );
    found.push(finding("slow_rank", &number.to_string(), first.seconds, text));
}

/// Returns at how many of the costly barriers a rank arrived last, and the number of costly barriers. A costly barrier
/// is one at which ranks waited at least as long as on average: a rank with prefetched batches is slow at every second
/// or third barrier only, and chance decides the others.
fn costly_barriers(sources: &Sources<'_>, rank: u32) -> (u64, u64) {
    let barriers =
        || sources.summary.barriers.list.iter().map(|(_, barrier)| barrier).filter(|barrier| barrier.arrived > 1);
    let (count, all) = barriers().fold((0, 0), |(count, all), barrier| (count + 1, all + barrier.waited()));
    let index = sources.summary.parts.iter().find(|part| part.rank == rank).map(|part| part.index);
    let costly = || barriers().filter(|barrier| barrier.waited() > 0 && count * barrier.waited() >= all);
    (costly().filter(|barrier| Some(barrier.last.2) == index).count() as u64, costly().count() as u64)
}

/// Returns the seconds that a rank's reads and its decoding within waits took.
fn reading(losses: &[EpochLoss], sources: &Sources<'_>, rank: u32) -> f64 {
    let reads = sources.summary.parts.iter().filter(|part| part.rank == rank).map(|part| &part.flow.reads);
    let decoding = losses.iter().filter(|loss| loss.rank == rank).map(|loss| seconds(loss.parts.decode));
    reads.map(|reads| reads.mean() * reads.count() as f64 / 1e9).chain(decoding).sum()
}

/// Returns the mean of [`reading`] over all other ranks, seconds.
fn mean_reading(losses: &[EpochLoss], sources: &Sources<'_>, but: u32) -> f64 {
    let others = || sources.summary.parts.iter().filter(|part| part.rank != but);
    others().map(|part| reading(losses, sources, part.rank)).sum::<f64>() / others().count().max(1) as f64
}

/// Reports throttled requests, with endpoints and times. Returns whether there were any.
fn throttled(sources: &Sources<'_>, explained: u64, found: &mut Vec<Finding>) -> bool {
    let mut by_endpoint: BTreeMap<&str, u64> = BTreeMap::new();
    let mut by_second: BTreeMap<u64, u64> = BTreeMap::new();
    for (name, refused) in sources.summary.parts.iter().flat_map(|part| &part.refused) {
        for (second, count) in refused {
            *by_endpoint.entry(name).or_default() += count;
            *by_second.entry(*second).or_default() += count;
        }
    }
    let all: u64 = by_second.values().sum();
    if all == 0 {
        return false;
    }
    // Endpoints with less than a tenth of the throttled requests are not named.
    let mut named: Vec<(&str, u64)> = by_endpoint.into_iter().filter(|(_, count)| count * 10 >= all).collect();
    named.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let (subject, who) = match named[..] {
        [(one, _)] if one != "local" => (one, one.to_owned()),
        _ if named.len() > 1 => {
            let listed: Vec<&str> = named.iter().take(4).map(|(name, _)| *name).collect();
            let more = if named.len() > 4 { ", …" } else { "" };
            ("storage", format!("the storage ({}{more})", listed.join(", ")))
        }
        _ => ("storage", "the storage".to_owned()),
    };
    let mut times = periods(&by_second);
    let more = times.len().saturating_sub(3);
    times.sort_by_key(|(_, _, count)| std::cmp::Reverse(*count));
    times.truncate(3);
    times.sort_unstable();
    let when = |(from, to, count): &(u64, u64, u64)| {
        let some = if *count == all { String::new() } else { format!("{count} ") };
        format!("{some}from {} to {}", clock(*from as f64), clock(*to as f64 + 1.0))
    };
    let when: Vec<String> = times.iter().map(when).collect();
    let retried: u64 = sources.summary.parts.iter().map(|part| part.retried).sum();
    let text = format!(
        "{who} refused {all} requests (429, 503) {} of the run{}; retries took {:.0} % of the waiting",
        when.join(", "),
        if more > 0 { format!(" and {more} shorter times") } else { String::new() },
        100.0 * share(retried, explained.max(retried))
    );
    found.push(finding("throttled", subject, seconds(retried), text));
    true
}

fn period(sources: &Sources<'_>, found: &mut Vec<Finding>) {
    let mut timelines = Timelines::default();
    for part in &sources.summary.parts {
        timelines.merge(&part.timelines);
    }
    let waited: f64 = timelines.waiting.amounts.iter().sum::<f64>() / 1e9;
    let Some(slow) = slow(&timelines, sources.extent).filter(|slow| slow.waited >= WORTH * waited) else { return };
    let (from, to) = (clock(slow.from), clock(slow.to));
    // Imported traces have no training loop that waited, so that a share of the waiting cannot be given.
    let part =
        if waited > 0.0 { format!(": {:.0} % of the waiting", 100.0 * slow.waited / waited) } else { String::new() };
    let text = format!(
        "from {from} to {to} of the run storage operations took {:.1} times as long as usual{part}",
        slow.factor
    );
    found.push(finding("slow_period", &format!("{from}–{to}"), slow.waited, text));
}

fn cold(sources: &Sources<'_>, losses: &[EpochLoss], explained: u64, found: &mut Vec<Finding>) {
    let parts = &sources.summary.parts;
    let (mut opened, mut openings) = (ConnectionOpenings::default(), Histogram::default());
    for part in parts {
        opened.merge(&part.opened);
        openings.merge(&part.ages[0]);
    }
    let Some(first_request) = parts.iter().filter_map(|part| part.slowest_first).max() else { return };
    let (usual, slowest) = usual_first_byte(sources);
    let beyond = opened.first_byte.saturating_sub(opened.count * usual);
    let (cost, others) = (opened.queueing + beyond, kept_waiting(sources, first_request));
    let costly = |limit: f64, others: u64| share(cost + others, explained + others) >= limit;
    // All connections open at the start of a run. A single one is a cause only if it took longer than the others.
    let alone = first_request.nanos as f64 >= LONG_BESIDE * openings.percentile(P50).unwrap_or(0) as f64;
    let long = first_request.nanos as f64 >= LONG_OPENING * slowest as f64;
    let total: f64 = losses.iter().map(|loss| seconds(loss.total)).sum();
    let worth = seconds(cost + others) >= 0.01 * total && (costly(WORTH, 0) || alone && costly(2.0 * WORTH, others));
    if sources.reads.count() < ENOUGH || !worth || !long {
        return;
    }
    let SlowestFirstRequest { nanos, rank, epoch, step } = first_request;
    let waiting = if others > cost {
        format!("kept the other ranks waiting for {:.3} s", seconds(others))
    } else {
        format!("caused {:.0} % of the waiting", 100.0 * share(cost, explained))
    };
    let text = format!(
        "first requests of connections {waiting}; the slowest one took {:.3} s to open on rank {rank}, epoch {epoch}, step {step}",
        seconds(nanos)
    );
    found.push(finding("cold_connections", &rank.to_string(), seconds(cost + others), text));
}

/// Returns how long the other ranks waited at a barrier because of an opening, nanoseconds.
fn kept_waiting(sources: &Sources<'_>, slowest: SlowestFirstRequest) -> u64 {
    let parts = &sources.summary.parts;
    let Some(part) = parts.iter().find(|part| part.rank == slowest.rank) else { return 0 };
    let barrier = sources.summary.barriers.list.iter().find(|(at, _)| *at == (slowest.epoch, slowest.step));
    let waited = barrier.filter(|(_, barrier)| barrier.last.2 == part.index).map_or(0, |(_, barrier)| barrier.waited());
    waited.min((parts.len() as u64 - 1).saturating_mul(slowest.nanos))
}

/// Returns the median time to the first byte of all reads, and that of the slowest endpoint, nanoseconds.
fn usual_first_byte(sources: &Sources<'_>) -> (u64, u64) {
    let mut all = Histogram::default();
    for part in &sources.summary.parts {
        all.merge(&part.flow.times.first_byte);
    }
    let usual = all.percentile(P50).unwrap_or(0);
    let enough = sources.endpoints.values().filter(|flow| flow.times.first_byte.count() >= ENOUGH);
    (usual, enough.map(|flow| flow.times.first_byte.percentile(P50).unwrap_or(0)).fold(usual, u64::max))
}
