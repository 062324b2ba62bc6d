//! One pass over the traces: each row group is read once, decoded by any free thread, and processed in the order of its
//! file. The results can be merged with those of other processes.

pub(crate) mod barriers;
pub(crate) mod class;
pub(crate) mod context;
pub(crate) mod object_reads;
pub(crate) mod objects;
mod overlap;
mod rank_state;
pub(crate) mod rank_stats;
pub(crate) mod retained_rows;
mod row_group_stats;
pub(crate) mod samples;
mod scheduler;
pub(crate) mod step_attribution;
pub(crate) mod summary;

use context::PassContext;
pub(crate) use rank_state::keep_longest;
use rank_stats::RankStats;
use retained_rows::{ObjectFilter, PercentileQuery, QueryResult, RetainedRows, SlowObjects};
use summary::Summary;

use crate::threads::fold;

/// Rows that a process retains for a second look.
pub(crate) struct RetainedTraces {
    retained: Vec<(usize, RetainedRows)>,
}

/// Reads the traces with the given numbers.
pub(crate) fn read(context: PassContext<'_>, mine: &[usize]) -> Result<(Summary, RetainedTraces), dlio_trace::Error> {
    let finished = scheduler::read(&context, mine)?;
    let (mut summary, mut retained) = (Summary::default(), Vec::new());
    for (at, rank) in finished.into_iter().enumerate() {
        summary.parts.push(rank.part);
        summary.io.merge(&rank.io);
        summary.reads.merge(rank.reads);
        retained.extend(rank.retained.map(|rows| (at, rows)));
    }
    summary.coverage = context.coverage.take();
    summary.barriers = context.barriers.take();
    summary.ranges = context.ranges.take();
    Ok((summary, RetainedTraces { retained }))
}

impl RetainedTraces {
    fn groups<'m>(&'m self, parts: &'m [RankStats]) -> Vec<(&'m RetainedRows, &'m RankStats, usize)> {
        let groups = |retained: &RetainedRows| 0..retained.groups.len();
        self.retained
            .iter()
            .flat_map(|(at, retained)| groups(retained).map(move |group| (retained, &parts[*at], group)))
            .collect()
    }

    /// Returns the objects with slow reads. `parts` are the ranks of this process.
    pub(crate) fn slow_objects(&self, parts: &[RankStats], query: &PercentileQuery) -> SlowObjects {
        let mut objects = SlowObjects::default();
        let look = |(retained, part, group): &(&RetainedRows, &RankStats, usize), found: &mut SlowObjects| {
            retained.slow_objects(*group, part, query, found);
        };
        for found in fold(&self.groups(parts), look) {
            objects.merge(found);
        }
        objects
    }

    /// Runs a query, and counts all successful reads of the objects that had slow reads in any process.
    pub(crate) fn look_up(&self, parts: &[RankStats], query: &PercentileQuery, slow: &SlowObjects) -> QueryResult {
        let mut result = QueryResult::default();
        let slow = ObjectFilter::new(slow);
        let look = |(retained, part, group): &(&RetainedRows, &RankStats, usize), found: &mut QueryResult| {
            retained.look_up((*group, part), query, &slow, found);
        };
        for found in fold(&self.groups(parts), look) {
            result.merge(found);
        }
        result
    }
}
