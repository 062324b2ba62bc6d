//! One pass over the traces: each row group is read once, decoded by whichever thread is free, and looked at in the order of
//! its file. What comes out can be merged with what other processes found.

mod digest;
mod drive;
pub(crate) mod kept;
pub(crate) mod meetings;
pub(crate) mod objects;
pub(crate) mod part;
mod rank;
pub(crate) mod samples;
mod sweep;
pub(crate) mod tally;
pub(crate) mod walk;

use std::collections::BTreeMap;

use dlio_event::{OpKind, Outcome};
use dlio_trace::{RankTrace, Rows};
use serde::{Deserialize, Serialize};

use crate::metric::{Parameters, Window};
use crate::timeline::{Axis, Extent};
pub(crate) use drive::fold;
use kept::{Answer, Kept, Looked, Question, Sieve, SlowObjects};
use meetings::{Meetings, Met, STEPS};
use objects::{AllRanges, Ranges};
use part::{Exchanged, RankPart};
pub(crate) use rank::keep_longest;
use samples::{Coverages, EpochSamples};
use tally::ObjectReads;

/// What all threads of a process share while they read.
pub(crate) struct Shared<'a> {
    pub(crate) traces: &'a [RankTrace],
    pub(crate) extent: Extent,
    pub(crate) axis: Axis,
    /// Whether rows are kept.
    pub(crate) keep: bool,
    pub(crate) most: Most,
    /// Steps of a block that AU counts.
    pub(crate) window: Window,
    pub(crate) parameters: Parameters,
    pub(crate) ranges: AllRanges,
    pub(crate) coverage: Coverages,
    pub(crate) meetings: Meetings,
}

/// What may be in memory of things that grow with a trace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Most {
    /// Steps of the run.
    pub(crate) steps: usize,
    /// Ranges of objects that a rank read.
    pub(crate) ranges: usize,
    /// Samples that a rank read in an epoch.
    pub(crate) samples: usize,
    /// Counts of a rank's reads by object and duration.
    pub(crate) reads: usize,
}

impl Most {
    /// Where rows are kept, anything.
    pub(crate) const ALL: Self = Self { steps: usize::MAX, ranges: usize::MAX, samples: usize::MAX, reads: usize::MAX };

    /// Where they are not, whatever the trace; `ranks` share what is theirs.
    pub(crate) fn streaming(ranks: usize) -> Self {
        let share = |all: usize| (all / ranks.max(1)).max(1 << 10);
        Self { steps: STEPS, ranges: share(RANGES), samples: share(SAMPLES), reads: share(READS).min(READS_OF_RANK) }
    }
}

/// Ranges and samples of all ranks in a streaming analysis: 64 and 32 MiB.
const RANGES: usize = 4 << 20;
const SAMPLES: usize = 2 << 20;
/// Counts of reads by object and duration: 24 MiB; those of one rank stay in the processor's cache.
const READS: usize = 1 << 19;
const READS_OF_RANK: usize = 1 << 15;

/// Whether an operation ended well. Who asks whether an object is there has an answer when it is not.
pub(crate) fn went_well(kind: OpKind, outcome: Outcome) -> bool {
    match outcome {
        Outcome::Ok => true,
        Outcome::NotFound => matches!(kind, OpKind::Stat | OpKind::Head),
        _ => false,
    }
}

/// Decoded rows.
pub(crate) struct Piece {
    pub(crate) rows: Rows,
    /// Hash of each row's object.
    pub(crate) objects: Vec<u64>,
    /// Numbers of the piece's endpoints; the first is that of no name.
    pub(crate) endpoints: Vec<u16>,
}

/// What the traces of one process say.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) parts: Vec<RankPart>,
    pub(crate) exchanged: Exchanged,
    pub(crate) coverage: BTreeMap<u32, EpochSamples>,
    pub(crate) met: Met,
    pub(crate) ranges: Ranges,
    /// Where rows are not kept.
    pub(crate) reads: ObjectReads,
}

/// What a process keeps for a second look.
pub(crate) struct Memory {
    kept: Vec<(usize, Kept)>,
}

/// Reads some of the traces, by their numbers.
pub(crate) fn read(shared: Shared<'_>, mine: &[usize]) -> Result<(Summary, Memory), dlio_trace::Error> {
    let finished = drive::read(&shared, mine)?;
    let (mut summary, mut kept) = (Summary::default(), Vec::new());
    for (at, rank) in finished.into_iter().enumerate() {
        summary.parts.push(rank.part);
        summary.exchanged.merge(&rank.exchanged);
        summary.reads.merge(rank.reads);
        kept.extend(rank.kept.map(|rows| (at, rows)));
    }
    summary.coverage = shared.coverage.take();
    summary.met = shared.meetings.take();
    summary.ranges = shared.ranges.take();
    Ok((summary, Memory { kept }))
}

impl Memory {
    fn looks<'m>(&'m self, parts: &'m [RankPart]) -> Vec<(&'m Kept, &'m RankPart, usize)> {
        let groups = |kept: &Kept| 0..kept.groups.len();
        self.kept.iter().flat_map(|(at, kept)| groups(kept).map(move |group| (kept, &parts[*at], group))).collect()
    }

    /// The objects with slow reads. `parts` are those of this process.
    pub(crate) fn slow_objects(&self, parts: &[RankPart], question: &Question) -> SlowObjects {
        let mut objects = SlowObjects::default();
        let look = |(kept, part, group): &(&Kept, &RankPart, usize), found: &mut SlowObjects| {
            kept.slow_objects(*group, part, question, found);
        };
        for found in fold(&self.looks(parts), look) {
            objects.merge(found);
        }
        objects
    }

    /// Takes the second look; also counts all good reads of the objects that had `slow` ones anywhere.
    pub(crate) fn answer(&self, parts: &[RankPart], question: &Question, slow: &SlowObjects) -> (Answer, SlowObjects) {
        let (mut answer, mut reads) = (Answer::default(), SlowObjects::default());
        let slow = Sieve::new(slow);
        let look = |(kept, part, group): &(&Kept, &RankPart, usize), found: &mut Looked| {
            kept.answer((*group, part), question, &slow, found);
        };
        for found in fold(&self.looks(parts), look) {
            answer.merge(found.answer);
            reads.merge(found.reads);
        }
        (answer, reads)
    }
}

/// Joins the summaries of all processes.
pub(crate) fn join(all: Vec<Summary>, most: Most) -> Summary {
    let mut joined = Summary::default();
    let mut met = Vec::with_capacity(all.len());
    for one in all {
        joined.parts.extend(one.parts);
        joined.exchanged.merge(&one.exchanged);
        for (epoch, samples) in one.coverage {
            joined.coverage.entry(epoch).or_default().merge(samples);
        }
        met.push(one.met);
        joined.reads.merge(one.reads);
        joined.ranges.merge(one.ranges);
    }
    joined.parts.sort_by_key(|part| part.index);
    joined.met = Met::join(met, most.steps);
    joined
}
