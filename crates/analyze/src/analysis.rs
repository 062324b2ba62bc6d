//! Analysis of the traces of a run: one pass over all of them, a second look at the retained rows for exact
//! percentiles, and a report. Several processes can share the work.

use dlio_event::histogram::bucket;
use dlio_event::percentile::P95;
use dlio_event::{Histogram, OpKind};
use dlio_trace::RankTrace;

use crate::diagnosis::sources::ObjectReads;
use crate::durations::DurationHistograms;
use crate::inputs::{Inputs, Options};
use crate::pass::context::{MemoryLimits, PassContext};
use crate::pass::object_reads::ObjectReadCounts;
use crate::pass::objects::{AllRanges, Locator};
use crate::pass::retained_rows::{PercentileQuery, QueryResult, SlowObjects};
use crate::pass::summary::{Summary, join};
use crate::pass::{self, RetainedTraces};
use crate::report::Report;
use crate::report_builder::ReportBuilder;
use crate::threads::fold;
use crate::totals::RunTotals;

/// Number of objects with slow reads whose names are looked up.
const SLOW_OBJECTS: usize = 5;

/// Returns the report on a run.
///
/// # Errors
/// Returns an error if a trace cannot be read.
pub fn report(traces: &[RankTrace], options: &Options) -> Result<Report, dlio_trace::Error> {
    let analysis = Analysis::new(traces, options);
    let share = analysis.read(0, 1)?;
    let query = analysis.query(&share.summary);
    let slow = share.memory.slow_objects(&share.summary.parts, &query).cut();
    let found = share.memory.look_up(&share.summary.parts, &query, &slow);
    drop(share.memory);
    analysis.report(share.summary, &slow, found)
}

/// Analysis of the traces of a run, by one process or by several that all see the files. It takes three rounds: each
/// process reads its share of the traces and sends [`TraceShare::round1`] to all others; [`Analysis::merge`] combines
/// these messages. Then each sends [`TraceShare::round2`], which [`MergedRounds::merge`] combines, and
/// [`TraceShare::round3`]. [`Analysis::finish`] makes the report. The numbers do not depend on the number of processes.
#[derive(Debug)]
pub struct Analysis<'a> {
    inputs: Inputs<'a>,
}

/// The traces that one process has read.
pub struct TraceShare {
    summary: Summary,
    memory: RetainedTraces,
}

/// The merged results of the first rounds, and the query for the next one.
pub struct MergedRounds {
    summary: Summary,
    query: PercentileQuery,
    slow: SlowObjects,
}

impl MergedRounds {
    /// Merges the objects with slow reads of all processes. Returns `None` if a message is not one of
    /// [`TraceShare::round2`].
    #[must_use]
    pub fn merge(mut self, messages: &[Vec<u8>]) -> Option<Self> {
        for bytes in messages {
            self.slow.merge(postcard::from_bytes(bytes).ok()?);
        }
        self.slow = self.slow.cut();
        Some(self)
    }
}

impl TraceShare {
    /// Returns the message of round 1: everything that this process found in its traces.
    #[must_use]
    pub fn round1(&self) -> Vec<u8> {
        // Plain values: serialising to memory cannot fail.
        postcard::to_allocvec(&self.summary).unwrap_or_default()
    }

    /// Returns the message of round 2: the objects of this process with slow reads.
    #[must_use]
    pub fn round2(&self, merged: &MergedRounds) -> Vec<u8> {
        let slow = self.memory.slow_objects(&self.summary.parts, &merged.query);
        postcard::to_allocvec(&slow).unwrap_or_default()
    }

    /// Returns the message of round 3: the values and counts that the query asks for.
    #[must_use]
    pub fn round3(&self, merged: &MergedRounds) -> Vec<u8> {
        let found = self.memory.look_up(&self.summary.parts, &merged.query, &merged.slow);
        postcard::to_allocvec(&found).unwrap_or_default()
    }
}

impl<'a> Analysis<'a> {
    /// Reads the headers of the traces.
    #[must_use]
    pub fn new(traces: &'a [RankTrace], options: &Options) -> Self {
        Self { inputs: Inputs::new(traces, options) }
    }

    /// Returns whether the analysis is streaming: rows are not retained.
    #[must_use]
    pub fn streaming(&self) -> bool {
        self.inputs.streaming
    }

    fn limits(&self) -> MemoryLimits {
        if self.inputs.streaming { MemoryLimits::streaming(self.inputs.traces.len()) } else { MemoryLimits::ALL }
    }

    /// Reads every `processes`-th trace, from number `process` on.
    ///
    /// # Errors
    /// Returns an error if a trace cannot be read.
    pub fn read(&self, process: usize, processes: usize) -> Result<TraceShare, dlio_trace::Error> {
        let mine: Vec<usize> = (0..self.inputs.traces.len()).skip(process).step_by(processes.max(1)).collect();
        let parameters = self.inputs.parameters();
        let context = PassContext {
            traces: self.inputs.traces,
            extent: self.inputs.extent,
            axis: self.inputs.extent.axis(),
            limits: self.limits(),
            keep: !self.inputs.streaming,
            window: parameters.train_window(),
            parameters,
            ranges: AllRanges::default(),
            coverage: pass::samples::CoverageCollector::default(),
            barriers: pass::barriers::BarrierCollector::default(),
        };
        let (summary, memory) = pass::read(context, &mine)?;
        Ok(TraceShare { summary, memory })
    }

    /// Merges the results of all processes. Returns `None` if a message is not one of [`TraceShare::round1`].
    #[must_use]
    pub fn merge(&self, messages: &[Vec<u8>]) -> Option<MergedRounds> {
        let all: Option<Vec<Summary>> = messages.iter().map(|bytes| postcard::from_bytes(bytes).ok()).collect();
        let summary = join(all?, self.limits());
        let query = self.query(&summary);
        Some(MergedRounds { summary, query, slow: SlowObjects::default() })
    }

    /// Returns the report; `None` if a message is not one of [`TraceShare::round3`].
    ///
    /// # Errors
    /// Returns an error if the name of an object cannot be read from its trace.
    pub fn finish(&self, merged: MergedRounds, messages: &[Vec<u8>]) -> Result<Option<Report>, dlio_trace::Error> {
        let mut all = QueryResult::default();
        for bytes in messages {
            let Ok(one) = postcard::from_bytes::<QueryResult>(bytes) else { return Ok(None) };
            all.merge(one);
        }
        self.report(merged.summary, &merged.slow, all).map(Some)
    }

    fn query(&self, summary: &Summary) -> PercentileQuery {
        let all = RunTotals::of(summary);
        let buckets = |times: &DurationHistograms| times.buckets();
        let whole = |durations: &Histogram| {
            DurationHistograms { whole: durations.clone(), ..DurationHistograms::default() }.buckets()
        };
        if self.inputs.streaming {
            return PercentileQuery::default();
        }
        PercentileQuery {
            groups: all.groups.iter().map(|(key, group)| (*key, buckets(&group.times))).collect(),
            ranks: all.ranks.iter().map(|(rank, flow)| (*rank, buckets(&flow.times))).collect(),
            hosts: all.hosts.iter().map(|(host, (_, flow))| (host.clone(), buckets(&flow.times))).collect(),
            endpoints: all.endpoints.iter().map(|(name, flow)| (name.clone(), buckets(&flow.times))).collect(),
            reads: whole(&all.reads),
            kinds: all.kinds().iter().map(|(kind, all)| (*kind, whole(all))).collect(),
            all_reads: whole(&all.merged(OpKind::is_read)),
            all_writes: whole(&all.merged(OpKind::is_write)),
            slow_above: bucket(all.reads.percentile(P95).unwrap_or(0)),
        }
    }

    fn report(&self, summary: Summary, slow: &SlowObjects, found: QueryResult) -> Result<Report, dlio_trace::Error> {
        let sums = RunTotals::of(&summary);
        let counted = if self.inputs.streaming {
            summary.reads.slow(bucket(sums.reads.percentile(P95).unwrap_or(0)))
        } else {
            slow.with_all_reads(&found.reads)
        };
        let slow_objects = self.slow_objects(counted, &sums)?;
        let mut builder = ReportBuilder::new(&self.inputs, summary, sums, found.percentiles);
        let mut diagnosis = builder.explain(slow_objects);
        let steps: Vec<_> =
            diagnosis.slow_steps.iter_mut().filter_map(|step| step.named_at.map(|at| (at, step))).collect();
        let names = self.names(steps.iter().map(|(at, _)| *at))?;
        for ((_, step), name) in steps.into_iter().zip(names) {
            step.object = name;
        }
        Ok(builder.build(diagnosis))
    }

    /// Returns the objects with more than their share of slow reads, those with the most slow reads first.
    fn slow_objects(
        &self,
        mut counted: Vec<ObjectReadCounts>,
        sums: &RunTotals,
    ) -> Result<Vec<ObjectReads>, dlio_trace::Error> {
        let limit = sums.reads.percentile(P95).unwrap_or(0);
        let fair = sums.reads.above(limit) as f64 / (sums.reads.count() as f64).max(1.0);
        counted.retain(|reads| reads.slow as f64 / reads.all.max(1) as f64 > 1.2 * fair);
        counted.sort_by_key(|reads| (std::cmp::Reverse(reads.slow), reads.object));
        counted.truncate(SLOW_OBJECTS);
        let names = self.names(counted.iter().map(|reads| reads.at))?;
        Ok(counted.into_iter().zip(names).map(|(reads, name)| (name, reads.all, reads.slow)).collect())
    }

    /// Returns the object names of the given rows.
    fn names(&self, rows: impl Iterator<Item = Locator>) -> Result<Vec<String>, dlio_trace::Error> {
        let rows: Vec<(usize, Locator)> = rows.enumerate().collect();
        let look = |(at, row): &(usize, Locator), found: &mut Vec<(usize, Result<_, _>)>| {
            let trace = self.inputs.traces.get(row.trace as usize);
            let name = trace.map(|trace| trace.object_name(row.group as usize, row.row as usize));
            found.push((*at, name.unwrap_or(Ok(None))));
        };
        let mut found: Vec<_> = fold(&rows, look).into_iter().flatten().collect();
        found.sort_by_key(|(at, _)| *at);
        found.into_iter().map(|(_, name)| Ok(name?.unwrap_or_default())).collect()
    }
}
