//! Where the training loop gets its batches from: reader lanes that read ahead, or reads in the loop itself.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use dlio_comm::Activity;
use dlio_event::{Lane, Position};
use dlio_format::Layout;
use dlio_plan::{HandleState, LaneStep, List, Lookups, Split, TrainingPlan};
use dlio_storage::Recorder;
use tokio::sync::oneshot;
use tokio::sync::watch::Receiver;

use crate::lanes::{LaneOrder, Lanes};
use crate::reader::{Halt, LaneStatus, Order, ReadKit, Reader};
use crate::stream::StreamOrder;
use crate::watch::Watch;
use crate::{Error, LaneHost, Rig, TrainOptions, Waiting};

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
    Inline { reader: Reader<'r>, status: &'r LaneStatus, order: Option<Order> },
}

/// Makes what each lane needs.
pub(crate) fn kit_maker<'r>(
    plan: &'r TrainingPlan,
    layout: &'r Layout,
    rig: &'r Rig,
    options: &'r TrainOptions,
) -> impl Fn(Lane, Option<Receiver<()>>) -> ReadKit + use<'r> {
    move |lane, released| ReadKit {
        files: plan.files().clone(),
        layout: if plan.whole_files() { layout.clone().read_whole() } else { layout.clone() },
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
        decode: options.decode,
        indexes: RefCell::default(),
        footers: RefCell::default(),
        blocks: rig.lanes == LaneHost::Threads && rig.storage.blocks(),
        unclaimed: Cell::new(0),
    }
}

impl<'r> Batches<'r> {
    /// Starts the lanes, if the plan has any; otherwise `inline` is what the loop reads with.
    pub(crate) fn start(
        plan: &'r TrainingPlan,
        rig: &'r Rig,
        watch: &mut Watch<'_>,
        inline: &'r ReadKit,
        kit: impl Fn(Lane, Option<Receiver<()>>) -> ReadKit,
    ) -> Result<Self, Error> {
        let rank = rig.comm.place().rank;
        let source = if plan.lanes() == 0 {
            Source::Inline { reader: Reader::new(inline), status: &inline.status, order: None }
        } else {
            let extent = (plan.lanes(), plan.window());
            let mut statuses = Vec::new();
            let kit = |lane, main| {
                let kit = kit(lane, Some(main));
                statuses.push(kit.status.clone());
                kit
            };
            let (lanes, failures) = Lanes::start(rig.lanes, extent, rank, kit)?;
            watch.set_failures(failures);
            Source::Lanes { lanes, statuses }
        };
        Ok(Self { plan, rig, rank, split: Split::Train, at: Position::default(), pass: 0, source })
    }

    /// Starts reading for an epoch or an evaluation.
    pub(crate) async fn begin(&mut self, watch: &mut Watch<'_>, split: Split, at: Position) -> Result<(), Error> {
        let (plan, rank) = (self.plan, self.rank);
        self.make_lists(watch, split, at).await?;
        self.start_pass(split, at, |lane, pass| {
            if let Some(pipeline) = plan.pipeline() {
                let (pieces, batches) = (plan.pieces(rank, split, at.epoch, lane), plan.lane_batches(split, lane));
                let stagger = plan.stagger(lane);
                LaneOrder::Stream(StreamOrder { pass, at, pipeline, pieces, batches, stagger, warms: false })
            } else {
                let preprocess = Box::new(plan.preprocess_times(rank, split, at.epoch, lane));
                let lookups = Some(plan.lookups(rank, split, at.epoch, lane));
                steps(plan, (pass, at), plan.lane_steps(rank, split, at.epoch, lane), preprocess, lookups)
            }
        });
        Ok(())
    }

    /// Makes the long lists of an epoch, or waits until another rank of the node has made them; that rank may be stopped.
    async fn make_lists(&self, watch: &mut Watch<'_>, split: Split, at: Position) -> Result<(), Error> {
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
                // Nobody waits any more where the run has ended.
                let _ = done.send(());
            };
            thread.spawn(work).is_ok()
        };
        if !started {
            make_lists(self.plan, &lists, epoch);
            return Ok(());
        }
        let waiting = || Waiting::Work { what: "the shuffled lists of the epoch, which one rank of each node makes" };
        // A list that was not made is made by who asks for it.
        watch.attend(at, waiting, made).await.map(drop)
    }

    /// Starts reading what warms up for an epoch: its first batch, outside everything that is timed.
    pub(crate) fn begin_prewarm(&mut self, epoch: u32) {
        let (plan, rank, at) = (self.plan, self.rank, Position::default());
        self.start_pass(Split::Train, at, |lane, pass| {
            if let Some(pipeline) = plan.pipeline() {
                let batches = Box::new(plan.prewarm_batch(lane).into_iter());
                let pieces = plan.prewarm_pieces(rank, epoch, lane);
                let stagger = Duration::ZERO;
                LaneOrder::Stream(StreamOrder { pass, at, pipeline, pieces, batches, stagger, warms: true })
            } else {
                let step = Box::new(plan.prewarm(rank, epoch, lane).into_iter());
                steps(plan, (pass, at), step, Box::new(std::iter::empty()), None)
            }
        });
    }

    fn start_pass(&mut self, split: Split, at: Position, work: impl Fn(u32, u32) -> LaneOrder) {
        self.pass += 1;
        (self.split, self.at) = (split, at);
        match &mut self.source {
            Source::Lanes { lanes, .. } => {
                (0..self.plan.lanes()).for_each(|lane| lanes.order(lane, work(lane, self.pass)));
            }
            Source::Inline { reader, order, .. } => {
                reader.pass_over();
                // A plan without lanes has no streams.
                if let LaneOrder::Steps(first) = work(0, self.pass) {
                    *order = Some(first);
                }
            }
        }
    }

    /// Waits for the batch of a step; returns its bytes.
    pub(crate) async fn fetch(&mut self, watch: &mut Watch<'_>, at: Position, step: u64) -> Result<u64, Error> {
        let (plan, rig, place) = (self.plan, self.rig, watch.place(at));
        watch.begin(at, Activity::Loading);
        let defect = |what: String| Error::Defect { place, what };
        let object = |status: &LaneStatus| status.file().map(|file| rig.storage.uri(&plan.files().key(file)));
        match &mut self.source {
            Source::Lanes { lanes, statuses } => {
                let mut bytes = 0;
                for lane in plan.contributors(self.rank, self.split, at.epoch, step) {
                    let status = statuses.get(lane as usize);
                    let waiting = || Waiting::Batch { lane, object: status.and_then(|status| object(status)) };
                    let handed = watch.attend(at, waiting, lanes.next(lane, self.pass)).await?;
                    bytes += match handed {
                        Some(handed) if handed.step == step => handed.bytes,
                        Some(handed) => return Err(defect(format!("lane {lane} delivered step {}", handed.step))),
                        // A lane ends early only because of an error, which it told before it ended.
                        None => return Err(watch.told().unwrap_or_else(|| defect(format!("lane {lane} has ended")))),
                    };
                }
                Ok(bytes)
            }
            Source::Inline { reader, status, order } => {
                let order = order.as_mut().ok_or_else(|| defect("nothing was ordered".to_owned()))?;
                let Some(next) = order.steps.next() else { return Err(defect("the plan has no such step".to_owned())) };
                let waiting = || Waiting::Batch { lane: 0, object: object(status) };
                watch.attend(at, waiting, reader.read(order, &next)).await?
            }
        }
    }

    /// Reads the batch that is read and never computed on, where the plan has one; returns its bytes.
    pub(crate) async fn surplus(&mut self, watch: &mut Watch<'_>, at: Position, step: u64) -> Result<u64, Error> {
        let planned = self.plan.contributors(self.rank, self.split, at.epoch, step).next().is_some();
        if planned { self.fetch(watch, at, step).await } else { Ok(0) }
    }
}

/// Lists of fewer numbers than this are made when they are asked for.
const LONG_LIST: u32 = 1 << 20;

/// Makes the long lists of an epoch at the same time. Where no thread can be had, who asks for a list makes it.
fn make_lists(plan: &TrainingPlan, lists: &[List], epoch: u32) {
    let Some((own, others)) = lists.split_last() else { return };
    std::thread::scope(|scope| {
        for list in others {
            let thread = std::thread::Builder::new().name("list".to_owned());
            let _ = thread.spawn_scoped(scope, || plan.make_list(*list, epoch));
        }
        plan.make_list(*own, epoch);
    });
}

fn steps(
    plan: &TrainingPlan,
    (pass, at): (u32, Position),
    steps: Box<dyn Iterator<Item = LaneStep> + Send>,
    preprocess: Box<dyn Iterator<Item = Duration> + Send>,
    lookups: Option<Lookups>,
) -> LaneOrder {
    let access = HandleState::new(plan.handles(), plan.files().samples_per_file());
    LaneOrder::Steps(Order { pass, at, steps, preprocess, lookups, access })
}
