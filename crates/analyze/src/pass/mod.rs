//! One pass over the traces: each row group is read once, decoded by whichever thread is free, and looked at in the order of
//! its file. What comes out can be merged with what other processes found.

mod drive;
pub(crate) mod kept;
pub(crate) mod meetings;
pub(crate) mod objects;
pub(crate) mod part;
mod rank;
pub(crate) mod samples;
pub(crate) mod walk;

use std::collections::BTreeMap;

use dlio_trace::{RankTrace, Rows};
use serde::{Deserialize, Serialize};

use crate::metric::Window;
use crate::timeline::Extent;
use kept::{Answer, Kept, Question, SlowObjects};
use meetings::{Meeting, Meetings};
use objects::{AllRanges, Range};
use part::RankPart;
pub(crate) use rank::keep_longest;
use samples::{Coverages, EpochSamples};
use walk::At;

/// Rows that a thread takes a second look at in one go.
const LOOK: usize = 1 << 20;

/// What all threads of a process share while they read.
pub(crate) struct Shared<'a> {
    pub(crate) traces: &'a [RankTrace],
    pub(crate) extent: Extent,
    /// Whether rows are kept.
    pub(crate) keep: bool,
    /// Steps of a block that AU counts.
    pub(crate) window: Window,
    pub(crate) ranges: AllRanges,
    pub(crate) coverage: Coverages,
    pub(crate) meetings: Meetings,
}

/// Decoded rows.
pub(crate) struct Piece {
    pub(crate) rows: Rows,
    /// Hash of each row's object.
    pub(crate) objects: Vec<u64>,
}

/// What the traces of one process say.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) parts: Vec<RankPart>,
    pub(crate) coverage: BTreeMap<u32, EpochSamples>,
    pub(crate) meetings: Vec<(At, Meeting)>,
    pub(crate) ranges: Vec<Range>,
}

/// What a process keeps for a second look.
pub(crate) struct Memory {
    kept: Vec<(usize, Kept)>,
}

/// Reads some of the traces, by their numbers.
pub(crate) fn read(shared: Shared<'_>, mine: &[usize]) -> Result<(Summary, Memory), dlio_trace::Error> {
    let finished = drive::read(&shared, mine)?;
    let mut parts = Vec::with_capacity(finished.len());
    let mut kept = Vec::new();
    for (at, (part, rows)) in finished.into_iter().enumerate() {
        parts.push(part);
        kept.extend(rows.map(|rows| (at, rows)));
    }
    let (coverage, meetings, ranges) = (shared.coverage.take(), shared.meetings.take(), shared.ranges.take());
    Ok((Summary { parts, coverage, meetings, ranges }, Memory { kept }))
}

impl Memory {
    fn looks<'m>(&'m self, parts: &'m [RankPart]) -> Vec<(&'m Kept, &'m RankPart, std::ops::Range<usize>)> {
        let mut looks = Vec::new();
        for (at, kept) in &self.kept {
            let mut from = 0;
            while from < kept.len() {
                let upto = (from + LOOK).min(kept.len());
                looks.push((kept, &parts[*at], from..upto));
                from = upto;
            }
        }
        looks
    }

    /// The objects with slow reads. `parts` are those of this process.
    pub(crate) fn slow_objects(&self, parts: &[RankPart], question: &Question) -> SlowObjects {
        let looks = self.looks(parts);
        let mut objects = SlowObjects::default();
        for found in drive::each(&looks, |(kept, part, rows)| kept.slow_objects(rows.clone(), part, question)) {
            objects.merge(found);
        }
        objects
    }

    /// Takes the second look; also counts all good reads of the objects that had `slow` ones anywhere.
    pub(crate) fn answer(&self, parts: &[RankPart], question: &Question, slow: &SlowObjects) -> (Answer, SlowObjects) {
        let looks = self.looks(parts);
        let (mut answer, mut reads) = (Answer::default(), SlowObjects::default());
        for (found, counted) in
            drive::each(&looks, |(kept, part, rows)| kept.answer(rows.clone(), part, question, slow))
        {
            answer.merge(found);
            reads.merge(counted);
        }
        (answer, reads)
    }
}

/// Joins the summaries of all processes.
pub(crate) fn join(all: Vec<Summary>) -> Summary {
    let mut joined = Summary { parts: Vec::new(), coverage: BTreeMap::new(), meetings: Vec::new(), ranges: Vec::new() };
    for one in all {
        joined.parts.extend(one.parts);
        for (epoch, samples) in one.coverage {
            joined.coverage.entry(epoch).or_default().merge(samples);
        }
        joined.meetings.extend(one.meetings);
        joined.ranges.extend(one.ranges);
    }
    joined.parts.sort_by_key(|part| part.index);
    joined.meetings = meetings::join(joined.meetings);
    joined
}
