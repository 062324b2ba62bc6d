//! The analysis of some traces: one pass over all of them, a second look at what was kept for exact percentiles, and a
//! report. Several processes can share the work.

use std::collections::BTreeMap;

use dlio_trace::RankTrace;
use serde::{Deserialize, Serialize};

use crate::build::Builder;
use crate::histogram::{Histogram, Times, bucket};
use crate::metric::Parameters;
use crate::pass::kept::{Answer, Question};
use crate::pass::objects::{Locator, Objects};
use crate::pass::part::{Flow, Group, Lines};
use crate::pass::{self, Counted, Memory, Shared, Summary};
use crate::report::Report;
use crate::timeline::Extent;
use crate::why;

/// Up to this many events rows are kept, 32 bytes each, and percentiles are exact.
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
    let (answer, counted) = share.memory.answer(&share.summary.parts, &question, false);
    analysis.report(share.summary, Second { answer, counted })
}

/// The analysis of some traces by one or several processes that all see the files. Each reads its share, sends
/// [`Share::first`] to all, answers with [`Share::second`] what [`Analysis::ask`] made of all first messages, and
/// [`Analysis::finish`] makes the report from all messages. The numbers do not depend on how many processes there are.
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

/// What a second look found.
#[derive(Serialize, Deserialize)]
struct Second {
    answer: Answer,
    counted: Vec<Counted>,
}

/// What all processes found first, and what is asked of them then.
pub struct Asked {
    summary: Summary,
    question: Question,
}

impl Share {
    /// The message to all processes.
    #[must_use]
    pub fn first(&self) -> Vec<u8> {
        // Plain values: serialising to memory cannot fail.
        serde_json::to_vec(&self.summary).unwrap_or_default()
    }

    /// The answer to what is asked.
    #[must_use]
    pub fn second(&self, asked: &Asked) -> Vec<u8> {
        let (answer, counted) = self.memory.answer(&self.summary.parts, &asked.question, true);
        serde_json::to_vec(&Second { answer, counted }).unwrap_or_default()
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

    /// Reads the traces whose turn it is when processes take turns.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn read(&self, process: usize, processes: usize) -> Result<Share, dlio_trace::Error> {
        let mine: Vec<usize> = (0..self.traces.len()).skip(process).step_by(processes.max(1)).collect();
        let known = self.known.as_ref();
        let shared = Shared {
            traces: self.traces,
            extent: self.extent,
            keep: !self.streaming,
            skipped: known.map_or((1, 0), |known| (known.exclude_start_steps, known.exclude_end_steps)),
            objects: Objects::new(),
            coverage: pass::samples::Coverages::default(),
            meetings: pass::meetings::Meetings::default(),
        };
        let (summary, memory) = pass::read(shared, &mine)?;
        Ok(Share { summary, memory })
    }

    /// Joins what all processes found; `None` if a message is not one of [`Share::first`].
    #[must_use]
    pub fn ask(&self, first: &[Vec<u8>]) -> Option<Asked> {
        let all: Option<Vec<Summary>> = first.iter().map(|bytes| serde_json::from_slice(bytes).ok()).collect();
        let summary = pass::join(all?);
        let question = self.question(&summary);
        Some(Asked { summary, question })
    }

    /// The report; `None` if a message is not one of [`Share::second`].
    ///
    /// # Errors
    /// When a name cannot be read from its trace.
    pub fn finish(&self, asked: Asked, second: &[Vec<u8>]) -> Result<Option<Report>, dlio_trace::Error> {
        let mut all = Second { answer: Answer::default(), counted: Vec::new() };
        for bytes in second {
            let Ok(one) = serde_json::from_slice::<Second>(bytes) else { return Ok(None) };
            all.answer.merge(one.answer);
            all.counted.extend(one.counted);
        }
        self.report(asked.summary, all).map(Some)
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

    fn report(&self, summary: Summary, second: Second) -> Result<Report, dlio_trace::Error> {
        let sums = Sums::of(&summary);
        let slow_objects = self.slow_objects(second.counted, &sums)?;
        let mut builder = Builder { analysis: self, summary, sums, answer: second.answer };
        let mut why = builder.explain(slow_objects);
        for step in &mut why.slow_steps {
            if let Some(at) = step.named_at {
                step.object = self.name(at)?;
            }
        }
        Ok(builder.build(why))
    }

    /// Objects with more than their share of slow reads, those with the most first.
    fn slow_objects(&self, mut counted: Vec<Counted>, sums: &Sums) -> Result<Vec<why::ObjectReads>, dlio_trace::Error> {
        counted.sort_unstable();
        let mut joined: Vec<Counted> = Vec::new();
        for (hash, at, reads, slow) in counted {
            match joined.last_mut() {
                Some(known) if known.0 == hash => (known.2, known.3) = (known.2 + reads, known.3 + slow),
                _ => joined.push((hash, at, reads, slow)),
            }
        }
        let limit = sums.reads.about(9_500);
        let fair = sums.reads.above(limit) as f64 / (sums.reads.count as f64).max(1.0);
        joined.retain(|(_, _, reads, slow)| *slow > 0 && *slow as f64 / *reads as f64 > 1.2 * fair);
        joined.sort_by_key(|(hash, _, _, slow)| (std::cmp::Reverse(*slow), *hash));
        joined.truncate(SLOW_OBJECTS);
        joined.into_iter().map(|(_, at, reads, slow)| Ok((self.name(at)?, reads, slow))).collect()
    }

    /// The name of the object of a row.
    fn name(&self, at: Locator) -> Result<String, dlio_trace::Error> {
        let Some(trace) = self.traces.get(at.trace as usize) else { return Ok(String::new()) };
        let mut row = at.row as usize;
        for names in trace.object_names(at.group as usize)? {
            if row < names.rows() {
                return Ok(names.get(row).unwrap_or_default().to_owned());
            }
            row -= names.rows();
        }
        Ok(String::new())
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
        let mut sums = Self {
            groups: BTreeMap::new(),
            ranks: BTreeMap::new(),
            hosts: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            reads: Histogram::default(),
            lines: Lines::default(),
        };
        for part in &summary.parts {
            for (key, group) in &part.groups {
                sums.groups.entry(*key).or_default().merge(group);
            }
            let rank = sums.ranks.entry(part.index).or_default();
            let (ranks, host) = sums.hosts.entry(part.host.clone()).or_default();
            *ranks += 1;
            for (name, flow) in &part.flows {
                rank.merge(flow);
                host.merge(flow);
                sums.endpoints.entry(name.clone()).or_default().merge(flow);
                sums.reads.merge(&flow.reads);
            }
            sums.lines.merge(&part.lines);
        }
        sums
    }
}
