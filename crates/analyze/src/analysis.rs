//! The analysis of some traces: one pass over all of them, a second look at what was kept for exact percentiles, and a
//! report. Several processes can share the work.

use std::collections::BTreeMap;

use dlio_trace::RankTrace;
use serde::{Deserialize, Serialize};

use crate::build::Builder;
use crate::histogram::{Histogram, Times, bucket};
use crate::metric::Parameters;
use crate::pass::kept::{Answer, Question, SlowObjects};
use crate::pass::objects::{AllRanges, Locator};
use crate::pass::part::{Flow, Group, Lines};
use crate::pass::tally::Reads;
use crate::pass::{self, Memory, Most, Shared, Summary};
use crate::report::Report;
use crate::timeline::Extent;
use crate::why;

/// Up to this many events rows are kept, 16 bytes each, and percentiles are exact.
pub const EXACT_EVENTS: u64 = 12_500_000;
/// Objects with slow reads whose names are looked up.
const SLOW_OBJECTS: usize = 5;

/// How to analyze.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Keep no rows (`true`) or all (`false`); default: by [`EXACT_EVENTS`].
    pub streaming: Option<bool>,
    /// Override the parameters that the traces carry; without either, one step is left out at the start of each block, and
    /// batches count as one sample.
    pub parameters: Option<Parameters>,
}

/// The report on a run.
///
/// # Errors
/// When a trace cannot be read.
pub fn report(traces: &[RankTrace], options: &Options) -> Result<Report, dlio_trace::Error> {
    let analysis = Analysis::new(traces, options);
    let share = analysis.read(0, 1)?;
    let question = analysis.question(&share.summary);
    let slow = share.memory.slow_objects(&share.summary.parts, &question).cut();
    let (answer, reads) = share.memory.answer(&share.summary.parts, &question, &slow);
    drop(share.memory);
    analysis.report(share.summary, &slow, Second { answer, reads })
}

/// The analysis of some traces by one or several processes that all see the files. Each reads its share, sends
/// [`Share::first`] to all, then [`Share::second`] about what [`Analysis::ask`] made of all first messages, then
/// [`Share::third`] about what [`Asked::learn`] made of all second ones; [`Analysis::finish`] makes the report. The numbers do not depend on how many processes there are.
#[derive(Debug)]
pub struct Analysis<'a> {
    pub(crate) traces: &'a [RankTrace],
    pub(crate) extent: Extent,
    pub(crate) streaming: bool,
    pub(crate) known: Option<Parameters>,
}

/// The traces that one process has read.
pub struct Share {
    summary: Summary,
    memory: Memory,
}

/// What a second look found: values near percentiles, and good reads of the objects with slow ones.
#[derive(Default, Serialize, Deserialize)]
struct Second {
    answer: Answer,
    reads: SlowObjects,
}

/// What all processes found first, and what is asked of them then.
pub struct Asked {
    summary: Summary,
    question: Question,
    slow: SlowObjects,
}

impl Asked {
    /// Takes note of the objects with slow reads in all processes; `None` if a message is not one of [`Share::second`].
    #[must_use]
    pub fn learn(mut self, second: &[Vec<u8>]) -> Option<Self> {
        for bytes in second {
            self.slow.merge(postcard::from_bytes(bytes).ok()?);
        }
        self.slow = self.slow.cut();
        Some(self)
    }
}

impl Share {
    /// The message to all processes.
    #[must_use]
    pub fn first(&self) -> Vec<u8> {
        // Plain values: serialising to memory cannot fail.
        postcard::to_allocvec(&self.summary).unwrap_or_default()
    }

    /// Its objects with slow reads: a message to all processes.
    #[must_use]
    pub fn second(&self, asked: &Asked) -> Vec<u8> {
        let slow = self.memory.slow_objects(&self.summary.parts, &asked.question);
        postcard::to_allocvec(&slow).unwrap_or_default()
    }

    /// The answer to what is asked.
    #[must_use]
    pub fn third(&self, asked: &Asked) -> Vec<u8> {
        let (answer, reads) = self.memory.answer(&self.summary.parts, &asked.question, &asked.slow);
        postcard::to_allocvec(&Second { answer, reads }).unwrap_or_default()
    }
}

impl<'a> Analysis<'a> {
    /// Looks at the headers.
    #[must_use]
    pub fn new(traces: &'a [RankTrace], options: &Options) -> Self {
        let ranges: Vec<(i64, i64)> = traces.iter().filter_map(RankTrace::time_range).collect();
        let extent = Extent {
            start: ranges.iter().map(|range| range.0).min().unwrap_or(0),
            end: ranges.iter().map(|range| range.1).max().unwrap_or(0),
        };
        let carried = || traces.first().and_then(|trace| Parameters::from_config(&trace.header.config_json));
        let events: u64 = traces.iter().map(|trace| trace.rows).sum();
        Self {
            traces,
            extent,
            streaming: options.streaming.unwrap_or(events > EXACT_EVENTS),
            known: options.parameters.clone().or_else(carried),
        }
    }

    /// Whether rows are not kept.
    #[must_use]
    pub fn streaming(&self) -> bool {
        self.streaming
    }

    /// What the formulas use.
    pub(crate) fn parameters(&self) -> Parameters {
        self.known.clone().unwrap_or_else(|| Parameters {
            // When nobody says: the reference's defaults, and as many steps as there are.
            exclude_start_steps: 1,
            exclude_end_steps: 0,
            train_steps: u64::MAX,
            eval_steps: u64::MAX,
            batch_size: 1,
            eval_batch_size: 1,
            record_bytes: 0.0,
            au_threshold: 0.9,
            train_samples: None,
            formula: crate::metric::Formula::default(),
            checkpoint_bytes: None,
        })
    }

    fn most(&self) -> Most {
        if self.streaming { Most::streaming(self.traces.len()) } else { Most::ALL }
    }

    /// Reads the traces whose turn it is when processes take turns.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn read(&self, process: usize, processes: usize) -> Result<Share, dlio_trace::Error> {
        let mine: Vec<usize> = (0..self.traces.len()).skip(process).step_by(processes.max(1)).collect();
        let parameters = self.parameters();
        let shared = Shared {
            traces: self.traces,
            extent: self.extent,
            axis: self.extent.axis(),
            most: self.most(),
            keep: !self.streaming,
            window: parameters.train_window(),
            parameters,
            ranges: AllRanges::default(),
            coverage: pass::samples::Coverages::default(),
            meetings: pass::meetings::Meetings::default(),
        };
        let (summary, memory) = pass::read(shared, &mine)?;
        Ok(Share { summary, memory })
    }

    /// Joins what all processes found; `None` if a message is not one of [`Share::first`].
    #[must_use]
    pub fn ask(&self, first: &[Vec<u8>]) -> Option<Asked> {
        let all: Option<Vec<Summary>> = first.iter().map(|bytes| postcard::from_bytes(bytes).ok()).collect();
        let summary = pass::join(all?, self.most());
        let question = self.question(&summary);
        Some(Asked { summary, question, slow: SlowObjects::default() })
    }

    /// The report; `None` if a message is not one of [`Share::third`].
    ///
    /// # Errors
    /// When a name cannot be read from its trace.
    pub fn finish(&self, asked: Asked, third: &[Vec<u8>]) -> Result<Option<Report>, dlio_trace::Error> {
        let mut all = Second::default();
        for bytes in third {
            let Ok(one) = postcard::from_bytes::<Second>(bytes) else { return Ok(None) };
            all.answer.merge(one.answer);
            all.reads.merge(one.reads);
        }
        self.report(asked.summary, &asked.slow, all).map(Some)
    }

    fn question(&self, summary: &Summary) -> Question {
        let all = Sums::of(summary);
        let wanted = |times: &Times| times.wanted();
        let reads = Times { whole: all.reads.clone(), ..Times::default() };
        if self.streaming {
            return Question::default();
        }
        Question {
            groups: all.groups.iter().map(|(key, group)| (*key, wanted(&group.times))).collect(),
            ranks: all.ranks.iter().map(|(rank, flow)| (*rank, wanted(&flow.times))).collect(),
            hosts: all.hosts.iter().map(|(host, (_, flow))| (host.clone(), wanted(&flow.times))).collect(),
            endpoints: all.endpoints.iter().map(|(name, flow)| (name.clone(), wanted(&flow.times))).collect(),
            reads: wanted(&reads),
            slow_above: bucket(all.reads.about(9_500)),
        }
    }

    fn report(&self, summary: Summary, slow: &SlowObjects, second: Second) -> Result<Report, dlio_trace::Error> {
        let sums = Sums::of(&summary);
        let counted = if self.streaming {
            summary.reads.slow(bucket(sums.reads.about(9_500)))
        } else {
            slow.beside(&second.reads)
        };
        let slow_objects = self.slow_objects(counted, &sums)?;
        let mut builder = Builder::new(self, summary, sums, second.answer);
        let mut why = builder.explain(slow_objects);
        let steps: Vec<_> = why.slow_steps.iter_mut().filter_map(|step| step.named_at.map(|at| (at, step))).collect();
        let names = self.names(steps.iter().map(|(at, _)| *at))?;
        for ((_, step), name) in steps.into_iter().zip(names) {
            step.object = name;
        }
        Ok(builder.build(why))
    }

    /// Objects with more than their share of slow reads, those with the most first.
    fn slow_objects(&self, mut counted: Vec<Reads>, sums: &Sums) -> Result<Vec<why::ObjectReads>, dlio_trace::Error> {
        let limit = sums.reads.about(9_500);
        let fair = sums.reads.above(limit) as f64 / (sums.reads.count as f64).max(1.0);
        counted.retain(|reads| reads.slow as f64 / reads.all.max(1) as f64 > 1.2 * fair);
        counted.sort_by_key(|reads| (std::cmp::Reverse(reads.slow), reads.object));
        counted.truncate(SLOW_OBJECTS);
        let names = self.names(counted.iter().map(|reads| reads.at))?;
        Ok(counted.into_iter().zip(names).map(|(reads, name)| (name, reads.all, reads.slow)).collect())
    }

    /// The names of the objects of these rows.
    fn names(&self, rows: impl Iterator<Item = Locator>) -> Result<Vec<String>, dlio_trace::Error> {
        let rows: Vec<(usize, Locator)> = rows.enumerate().collect();
        let look = |(at, row): &(usize, Locator), found: &mut Vec<(usize, Result<_, _>)>| {
            let trace = self.traces.get(row.trace as usize);
            let name = trace.map(|trace| trace.object_name(row.group as usize, row.row as usize));
            found.push((*at, name.unwrap_or(Ok(None))));
        };
        let mut found: Vec<_> = pass::fold(&rows, look).into_iter().flatten().collect();
        found.sort_by_key(|(at, _)| *at);
        found.into_iter().map(|(_, name)| Ok(name?.unwrap_or_default())).collect()
    }
}

/// Sums over the ranks.
pub(crate) struct Sums {
    pub(crate) groups: BTreeMap<usize, Group>,
    pub(crate) ranks: BTreeMap<u32, Flow>,
    pub(crate) hosts: BTreeMap<String, (u32, Flow)>,
    pub(crate) endpoints: BTreeMap<String, Flow>,
    /// Reads that ended well.
    pub(crate) reads: Histogram,
    pub(crate) lines: Lines,
}

impl Sums {
    fn of(summary: &Summary) -> Self {
        let exchanged = summary.exchanged.clone();
        let mut sums = Self {
            groups: exchanged.groups,
            ranks: BTreeMap::new(),
            hosts: BTreeMap::new(),
            endpoints: exchanged.endpoints,
            reads: Histogram::default(),
            lines: Lines::default(),
        };
        for part in &summary.parts {
            sums.ranks.insert(part.index, part.flow.clone());
            let (ranks, host) = sums.hosts.entry(part.host.clone()).or_default();
            *ranks += 1;
            host.merge(&part.flow);
            sums.reads.merge(&part.flow.reads);
            sums.lines.merge(&part.lines);
        }
        sums
    }
}
