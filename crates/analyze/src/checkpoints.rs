//! Checkpoints over all ranks: rank 0's time, which the reference reports, and the times of all ranks, which it does
//! not.

use std::collections::BTreeMap;

use dlio_event::{CheckpointTimings, RankTimings};
use serde::{Deserialize, Serialize};

use crate::metric;

const GB: f64 = 1_073_741_824.0;

/// One checkpoint over all ranks. GB are 2³⁰ bytes of the size that the reference's throughput uses.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CheckpointRow {
    /// Epoch, from 1.
    pub epoch: u32,
    /// Number in the keys of the checkpoint (`save_ckpt<k>`, `load_ckpt<k>`).
    pub number: u32,
    /// Whether the checkpoint was loaded rather than saved.
    pub load: bool,
    /// Number of ranks that took part.
    pub ranks: u32,
    /// Rank 0's duration in seconds, which the reference reports.
    pub seconds_rank0: Option<f64>,
    /// Duration of the fastest rank, seconds.
    pub seconds_min: f64,
    /// Duration of the slowest rank, seconds.
    pub seconds_max: f64,
    /// Time from the first rank's start to the last rank's end, seconds.
    pub seconds_all: f64,
    /// Size by rank 0's duration, which the reference reports; `None` if the traces do not contain the size.
    pub gb_per_second_rank0: Option<f64>,
    /// Size by the time of all ranks: the throughput of the storage. `None` if the traces do not contain the size.
    pub gb_per_second_all: Option<f64>,
}

/// Returns one row per saved or loaded checkpoint, in the order of their starts; `bytes` is the size of one checkpoint
/// over all ranks.
pub(crate) fn rows<'t>(ranks: impl Iterator<Item = &'t RankTimings>, bytes: Option<u64>) -> Vec<CheckpointRow> {
    type Of<'t> = Vec<(u32, &'t CheckpointTimings)>;
    let mut all: BTreeMap<(u32, bool, u32), Of<'_>> = BTreeMap::new();
    for rank in ranks {
        for epoch in &rank.epochs {
            for timings in &epoch.checkpoints {
                all.entry((epoch.epoch, timings.load, timings.number)).or_default().push((rank.rank, timings));
            }
        }
    }
    let size_gb = bytes.map(|bytes| bytes as f64 / GB);
    let mut rows: Vec<(u64, CheckpointRow)> =
        all.into_iter().map(|((epoch, _, _), of)| row(epoch, &of, size_gb)).collect();
    rows.sort_by_key(|(start, _)| *start);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// Returns the row of one checkpoint over its ranks, and the earliest start of a rank, nanoseconds.
fn row(epoch: u32, of: &[(u32, &CheckpointTimings)], size_gb: Option<f64>) -> (u64, CheckpointRow) {
    let start = of.iter().map(|(_, timings)| timings.start).min().unwrap_or(0);
    let end = of.iter().map(|(_, timings)| timings.end).max().unwrap_or(0);
    let (number, load) = of.first().map_or((0, false), |(_, timings)| (timings.number, timings.load));
    let measure = |timings: &CheckpointTimings| metric::checkpoint(timings, size_gb.unwrap_or(0.0));
    let seconds = || of.iter().map(|(_, timings)| measure(timings).0);
    let reported = of.iter().find(|(rank, _)| *rank == 0).map(|(_, timings)| measure(timings));
    let whole = measure(&CheckpointTimings { number, load, start, end });
    let row = CheckpointRow {
        epoch,
        number,
        load,
        ranks: u32::try_from(of.len()).unwrap_or(u32::MAX),
        seconds_rank0: reported.map(|(seconds, _)| seconds),
        seconds_min: seconds().fold(f64::INFINITY, f64::min),
        seconds_max: seconds().fold(0.0, f64::max),
        seconds_all: whole.0,
        gb_per_second_rank0: reported.and_then(|(_, rate)| size_gb.map(|_| rate)),
        gb_per_second_all: size_gb.map(|_| whole.1),
    };
    (start, row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dlio_event::EpochTimings;

    #[test]
    fn the_slowest_rank_decides_what_all_ranks_reached() {
        let rank = |rank: u32, start: u64, end: u64| RankTimings {
            rank,
            epochs: vec![EpochTimings {
                epoch: 2,
                checkpoints: vec![CheckpointTimings { number: 1, load: false, start, end }],
                ..EpochTimings::default()
            }],
        };
        let ranks = [rank(0, 1_000_000_000, 2_000_000_000), rank(1, 1_500_000_000, 5_000_000_000)];
        let rows = rows(ranks.iter(), Some(8 << 30));
        assert_eq!(rows.len(), 1);
        let row = &rows[0];
        assert_eq!((row.epoch, row.number, row.load, row.ranks), (2, 1, false, 2));
        assert_eq!((row.seconds_rank0, row.seconds_min, row.seconds_max, row.seconds_all), (Some(1.0), 1.0, 3.5, 4.0));
        assert_eq!((row.gb_per_second_rank0, row.gb_per_second_all), (Some(8.0), Some(2.0)));
    }
}
