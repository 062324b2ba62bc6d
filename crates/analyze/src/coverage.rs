//! Which samples an epoch read: every one once, or not.

use dlio_trace::RankTrace;

use crate::gather::Gathered;
use crate::report::{Coverage, Epoch};

/// Fills in the coverage of every epoch. A sample counts as read twice when another rank or step of the epoch read it;
/// several reads by one step are parts of one reading.
pub(crate) fn fill(epochs: &mut [Epoch], gathered: &[Gathered], traces: &[RankTrace], expected: Option<u64>) {
    for epoch in epochs {
        let mut readings: Vec<(u64, u32, u32)> = Vec::new();
        for (rank, trace) in gathered.iter().zip(traces) {
            if let Some(reads) = rank.epochs.get(&epoch.epoch) {
                readings.extend(reads.samples.iter().map(|(sample, step)| (*sample, trace.header.rank, *step)));
            }
        }
        epoch.coverage = of(readings, expected);
    }
}

fn of(mut readings: Vec<(u64, u32, u32)>, expected: Option<u64>) -> Coverage {
    readings.sort_unstable();
    readings.dedup();
    let all = readings.len() as u64;
    readings.dedup_by_key(|(sample, ..)| *sample);
    let distinct = readings.len() as u64;
    // Traces of formats that stream many samples per read do not name them: nothing can be said then.
    let missing = expected.filter(|_| all > 0).map(|expected| expected.saturating_sub(distinct));
    Coverage { distinct, duplicates: all - distinct, missing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_one_reading_are_not_duplicates_and_other_steps_are() {
        let found = of(vec![(7, 0, 1), (7, 0, 1), (7, 1, 1), (8, 0, 2), (8, 0, 3)], Some(5));
        assert_eq!(found, Coverage { distinct: 2, duplicates: 2, missing: Some(3) });
        assert_eq!(of(Vec::new(), Some(5)).missing, None);
    }
}
