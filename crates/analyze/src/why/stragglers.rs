//! Where the slowest reads are, and how evenly work was spread.

use std::collections::{BTreeMap, HashMap};

use dlio_event::Outcome;

use super::detail::{Detail, NONE, Names, Op};
use super::{Imbalance, Straggler, Why};
use crate::percentile::nearest_rank;

/// Groups that are listed of each kind.
const LISTED: usize = 5;
/// Durations that a comparison draws from.
const SAMPLES: usize = 4_096;

pub(super) fn fill(why: &mut Why, details: &[Detail], names: &Names) {
    let reads = || {
        details.iter().flat_map(|detail| {
            let whole = |op: &&Op| op.kind.is_read() && op.outcome == Outcome::Ok;
            detail.ops.iter().filter(whole).map(move |op| (detail, op))
        })
    };
    let mut durations: Vec<u64> = reads().map(|(_, op)| op.nanos()).collect();
    let pick = durations.len().div_ceil(SAMPLES).max(1);
    why.samples.read = durations.iter().step_by(pick).map(|nanos| *nanos as f64 / 1e9).collect();
    durations.sort_unstable();
    let limit = nearest_rank(&durations, 950);
    let all = durations.len() as f64;
    let slow = (durations.len() - durations.partition_point(|nanos| *nanos <= limit)) as f64;
    let mut tally = |by: &str, key: &dyn Fn(&Detail, &Op) -> Option<String>| {
        let mut groups: HashMap<String, (u64, u64)> = HashMap::new();
        for (detail, op) in reads() {
            if let Some(key) = key(detail, op) {
                let group = groups.entry(key).or_default();
                group.0 += 1;
                group.1 += u64::from(op.nanos() > limit);
            }
        }
        let factor = |(reads, late): (u64, u64)| (late as f64 / slow) / (reads as f64 / all);
        let mut rows: Vec<Straggler> = groups
            .into_iter()
            .filter(|(_, group)| group.1 > 0 && factor(*group) > 1.2)
            .map(|(name, group)| Straggler {
                by: by.to_owned(),
                name,
                reads: group.0,
                slow: group.1,
                factor: factor(group),
            })
            .collect();
        rows.sort_by(|one, other| other.slow.cmp(&one.slow).then_with(|| one.name.cmp(&other.name)));
        rows.truncate(LISTED);
        why.stragglers.extend(rows);
    };
    let name = |number: u32| (number != NONE).then(|| names.get(number).to_owned());
    tally("endpoint", &|_, op| name(op.endpoint));
    tally("host", &|detail, _| Some(detail.host.clone()));
    tally("object", &|_, op| name(op.object));
    tally("connection", &|_, op| age(op.age).map(str::to_owned));
    balance(why, details, names);
}

fn age(served: u32) -> Option<&'static str> {
    match served {
        NONE => None,
        0 => Some("first request"),
        1..=9 => Some("2nd to 10th request"),
        10..=99 => Some("11th to 100th request"),
        _ => Some("later requests"),
    }
}

fn balance(why: &mut Why, details: &[Detail], names: &Names) {
    let mut row = |quantity: &str, values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        if values.len() > 1 && mean > 0.0 {
            let max_by_mean = values.iter().copied().fold(0.0, f64::max) / mean;
            why.imbalance.push(Imbalance { quantity: quantity.to_owned(), max_by_mean, gini: gini(values) });
        }
    };
    let read =
        |detail: &Detail| detail.ops.iter().filter(|op| op.kind.is_read()).map(|op| op.bytes).sum::<u64>() as f64;
    row("bytes read per rank", &details.iter().map(read).collect::<Vec<_>>());
    let waited = |detail: &Detail| {
        let fetches = detail.steps.values().filter_map(|step| step.fetch);
        fetches.map(|(start, end)| end.saturating_sub(start) as f64).sum::<f64>()
    };
    row("waiting per rank", &details.iter().map(waited).collect::<Vec<_>>());
    let mut endpoints: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for op in details.iter().flat_map(|detail| &detail.ops).filter(|op| op.endpoint != NONE && op.kind.is_read()) {
        let sums = endpoints.entry(names.get(op.endpoint)).or_default();
        sums.0 += op.bytes as f64;
        sums.1 += op.nanos() as f64;
    }
    row("bytes read per endpoint", &endpoints.values().map(|sums| sums.0).collect::<Vec<_>>());
    row("reading time per endpoint", &endpoints.values().map(|sums| sums.1).collect::<Vec<_>>());
}

/// Mean difference of all pairs by twice the mean.
fn gini(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (count, total) = (sorted.len() as f64, sorted.iter().sum::<f64>());
    if total <= 0.0 {
        return 0.0;
    }
    let weighted: f64 = sorted.iter().enumerate().map(|(at, value)| (at as f64 + 1.0) * value).sum();
    (2.0 * weighted / (count * total) - (count + 1.0) / count).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gini_coefficient_is_0_for_equals_and_grows_with_one_who_has_all() {
        assert!(gini(&[3.0, 3.0, 3.0]).abs() < 1e-12);
        assert!((gini(&[0.0, 0.0, 0.0, 8.0]) - 0.75).abs() < 1e-12);
    }
}
