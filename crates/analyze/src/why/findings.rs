//! What stands out, in a sentence each.

use std::collections::BTreeMap;

use dlio_event::Outcome;

use super::detail::{Detail, NONE, Names};
use super::losses::Blame;
use super::path::between;
use super::{Finding, Why};

/// An endpoint stands out when its share of the waits is this many times its share of the operations.
const ENDPOINT_FACTOR: f64 = 1.5;
/// And what takes less than this share of the waits is not worth a sentence.
const WORTH: f64 = 0.05;

pub(super) fn fill(why: &mut Why, details: &[Detail], names: &Names, blame: &Blame) {
    let mut found = Vec::new();
    endpoints(details, names, blame, &mut found);
    ranks(why, details, &mut found);
    throttled(details, blame, &mut found);
    cold(details, blame, &mut found);
    found.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
    why.findings = found;
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

fn endpoints(details: &[Detail], names: &Names, blame: &Blame, found: &mut Vec<Finding>) {
    let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
    let mut all = 0;
    for op in details.iter().flat_map(|detail| &detail.ops).filter(|op| op.step.1 > 0 && op.endpoint != NONE) {
        *counts.entry(op.endpoint).or_default() += 1;
        all += 1;
    }
    for (endpoint, count) in counts {
        let waited = blame.endpoints.get(&endpoint).copied().unwrap_or(0);
        let share = waited as f64 / blame.total.max(1) as f64;
        let fair = count as f64 / f64::from(u32::try_from(all).unwrap_or(u32::MAX)).max(1.0);
        if share >= ENDPOINT_FACTOR * fair && share >= WORTH {
            let name = names.get(endpoint);
            found.push(Finding {
                code: "slow_endpoint".to_owned(),
                subject: name.to_owned(),
                text: format!(
                    "{name} caused {:.0} % of the waiting with {:.0} % of the operations",
                    100.0 * share,
                    100.0 * fair
                ),
                seconds: seconds(waited),
            });
        }
    }
}

fn ranks(why: &Why, details: &[Detail], found: &mut Vec<Finding>) {
    let all: f64 = why.critical_ranks.iter().map(|row| row.seconds).sum();
    let total: f64 = why.losses.iter().map(|loss| seconds(loss.total)).sum();
    let Some(first) = why.critical_ranks.first() else { return };
    let fair = 1.0 / details.len().max(1) as f64;
    let share = first.seconds / all.max(f64::MIN_POSITIVE);
    // Of two ranks one is always the last: it must be so most of the time.
    if share >= (2.0 * fair).min(0.5 + 0.5 * fair) && first.seconds >= 0.01 * total {
        let cause = if first.waiting_percentage >= 50.0 { "waiting for its data" } else { "computing" };
        found.push(Finding {
            code: "slow_rank".to_owned(),
            subject: first.rank.to_string(),
            text: format!(
                "rank {} on {} was the last at {} barriers, mostly {cause}: {:.0} % of what ranks waited for each other",
                first.rank,
                first.host,
                first.steps,
                100.0 * share
            ),
            seconds: first.seconds,
        });
    }
}

fn throttled(details: &[Detail], blame: &Blame, found: &mut Vec<Finding>) {
    let ops = || details.iter().flat_map(|detail| &detail.ops);
    let refused: Vec<_> = ops().filter(|op| op.outcome == Outcome::Throttled).collect();
    let (Some(from), Some(to)) = (refused.iter().map(|op| op.start).min(), refused.iter().map(|op| op.end).max())
    else {
        return;
    };
    let begin = ops().map(|op| op.start).min().unwrap_or(from);
    found.push(Finding {
        code: "throttled".to_owned(),
        subject: "storage".to_owned(),
        text: format!(
            "the storage refused {} requests (429, 503) between {:.1} s and {:.1} s of the run; retries took {:.0} % of \
             the waiting",
            refused.len(),
            seconds(between(begin, from)),
            seconds(between(begin, to)),
            100.0 * blame.retries as f64 / blame.total.max(blame.retries).max(1) as f64
        ),
        seconds: seconds(blame.retries),
    });
}

fn cold(details: &[Detail], blame: &Blame, found: &mut Vec<Finding>) {
    if blame.cold == 0 || (blame.cold as f64) < WORTH * blame.total as f64 {
        return;
    }
    let first = details.iter().flat_map(|detail| detail.ops.iter().map(move |op| (detail, op)));
    let opened = first.filter(|(_, op)| op.age == 0 && op.step.1 > 0);
    let Some((detail, op)) = opened.max_by_key(|(_, op)| between(op.start, op.issued)) else { return };
    found.push(Finding {
        code: "cold_connections".to_owned(),
        subject: detail.rank.to_string(),
        text: format!(
            "first requests of connections caused {:.0} % of the waiting; the longest opened in {:.3} s on rank {}, \
             epoch {}, step {}",
            100.0 * blame.cold as f64 / blame.total.max(1) as f64,
            seconds(between(op.start, op.issued)),
            detail.rank,
            op.step.0,
            op.step.1
        ),
        seconds: seconds(blame.cold),
    });
}
