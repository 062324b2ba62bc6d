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
use std::sync::atomic::Ordering;

use dlio_trace::{RankTrace, Rows};
use serde::{Deserialize, Serialize};

use crate::timeline::Extent;
use kept::{Answer, Kept, ObjectCounts, Question};
use meetings::{Meeting, Meetings};
use objects::{Locator, Objects, Ranges};
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
    /// Steps that AU leaves out at the start and at the end of a block.
    pub(crate) skipped: (u64, u64),
    pub(crate) objects: Objects,
    pub(crate) coverage: Coverages,
    pub(crate) meetings: Meetings,
}

/// Decoded rows.
pub(crate) struct Piece {
    pub(crate) rows: Rows,
    /// Number of each row's object.
    pub(crate) objects: Vec<u32>,
}

/// What the traces of one process say.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) parts: Vec<RankPart>,
    pub(crate) coverage: BTreeMap<u32, EpochSamples>,
    pub(crate) meetings: Vec<(At, Meeting)>,
    pub(crate) ranges: Vec<Ranges>,
}

/// An object's good reads in one process: its hash, where its name is, how many, how many of them slow.
pub(crate) type Counted = (u64, Locator, u64, u64);

/// What a process keeps for a second look.
pub(crate) struct Memory {
    kept: Vec<(usize, Kept)>,
    objects: Objects,
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
    let ranges = shared.objects.ranges();
    let summary = Summary { parts, coverage: shared.coverage.take(), meetings: shared.meetings.take(), ranges };
    Ok((summary, Memory { kept, objects: shared.objects }))
}

impl Memory {
    /// Takes the second look. `parts` are those of this process; of objects, `all` are counted or those with slow reads.
    pub(crate) fn answer(&self, parts: &[RankPart], question: &Question, all: bool) -> (Answer, Vec<Counted>) {
        let counts = ObjectCounts::new(if self.kept.is_empty() { 0 } else { self.objects.numbers() });
        let mut looks = Vec::new();
        for (at, kept) in &self.kept {
            let mut from = 0;
            while from < kept.len() {
                let upto = (from + LOOK).min(kept.len());
                looks.push((kept, &parts[*at], from..upto));
                from = upto;
            }
        }
        let answers = drive::each(&looks, |(kept, part, rows)| kept.answer(rows.clone(), part, question, &counts));
        let mut answer = Answer::default();
        for found in answers {
            answer.merge(found);
        }
        let numbers = (0_u32..).zip(counts.reads.iter().zip(&counts.slow));
        let counted = numbers.filter_map(|(number, (reads, slow))| {
            let (reads, slow) = (reads.load(Ordering::Relaxed), slow.load(Ordering::Relaxed));
            let wanted = slow > 0 || all && reads > 0;
            let (hash, at) = wanted.then(|| self.objects.named(number)).flatten()?;
            Some((hash, at, u64::from(reads), u64::from(slow)))
        });
        (answer, counted.collect())
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
