//! Where the training loop gets its batches from: reader lanes that read ahead, or reads in the loop itself.

use std::cell::RefCell;
use std::sync::Arc;

use dlio_event::{Lane, Position};
use dlio_format::Layout;
use dlio_plan::{HandleState, Split, TrainingPlan};
use dlio_storage::Recorder;
use tokio::sync::watch::Receiver;

use crate::handles::Keys;
use crate::lanes::Lanes;
use crate::reader::{Halt, LaneStatus, Order, ReadKit, Reader};
use crate::watch::Watch;
use crate::{Error, Rig, TrainOptions, Waiting};

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
        layout: layout.clone(),
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
    }
}

impl<'r> Batches<'r> {
    /// Starts the lanes, if the plan has any; otherwise `inline` is what the loop reads with.
    pub(crate) fn start(
        plan: &'r TrainingPlan,
        rig: &'r Rig,
        watch: &mut Watch<'_>,
        inline: (&'r ReadKit, &'r Keys),
        kit: impl Fn(Lane, Option<Receiver<()>>) -> ReadKit,
    ) -> Result<Self, Error> {
        let rank = rig.comm.place().rank;
        let source = if plan.lanes() == 0 {
            let (kit, keys) = inline;
            Source::Inline { reader: Reader::new(kit, keys), status: &kit.status, order: None }
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
    pub(crate) fn begin(&mut self, split: Split, at: Position) {
        self.pass += 1;
        (self.split, self.at) = (split, at);
        let (plan, rank, pass) = (self.plan, self.rank, self.pass);
        let order = |lane| Order {
            pass,
            at,
            steps: Box::new(plan.lane_steps(rank, split, at.epoch, lane)),
            preprocess: Box::new(plan.preprocess_times(rank, split, at.epoch, lane)),
            access: HandleState::new(plan.handles(), plan.files().samples_per_file()),
        };
        match &mut self.source {
            Source::Lanes { lanes, .. } => (0..plan.lanes()).for_each(|lane| lanes.order(lane, order(lane))),
            Source::Inline { reader, order: current, .. } => {
                reader.pass_over();
                *current = Some(order(0));
            }
        }
    }

    /// Waits for the batch of a step; returns its bytes.
    pub(crate) async fn fetch(&mut self, watch: &mut Watch<'_>, at: Position, step: u64) -> Result<u64, Error> {
        let (plan, rig, place) = (self.plan, self.rig, watch.place(at));
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
