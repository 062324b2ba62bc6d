//! The part of a replay that one rank does: its traces, its plan, and the rig of the engine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dlio_comm::Place;
use dlio_engine::{LaneHost, ReplayOptions, Rig};
use dlio_event::{EventSink, NullSink, OpKind};
use dlio_plan::replay::{
    EndpointRule, Error as PlanError, Operations, Options as PlanOptions, Recorded, ReplayKind, ReplayPlan,
    Requirement, Rule, Share, Survey, Timing, merged,
};
use dlio_trace::RankTrace;

use crate::backend::Opened;
use crate::failure::chain;
use crate::failure::{Code, Failure};
use crate::front_end::FrontEnd;
use crate::message::Verbosity;
use crate::options::Options;
use crate::outputs::meter::{Tally, Task};
use crate::outputs::progress::{ProgressReporter, Replaying};
use crate::replay::options::TraceOptions;
use crate::resolve::config_source::ConfigWords;
use crate::session::Session;

/// Reason why a replay does not begin, and the remedy.
pub(crate) const CHANGES: &str = "the trace writes or deletes objects where it was recorded: give `--map FROM=TO` for another place, `--op read` to leave \
                       that out, or `--in-place` if it is meant";

/// A trace to replay.
pub(crate) struct ReplayRequest<'a> {
    /// Folder of the trace.
    pub(crate) folder: PathBuf,
    /// Overrides of the configuration.
    pub(crate) config: &'a ConfigWords,
    pub(crate) target: &'a Options,
    pub(crate) args: &'a TraceOptions,
    pub(crate) verbosity: Verbosity,
}

/// The part of a replay that one rank does.
pub(crate) struct Job<'a> {
    pub(crate) folder: PathBuf,
    pub(crate) traces: Vec<RankTrace>,
    pub(crate) plan: ReplayPlan,
    pub(crate) survey: Survey,
    pub(crate) requirements: Vec<Requirement>,
    pub(crate) args: &'a TraceOptions,
    pub(crate) target: &'a Options,
    pub(crate) rank: u32,
}

impl<'a> Job<'a> {
    pub(crate) fn new(wanted: &ReplayRequest<'a>, front: &FrontEnd, place: &Place) -> Result<Self, Failure> {
        let (rank, size) = (place.rank, place.size);
        let args = wanted.args;
        let inside = wanted.folder.join("trace");
        let folder = if inside.is_dir() { inside } else { wanted.folder.clone() };
        let mut traces = dlio_trace::read_dir(&folder).map_err(|error| Failure::new(Code::Trace, chain(&error)))?;
        let here = std::env::current_dir().map_err(|error| Failure::file("finding", Path::new("."), &error))?;
        let rules = args.map.iter().map(|text| Rule::parse(text)).collect::<Result<_, _>>().map_err(plan_failure)?;
        let requirements = args.require.iter().map(|text| Requirement::parse(text)).collect::<Result<_, _>>();
        let options = PlanOptions {
            mapping: args.mapping(),
            speed: args.speed.unwrap_or(1.0),
            from: args.from,
            to: args.to,
            operations: Operations::parse(&args.op).map_err(plan_failure)?,
            ranks: args.rank.clone(),
            objects: args.object.clone(),
            rules,
            endpoints: args
                .map_endpoint
                .iter()
                .map(|text| EndpointRule::parse(text))
                .collect::<Result<_, _>>()
                .map_err(plan_failure)?,
            sample: args.sample_objects.as_deref().map(Share::parse).transpose().map_err(plan_failure)?,
            failed: args.issues_failed,
            dependent: args.timing() == Timing::Dependent,
            scale: args.scale_size.unwrap_or(1.0),
            whole: args.whole_writes,
            folder: here.display().to_string(),
        };
        let began = traces.iter().filter_map(RankTrace::time_range).map(|(start, _)| start).min().unwrap_or(0);
        let recorded = traces.iter().map(|trace| trace.header.rank).collect();
        let plan = ReplayPlan::new(options, recorded, size, began).map_err(plan_failure)?;
        let survey = survey(wanted, front, &mut traces, (&plan, rank))?;
        let requirements = requirements.map_err(plan_failure)?;
        let job = Self { folder, traces, plan, survey, requirements, args, target: wanted.target, rank };
        if job.changes_the_recorded() && !args.dry_run {
            return Err(Failure::usage(CHANGES));
        }
        Ok(job)
    }

    /// Whether the replay would write or delete objects where the trace was recorded, without permission.
    pub(crate) fn changes_the_recorded(&self) -> bool {
        self.survey.changes() && self.plan.options().rules.is_empty() && !self.args.in_place
    }

    /// Number of operations of this rank in all passes.
    pub(crate) fn operations(&self) -> u64 {
        let once: u64 = self.survey.kinds.values().map(|(count, _)| *count).sum();
        once.saturating_mul(u64::from(self.args.repeat.unwrap_or(1)))
    }

    /// Bytes that this rank writes in one pass; objects that are written repeatedly count each time.
    pub(crate) fn written(&self) -> u64 {
        self.survey.kinds.iter().filter(|(kind, _)| **kind == ReplayKind::Write).map(|(_, (_, bytes))| bytes).sum()
    }

    pub(crate) fn options(&self, session: &Session) -> ReplayOptions {
        ReplayOptions {
            timing: self.args.timing(),
            late: self.args.late(),
            inflight: self.args.max_inflight.unwrap_or(64),
            peak: self.survey.peak,
            lanes: self.survey.lanes,
            routes: Vec::new(),
            loops: (0, 0),
            seed: session.loaded.workload.dlio_rs.payload_seed,
            lead: Duration::from_millis(100),
            stall_after: self.target.stall_limits(),
            cancel: session.front.stop.cancel_flag(),
        }
    }
}

/// Reads all rows of this rank once to collect totals; rank 0 shows progress.
fn survey(
    wanted: &ReplayRequest<'_>,
    front: &FrontEnd,
    traces: &mut [RankTrace],
    (plan, rank): (&ReplayPlan, u32),
) -> Result<Survey, Failure> {
    let (sources, tally) = (plan.sources(rank), Arc::new(Tally::default()));
    for trace in traces.iter_mut() {
        trace.count_rows_in(tally.done());
    }
    let total = sources.iter().map(|source| traces[*source].rows).sum();
    let task = Task::counting("Reading the trace", "rows", total);
    let notes = Arc::clone(&front.observer);
    let shows = rank == 0 && wanted.verbosity > Verbosity::Quiet;
    let _shown = shows.then(|| front.observer.progress(task, &tally, Box::new(move |line| notes.note(line))));
    plan.survey(rank, rows(traces, &sources)?).map_err(plan_failure)
}

pub(crate) fn plan_failure(error: PlanError) -> Failure {
    let code = if matches!(error, PlanError::Trace(_)) { Code::Trace } else { Code::Usage };
    Failure::new(code, error)
}

type Rows = Box<dyn Iterator<Item = Result<Recorded, PlanError>>>;

/// Returns the rows of recorded ranks in the order of their start times.
pub(crate) fn rows(traces: &[RankTrace], sources: &[usize]) -> Result<Rows, Failure> {
    let open = |index: &usize| rows_of(&traces[*index], u32::try_from(*index).unwrap_or(u32::MAX));
    Ok(Box::new(merged(sources.iter().map(open).collect::<Result<Vec<Rows>, Failure>>()?)))
}

fn rows_of(trace: &RankTrace, source: u32) -> Result<Rows, Failure> {
    let batches = trace.batches().map_err(|error| Failure::new(Code::Trace, chain(&error)))?;
    let rows = batches.flat_map(move |batch| match batch {
        Err(error) => vec![Err(PlanError::Trace(chain(&error)))],
        Ok(batch) => {
            let mut names: BTreeMap<usize, Arc<str>> = BTreeMap::new();
            let wanted = |at: &usize| {
                let kind = batch.kind[*at];
                kind.is_storage() || matches!(kind, OpKind::Fetch | OpKind::Compute | OpKind::Barrier)
            };
            let mut endpoints: BTreeMap<usize, Arc<str>> = BTreeMap::new();
            let recorded = (0..batch.len()).filter(wanted).map(|at| {
                let row = batch.row(at);
                let uri = batch.object.key(at).map_or_else(Arc::default, |key| {
                    let name = || batch.object.value(key).unwrap_or_default().into();
                    Arc::clone(names.entry(key).or_insert_with(name))
                });
                let endpoint = batch.endpoint.key(at).map(|key| {
                    let name = || batch.endpoint.value(key).unwrap_or_default().into();
                    Arc::clone(endpoints.entry(key).or_insert_with(name))
                });
                Ok(Recorded {
                    source,
                    lane: row.lane(),
                    kind: row.kind(),
                    at: row.position(),
                    uri,
                    endpoint,
                    offset: row.offset(),
                    requested: row.requested(),
                    bytes: row.bytes(),
                    object_size: row.object_size(),
                    start: row.start(),
                    end: row.end(),
                    ok: row.outcome() == dlio_event::Outcome::Ok,
                })
            });
            recorded.collect::<Vec<_>>()
        }
    });
    Ok(Box::new(rows))
}

pub(crate) fn rig(
    session: &Session,
    opened: &Opened,
    events: Option<Arc<dyn EventSink>>,
    shows: &ProgressReporter,
) -> Rig {
    Rig {
        storage: opened.storage.clone(),
        comm: Rc::clone(&session.bare),
        clock: session.clock.clone(),
        events: events.unwrap_or_else(|| Arc::new(NullSink)),
        lanes: LaneHost::Threads,
        observer: Rc::new(Replaying::new(session, shows)),
    }
}
