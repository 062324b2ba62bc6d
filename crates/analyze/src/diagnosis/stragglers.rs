//! Location of the slowest reads, and imbalance of work.

use std::collections::BTreeMap;

use dlio_event::Histogram;
use dlio_event::percentile::P95;
use serde::{Deserialize, Serialize};

use super::sources::Sources;
use crate::pass::rank_stats::{CONNECTION_AGES, IoStats, RankStats};

/// Largest number of listed groups of each kind.
const LISTED: usize = 5;
/// Ratio of a group's share of slow reads to its share of all reads, from which it is listed.
const FACTOR: f64 = 1.2;

/// A group with more than its share of the slowest reads.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Straggler {
    /// Kind of the group: `endpoint`, `host`, `object` or `connection`.
    pub by: String,
    /// Name of the group; for connections, the number of requests served before.
    pub name: String,
    /// Number of reads.
    pub reads: u64,
    /// Number of slow reads.
    pub slow: u64,
    /// Ratio of its share of slow reads to its share of all reads.
    pub factor: f64,
}

/// Imbalance of a quantity.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Imbalance {
    /// Name of the quantity.
    pub quantity: String,
    /// Largest value by the mean.
    pub max_by_mean: f64,
    /// Gini coefficient; 0 if all values are equal.
    pub gini: f64,
}

/// Returns the groups with more than their share of the slowest reads.
pub(super) fn stragglers(sources: &Sources<'_>) -> Vec<Straggler> {
    let parts = &sources.summary.parts;
    let limit = sources.reads.percentile(P95).unwrap_or(0);
    let tally = Tally { all: sources.reads.count() as f64, slow: sources.reads.above(limit) as f64 };
    let counts = |reads: &Histogram| (reads.count(), reads.above(limit));
    let endpoints = sources.endpoints.iter().filter(|(name, _)| name.as_str() != "local");
    let mut found = tally.rows("endpoint", endpoints.map(|(name, flow)| (name.clone(), counts(&flow.reads))));
    let mut hosts: BTreeMap<&str, Histogram> = BTreeMap::new();
    let mut ages: [Histogram; 4] = Default::default();
    for part in parts {
        hosts.entry(&part.host).or_default().merge(&part.flow.reads);
        for (sum, age) in ages.iter_mut().zip(&part.ages) {
            sum.merge(age);
        }
    }
    found.extend(tally.rows("host", hosts.into_iter().map(|(name, reads)| (name.to_owned(), counts(&reads)))));
    let objects = sources.slow_objects.iter().map(|(name, reads, slow)| (name.clone(), (*reads, *slow)));
    found.extend(tally.rows("object", objects));
    let ages = CONNECTION_AGES.iter().zip(&ages).map(|(name, reads)| ((*name).to_owned(), counts(reads)));
    found.extend(tally.rows("connection", ages));
    found
}

struct Tally {
    all: f64,
    slow: f64,
}

impl Tally {
    fn rows(&self, by: &str, groups: impl Iterator<Item = (String, (u64, u64))>) -> Vec<Straggler> {
        let factor = |reads: u64, slow: u64| (slow as f64 / self.slow) / (reads as f64 / self.all);
        let mut rows: Vec<Straggler> = groups
            .filter(|(_, (reads, slow))| *slow > 0 && factor(*reads, *slow) > FACTOR)
            .map(|(name, (reads, slow))| Straggler {
                by: by.to_owned(),
                name,
                reads,
                slow,
                factor: factor(reads, slow),
            })
            .collect();
        rows.sort_by(|one, other| other.slow.cmp(&one.slow).then_with(|| one.name.cmp(&other.name)));
        rows.truncate(LISTED);
        rows
    }
}

/// Returns the imbalance of work between ranks and between endpoints.
pub(super) fn imbalance(sources: &Sources<'_>) -> Vec<Imbalance> {
    let mut found = Vec::new();
    let mut row = |quantity: &str, values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        if values.len() > 1 && mean > 0.0 {
            let max_by_mean = values.iter().copied().fold(0.0, f64::max) / mean;
            found.push(Imbalance { quantity: quantity.to_owned(), max_by_mean, gini: gini(values) });
        }
    };
    let ranks = || sources.summary.parts.iter();
    let read = |part: &RankStats| part.flow.read_bytes as f64;
    row("bytes read per rank", &ranks().map(read).collect::<Vec<_>>());
    row("waiting per rank", &ranks().map(|part| part.waited as f64).collect::<Vec<_>>());
    let endpoints = || sources.endpoints.iter().filter(|(name, flow)| *name != "local" && flow.reads.count() > 0);
    row("bytes read per endpoint", &endpoints().map(|(_, flow)| flow.read_bytes as f64).collect::<Vec<_>>());
    let reading = |flow: &IoStats| flow.reads.mean() * flow.reads.count() as f64;
    row("reading time per endpoint", &endpoints().map(|(_, flow)| reading(flow)).collect::<Vec<_>>());
    found
}

/// Returns the Gini coefficient: the mean difference of all pairs by twice the mean.
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
