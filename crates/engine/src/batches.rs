//! The source of batches of the training loop: reader lanes that read ahead, or reads in the loop itself.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use dlio_comm::Activity;
use dlio_event::{Lane, Position};
use dlio_format::Layout;
use dlio_plan::{LaneWork, PermutationKey, Split, StepWork, TrainingPlan};
use dlio_storage::Recorder;
use tokio::sync::oneshot;
use tokio::sync::watch::Receiver;

use crate::lane_context::LaneContext;
use crate::lane_files::ReaderState;
use crate::lane_status::{Halt, LaneStatus};
use crate::lanes::Lanes;
use crate::orders::{LaneOrder, Pass};
use crate::reader::Reader;
use crate::train_options::TrainOptions;
use crate::watchdog::Watchdog;
use crate::{Error, LaneHost, Rig, Waiting};

/// The source of batches of one rank.
pub(crate) struct Batches<'r> {
    plan: &'r TrainingPlan,
    rig: &'r Rig,
    rank: u32,
    split: Split,
    at: Position,
    pass: u32,
    source: Source<'r>,
}

enum Source<'r> {
    Lanes { lanes: Lanes, statuses: Vec<Arc<LaneStatus>> },
    Inline { reader: Reader<'r>, status: &'r LaneStatus, order: Option<(Pass, StepWork)> },
}

/// Returns a function that creates the context of each lane.
pub(crate) fn context_maker<'r>(
    plan: &'r TrainingPlan,
    layout: &'r Layout,
    rig: &'r Rig,
    options: &'r TrainOptions,
) -> impl Fn(Lane, Option<Receiver<()>>) -> LaneContext + use<'r> {
    move |lane, released| LaneContext {
        files: plan.files().clone(),
        state: ReaderState::for_plan(plan, layout, options.decode),
        handles: plan.handles(),
        storage: rig.storage.clone(),
        clock: rig.clock.clone(),
        events: rig.events.clone(),
        recorder: RefCell::new(Recorder::new(rig.events.clone(), lane)),
        inflight: options.inflight.max(1) as usize,
        rank: rig.comm.place().rank,
        lane,
        halt: Halt { cancel: options.cancel.clone(), released },
        status: LaneStatus::new(),
        blocks: rig.lanes == LaneHost::Threads && rig.storage.blocks(),
        unclaimed: Cell::new(0),
    }
}

impl<'r> Batches<'r> {
    /// Starts the lanes, if the plan has any; otherwise the loop reads with the context `inline`.
    pub(crate) fn start(
        plan: &'r TrainingPlan,
        rig: &'r Rig,
        watchdog: &mut Watchdog<'_>,
        inline: &'r LaneContext,
        context: impl Fn(Lane, Option<Receiver<()>>) -> LaneContext,
    ) -> Result<Self, Error> {
        let rank = rig.comm.place().rank;
        let source = if plan.lanes() == 0 {
            Source::Inline { reader: Reader::new(inline), status: &inline.status, order: None }
        } else {
            let extent = (plan.lanes(), plan.window());
            let mut statuses = Vec::new();
            let context = |lane, main| {
                let context = context(lane, Some(main));
                statuses.push(context.status.clone());
                context
            };
            let (lanes, failures) = Lanes::start(rig.lanes, extent, rank, context)?;
            watchdog.set_failures(failures);
            Source::Lanes { lanes, statuses }
        };
        Ok(Self { plan, rig, rank, split: Split::Train, at: Position::default(), pass: 0, source })
    }

    /// Starts to read for an epoch or an evaluation.
    pub(crate) async fn begin(&mut self, watchdog: &mut Watchdog<'_>, split: Split, at: Position) -> Result<(), Error> {
        let (plan, rank) = (self.plan, self.rank);
        self.make_lists(watchdog, split, at).await?;
        self.start_pass(split, at, |lane| plan.lane_work(rank, split, at.epoch, lane));
        Ok(())
    }

    /// Creates the long lists of an epoch, or waits until another rank of the node has created them. The wait can be cancelled, because
    /// that rank may be stopped.
    async fn make_lists(&self, watchdog: &mut Watchdog<'_>, split: Split, at: Position) -> Result<(), Error> {
        let mut lists = self.plan.lists(split);
        lists.retain(|list| list.len >= LONG_LIST);
        if lists.is_empty() {
            return Ok(());
        }
        let (plan, epoch) = (self.plan.clone(), at.epoch);
        let (done, made) = oneshot::channel();
        let thread = std::thread::Builder::new().name("lists".to_owned());
        let started = self.rig.lanes == LaneHost::Threads && {
            let lists = lists.clone();
            let work = move || {
                make_lists(&plan, &lists, epoch);
                // Sending fails only when the run has ended.
                let _ = done.send(());
            };
            thread.spawn(work).is_ok()
        };
        if !started {
            make_lists(self.plan, &lists, epoch);
            return Ok(());
        }
        let waiting = || Waiting::Work { what: "the shuffled lists of the epoch, which one rank of each node makes" };
        // A list that is still missing is created on first use.
        watchdog.wait_for(at, waiting, made).await.map(drop)
    }

    /// Starts to read the warm-up of an epoch: its first batch, outside of all measured times.
    pub(crate) fn begin_prewarm(&mut self, epoch: u32) {
        let (plan, rank, at) = (self.plan, self.rank, Position::default());
        self.start_pass(Split::Train, at, |lane| plan.prewarm_work(rank, epoch, lane));
    }

    fn start_pass(&mut self, split: Split, at: Position, work: impl Fn(u32) -> LaneWork) {
        self.pass += 1;
        (self.split, self.at) = (split, at);
        let pass = Pass { number: self.pass, at };
        match &mut self.source {
            Source::Lanes { lanes, .. } => {
                (0..self.plan.lanes()).for_each(|lane| lanes.order(lane, LaneOrder { pass, work: work(lane) }));
            }
            Source::Inline { reader, order, .. } => {
                reader.end_pass();
                // A plan without lanes has no streams.
                if let LaneWork::Steps(steps) = work(0) {
                    *order = Some((pass, steps));
                }
            }
        }
    }

    /// Waits for the batch of a step; returns its size in bytes.
    pub(crate) async fn fetch(&mut self, watchdog: &mut Watchdog<'_>, at: Position, step: u64) -> Result<u64, Error> {
        let (plan, rig, place) = (self.plan, self.rig, watchdog.place(at));
        watchdog.announce(at, Activity::Loading);
        let defect = |what: String| Error::Defect { place, what };
        let object = |status: &LaneStatus| status.file().map(|file| rig.storage.uri(&plan.files().name(file)));
        match &mut self.source {
            Source::Lanes { lanes, statuses } => {
                let mut bytes = 0;
                for lane in plan.contributors(self.rank, self.split, at.epoch, step) {
                    let status = statuses.get(lane as usize);
                    let waiting = || Waiting::Batch { lane, object: status.and_then(|status| object(status)) };
                    let handed = watchdog.wait_for(at, waiting, lanes.next(lane, self.pass)).await?;
                    bytes += match handed {
                        Some(handed) if handed.step == step => handed.bytes,
                        Some(handed) => return Err(defect(format!("lane {lane} delivered step {}", handed.step))),
                        // A lane ends early only after it has reported an error.
                        None => {
                            return Err(watchdog
                                .lane_error()
                                .unwrap_or_else(|| defect(format!("lane {lane} has ended"))));
                        }
                    };
                }
                Ok(bytes)
            }
            Source::Inline { reader, status, order } => {
                let (pass, work) = order.as_mut().ok_or_else(|| defect("nothing was ordered".to_owned()))?;
                let Some(next) = work.steps.next() else { return Err(defect("the plan has no such step".to_owned())) };
                let waiting = || Waiting::Batch { lane: 0, object: object(status) };
                watchdog.wait_for(at, waiting, reader.read(*pass, work, &next)).await?
            }
        }
    }

    /// Reads the surplus batch, which the plan reads but never computes on, if there is one; returns its size in bytes.
    pub(crate) async fn surplus(&mut self, watchdog: &mut Watchdog<'_>, at: Position, step: u64) -> Result<u64, Error> {
        let planned = self.plan.contributors(self.rank, self.split, at.epoch, step).next().is_some();
        if planned { self.fetch(watchdog, at, step).await } else { Ok(0) }
    }
}

/// Lists with fewer numbers than this are created on first use.
const LONG_LIST: u32 = 1 << 20;

/// Creates the long lists of an epoch in parallel. If a thread cannot be started, its list is created on first use.
fn make_lists(plan: &TrainingPlan, lists: &[PermutationKey], epoch: u32) {
    let Some((own, others)) = lists.split_last() else { return };
    std::thread::scope(|scope| {
        for list in others {
            let thread = std::thread::Builder::new().name("list".to_owned());
            let _ = thread.spawn_scoped(scope, || plan.make_list(*list, epoch));
        }
        plan.make_list(*own, epoch);
    });
}
