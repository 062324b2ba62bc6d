//! The workers of a replay: started as they are needed, and how operations get to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use dlio_plan::replay::{Edges, Late, ReplayOp, Timing};
use tokio::sync::{mpsc, watch};

use super::board::{Board, Staff};
use super::body::Budget;
use super::handles::Handles;
use super::loops::Loops;
use super::worker::{Report, Shared, Source, Worker};
use super::{AT, ReplayOptions, TOLERANCE, WINDOW};
use crate::reader::Halt;
use crate::{Error, LaneHost, Place, Rig};

/// Workers that a schedule begins with: one waits for the next moment, one issues, and others as many as were busy when it was recorded.
const FEWEST: usize = 3;
const AT_FIRST: usize = 64;

/// The workers as the main task sees them.
pub(super) struct Crew {
    inboxes: Inboxes,
    reports: mpsc::UnboundedReceiver<Vec<Report>>,
    /// Until no more workers can be needed: the reports end with the last that could make one.
    hire: Option<Hire>,
}

/// Where operations go.
enum Inboxes {
    Board(Arc<Board>),
    /// Queues of workers, each started with its first operation. The first so many share all lanes but those of training loops; each of these has its own, because
    /// it waits for others.
    Lanes(Vec<Option<mpsc::Sender<ReplayOp>>>, usize),
    /// Nothing more comes.
    Closed,
}

/// What a worker needs.
struct Hire {
    shared: Shared,
    options: ReplayOptions,
    host: LaneHost,
    rank: u32,
}

impl Hire {
    fn start(&self, number: usize, source: Source) -> Result<(), Error> {
        let (ended, told) = (BTreeMap::new(), Vec::new());
        let worker = Worker { shared: self.shared.clone(), options: self.options.clone(), ended, told };
        self.host.start(format!("replay-{number}"), move || worker.live(source)).map_err(|source| Error::LaneStart {
            place: Place { rank: self.rank, at: AT },
            lane: u32::try_from(number).unwrap_or(u32::MAX),
            source,
        })
    }
}

/// What the main task hears of the crew.
pub(super) enum News {
    Done(Vec<Report>),
    /// There is room for an operation.
    Room,
    /// Another worker is needed.
    Short,
    /// No more can be needed.
    Enough,
    /// All workers have ended.
    Over,
}

impl Crew {
    /// The first workers; others follow when they are needed.
    pub(super) fn start(
        rig: &Rig,
        options: &ReplayOptions,
        released: &watch::Receiver<()>,
    ) -> Result<(Self, Shared), Error> {
        let open = options.timing == Timing::Open;
        let most = options.inflight.min(if open { u32::MAX } else { options.lanes }).max(1) as usize;
        let (report, reports) = mpsc::unbounded_channel();
        let mut storages = vec![rig.storage.clone()];
        storages.extend(options.routes.iter().cloned());
        let shared = Shared {
            storages: storages.into(),
            clock: rig.clock.clone(),
            events: rig.events.clone(),
            start: Arc::new(AtomicU64::new(0)),
            handles: Arc::new(Handles::default()),
            loops: Arc::new(Loops::new(options.loops)),
            halt: Halt { cancel: options.cancel.clone(), released: Some(released.clone()) },
            reports: report,
            running: Arc::new(AtomicU64::new(0)),
            tickets: Arc::new(AtomicU64::new(0)),
            ready: Arc::new(Budget::default()),
        };
        let rank = rig.comm.place().rank;
        let hire = Hire { shared: shared.clone(), options: options.clone(), host: rig.lanes, rank };
        let inboxes = if open {
            let first =
                usize::try_from(options.peak).unwrap_or(AT_FIRST).saturating_add(1).clamp(FEWEST, AT_FIRST).min(most);
            let tolerance = (options.late == Late::Skip).then_some(TOLERANCE);
            let board = Arc::new(Board::new((first, most), WINDOW, tolerance));
            for number in 0..first {
                hire.start(number, Source::Board(Arc::clone(&board), number))?;
            }
            Inboxes::Board(board)
        } else {
            // Program order only: the schedule knows no training loops.
            Inboxes::Lanes((0..most + options.loops.0 as usize).map(|_| None).collect(), most)
        };
        Ok((Self { inboxes, reports, hire: Some(hire) }, shared))
    }

    /// Hands an operation out for which there is room.
    pub(super) fn give(&mut self, op: ReplayOp) -> Result<(), Error> {
        match &mut self.inboxes {
            Inboxes::Board(board) => board.push(op),
            Inboxes::Lanes(queues, shared) => {
                let number = queue_of(&op, (queues.len(), *shared));
                if let (None, Some(hire)) = (&queues[number], &self.hire) {
                    let (queue, inbox) = mpsc::channel((WINDOW / *shared).max(16));
                    hire.start(number, Source::Lanes(inbox))?;
                    queues[number] = Some(queue);
                }
                if let Some(queue) = &queues[number] {
                    // There is room unless the worker ended early, which is found out with the next operation.
                    drop(queue.try_send(op));
                }
            }
            Inboxes::Closed => {}
        }
        Ok(())
    }

    /// Nothing more comes: workers end when they have done what they have, and with them the reports.
    pub(super) fn close(&mut self) {
        match &self.inboxes {
            Inboxes::Board(board) => board.close(),
            Inboxes::Lanes(..) | Inboxes::Closed => {
                (self.inboxes, self.hire) = (Inboxes::Closed, None);
            }
        }
    }

    /// Waits for what comes first; `op` is the next to be handed out.
    pub(super) async fn news(&mut self, op: Option<&ReplayOp>) -> News {
        let (inboxes, hiring) = (&self.inboxes, self.hire.is_some());
        let room = async {
            match (inboxes, op) {
                (Inboxes::Board(board), Some(_)) => board.has_room().await,
                (Inboxes::Lanes(queues, shared), Some(op)) => {
                    // One that is not there yet has room.
                    if let Some(queue) = &queues[queue_of(op, (queues.len(), *shared))] {
                        // Workers end early only when the replay was cancelled.
                        return queue.reserve().await.is_ok();
                    }
                }
                _ => std::future::pending().await,
            }
            true
        };
        let staff = async {
            match inboxes {
                Inboxes::Board(board) if hiring => board.staff().await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            report = self.reports.recv() => report.map_or(News::Over, News::Done),
            staff = staff => match staff {
                Staff::Short => News::Short,
                Staff::Enough => News::Enough,
            },
            room = room => if room { News::Room } else { News::Over },
        }
    }

    /// Starts another worker of the schedule.
    pub(super) fn grow(&self) -> Result<(), Error> {
        if let (Inboxes::Board(board), Some(hire)) = (&self.inboxes, &self.hire) {
            let Some(number) = board.begin_one() else { return Ok(()) };
            hire.start(number, Source::Board(Arc::clone(board), number))?;
        }
        Ok(())
    }

    /// No more workers are started.
    pub(super) fn settle(&mut self) {
        self.hire = None;
    }
}

/// Which of so many queues an operation goes to, where the first `shared` are for all lanes.
fn queue_of(op: &ReplayOp, (all, shared): (usize, usize)) -> usize {
    let queue = match op.edges {
        Edges { own: true, group, .. } => shared + group as usize % (all - shared).max(1),
        _ => op.lane as usize % shared.max(1),
    };
    queue % all.max(1)
}
