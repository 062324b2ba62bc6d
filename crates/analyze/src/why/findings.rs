//! What stands out, in a sentence each. A finding needs enough operations, a cost that is worth a sentence, and a difference
//! that chance does not make: a clean run has none, however short it is.

use std::collections::BTreeMap;

use super::windows::{clock, slow, stretches};
use super::{Finding, Sources, Why};
use crate::histogram::Histogram;
use crate::pass::part::{Coldest, Lines, RankPart};
use crate::pass::walk::Opened;

/// An endpoint stands out when a request there causes this many times as much waiting as one elsewhere.
const ENDPOINT_FACTOR: f64 = 1.5;
/// And what takes less than this share of the waits is not worth a sentence.
const WORTH: f64 = 0.05;
/// Reads of a group, and barriers of a run, from which it is judged.
const ENOUGH: u64 = 30;
const ENOUGH_BARRIERS: u64 = 10;
/// How often a read of a slow endpoint must be longer than one elsewhere (0.5 is chance), and how sure that must be, in
/// standard deviations.
const LONGER: f64 = 0.65;
const SURE: f64 = 4.0;
/// An opening is long when it takes this many times as long as the usual time to the first byte.
const LONG_OPENING: f64 = 10.0;

pub(super) fn fill(why: &mut Why, sources: &Sources<'_>) {
    let parts = &sources.summary.parts;
    let explained: u64 = parts.iter().map(|part| part.explained).sum();
    let mut waits: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, nanos) in parts.iter().flat_map(|part| &part.waited_for) {
        *waits.entry(name).or_default() += nanos;
    }
    let mut found = Vec::new();
    endpoints(sources, (explained, &waits), &mut found);
    rank(why, sources, &mut found);
    let refused = throttled(sources, explained, &mut found);
    if !refused {
        period(sources, &mut found);
    }
    cold(sources, explained, &mut found);
    found.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
    why.findings = found;
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
    let reads: u64 = sources.endpoints.values().map(|flow| flow.reads.count).sum();
    for (name, flow) in sources.endpoints {
        let mut others = Histogram::default();
        for (_, flow) in sources.endpoints.iter().filter(|(other, _)| *other != name) {
            others.merge(&flow.reads);
        }
        let (mine, elsewhere) = (flow.reads.count, reads - flow.reads.count);
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

fn rank(why: &Why, sources: &Sources<'_>, found: &mut Vec<Finding>) {
    let Some(first) = why.critical_ranks.first() else { return };
    let all: f64 = why.critical_ranks.iter().map(|row| row.seconds).sum();
    let barriers: u64 = why.critical_ranks.iter().map(|row| row.steps).sum();
    let total: f64 = why.losses.iter().map(|loss| seconds(loss.total)).sum();
    let fair = 1.0 / sources.summary.parts.len().max(1) as f64;
    let part = first.seconds / all.max(f64::MIN_POSITIVE);
    let expected = barriers as f64 * fair;
    let sure = first.steps as f64 - expected >= SURE * (expected * (1.0 - fair)).sqrt();
    // Of two ranks one is always the last: it must be so most of the time.
    let mostly = part >= (2.0 * fair).min(0.5 + 0.5 * fair);
    if barriers < ENOUGH_BARRIERS || !sure || !mostly || first.seconds < 0.01 * total {
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
    let cause = if first.waiting_percentage >= 50.0 { "waiting for its data" } else { "computing" };
    let text = format!(
        "rank {number} on {} was the last at {} barriers, mostly {cause}: {:.0} % of what ranks waited for each other",
        first.host,
        first.steps,
        100.0 * part
    );
    found.push(finding("slow_rank", &number.to_string(), first.seconds, text));
}

/// Refusals: by which endpoints, and when. Whether there were any.
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
    // An endpoint with hardly a refusal is no subject of them.
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
    let mut times = stretches(&by_second);
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
    let mut lines = Lines::default();
    for part in &sources.summary.parts {
        lines.merge(&part.lines);
    }
    let waited: f64 = lines.waiting.amounts.iter().sum::<f64>() / 1e9;
    let Some(slow) = slow(&lines, sources.extent).filter(|slow| slow.waited >= WORTH * waited) else { return };
    let (from, to) = (clock(slow.from), clock(slow.to));
    let text = format!(
        "from {from} to {to} of the run storage operations took {:.1} times as long as usual: {:.0} % of the waiting",
        slow.factor,
        100.0 * slow.waited / waited
    );
    found.push(finding("slow_period", &format!("{from}–{to}"), slow.waited, text));
}

fn cold(sources: &Sources<'_>, explained: u64, found: &mut Vec<Finding>) {
    let parts = &sources.summary.parts;
    let mut opened = Opened::default();
    for part in parts {
        opened.merge(&part.opened);
    }
    let Some(coldest) = parts.iter().filter_map(|part| part.coldest).max() else { return };
    let usual = usual_first_byte(parts);
    let beyond = opened.first_byte.saturating_sub(opened.count * usual);
    let cost = opened.queueing + beyond;
    // While one connection opens, the other ranks wait at the barrier.
    let others = if parts.len() > 1 { (parts.len() - 1) as u64 * coldest.nanos } else { 0 };
    let costly = share(cost, explained) >= WORTH || share(cost + others, explained + others) >= 2.0 * WORTH;
    let long = coldest.nanos as f64 >= LONG_OPENING * usual as f64;
    if sources.reads.count < ENOUGH || !costly || !long {
        return;
    }
    let Coldest { nanos, rank, epoch, step } = coldest;
    let text = format!(
        "first requests of connections caused {:.0} % of the waiting; the longest opened in {:.3} s on rank {rank}, epoch \
         {epoch}, step {step}",
        100.0 * share(cost, explained),
        seconds(nanos)
    );
    found.push(finding("cold_connections", &rank.to_string(), seconds(cost + others), text));
}

/// Median time to the first byte of all reads.
fn usual_first_byte(parts: &[RankPart]) -> u64 {
    let mut all = Histogram::default();
    for part in parts {
        all.merge(&part.flow.times.first_byte);
    }
    all.about(5_000)
}
