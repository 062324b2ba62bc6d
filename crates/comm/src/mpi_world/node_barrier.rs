//! The barrier of the ranks of one node, in shared memory. A waiting rank spins briefly, sleeps in the kernel for a
//! time too short to delay signals or timers, and then yields its thread until a wake event arrives.
//!
//! Invariant: a rank never sleeps here for longer than [`SLICE`]. Even without a wake event, a waiting rank checks
//! the shared words now and then and lets the MPI library progress, because one of its messages may still be on its
//! way out.
#![expect(unsafe_code, reason = "shared memory between processes has no safe wrapper")]

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use super::backoff::{self, PollBackoff, SpinBudget, Timer};
use super::calls::Comm;
use super::status_board::{Record, StatusBoard};
use super::wake_event::{Counter, WakeEvent, WakeEvents};
use crate::error::Error;
use crate::futex::{sleep_while, wake};
use crate::shared::{Memory, MemoryOffer, accept};

/// Longest sleep within a poll.
const SLICE: Duration = Duration::from_micros(200);
/// Longest interval between two checks while a wake event is expected.
const LOOK: Duration = Duration::from_millis(20);

/// Words shared by the ranks of a node, in different cache lines.
#[repr(C)]
struct Words {
    /// Arrivals of all ranks but the first, over all barriers.
    arrived: AtomicU32,
    /// Nonzero if the first rank waits for arrivals and no longer spins.
    first_sleeps: AtomicU32,
    _apart: [u8; 56],
    /// Number of completed barriers.
    released: AtomicU32,
    /// Number of other ranks that wait for the release and no longer spin.
    others_sleep: AtomicU32,
    /// Process that created the wake events; 0: there are none.
    maker: AtomicU32,
    _apart_too: [u8; 52],
}

/// The barrier of the ranks of one node.
pub(super) struct NodeBarrier {
    node: Comm,
    words: NonNull<Words>,
    board: StatusBoard,
    first: bool,
    /// Arrivals that complete a barrier.
    others: u32,
    /// Barriers that this rank has entered.
    rounds: Cell<u32>,
    looks: SpinBudget,
    /// Wake events for the completion of all arrivals and for the release.
    wake_events: Option<WakeEvents>,
    /// The shared memory of the words and the status board.
    _memory: Memory,
}

/// This rank's state within one barrier.
pub(super) struct BarrierRound {
    /// Number of the barrier, from 1.
    number: u32,
    backoff: PollBackoff,
    /// Whether the rank is counted among the sleepers.
    sleeps: bool,
}

impl NodeBarrier {
    /// Sets up the shared words of a node's ranks; `rank` is this rank's number in the world.
    pub(super) fn new(node: Comm, rank: u32) -> Result<Self, Error> {
        let (local, size) = (node.rank()?, node.size()?);
        let first = local == 0;
        let (memory, words, records) = allocate(&node, first, size as usize)?;
        let board = StatusBoard::new(records, size as usize, local as usize);
        let mut node_barrier = Self {
            node,
            words,
            board,
            first,
            others: size - 1,
            rounds: Cell::new(0),
            looks: SpinBudget::default(),
            wake_events: None,
            _memory: memory,
        };
        node_barrier.board.introduce(rank);
        node_barrier.make_wake_events()?;
        Ok(node_barrier)
    }

    /// Creates the wake events on the first rank and fetches them on the others. Without them, waiting ranks poll
    /// more often.
    fn make_wake_events(&mut self) -> Result<(), Error> {
        let maker = &self.words().maker;
        let wake_events = if self.first {
            let counter = Counter::open();
            maker.store(if counter.is_ok() { std::process::id() } else { 0 }, Ordering::Release);
            self.node.barrier()?.block()?;
            counter.and_then(|counter| counter.serve(self.others))
        } else {
            self.node.barrier()?.block()?;
            match maker.load(Ordering::Acquire) {
                0 => Err(std::io::ErrorKind::NotFound.into()),
                process => WakeEvents::fetch(process),
            }
        };
        // Either all ranks have them or none relies on them.
        let all = self.node.all_gather_number(u64::from(wake_events.is_ok()))?.block()?.numbers();
        self.wake_events = wake_events.ok().filter(|_| !all.contains(&0));
        Ok(())
    }

    fn words(&self) -> &Words {
        // SAFETY: the memory lives as long as `self`; all access is atomic.
        unsafe { self.words.as_ref() }
    }

    /// Returns the status board of the node's ranks.
    pub(super) fn board(&self) -> &StatusBoard {
        &self.board
    }

    /// Returns whether this rank is the one that releases the others.
    pub(super) fn is_first(&self) -> bool {
        self.first
    }

    /// Enters the next barrier.
    pub(super) fn arrive(&self) -> BarrierRound {
        let number = self.rounds.get().wrapping_add(1);
        self.rounds.set(number);
        if !self.first {
            let words = self.words();
            let complete = number.wrapping_mul(self.others);
            if words.arrived.fetch_add(1, Ordering::SeqCst).wrapping_add(1) == complete
                && words.first_sleeps.load(Ordering::SeqCst) > 0
            {
                wake(&words.arrived);
                self.wake_events.iter().for_each(|wake_events| wake_events.arrival.notify());
            }
        }
        BarrierRound { number, backoff: PollBackoff::default(), sleeps: false }
    }

    /// Waits for all other ranks if this is the first one; otherwise waits for the release.
    pub(super) fn wait(
        &self,
        round: &mut BarrierRound,
        timer: &Timer,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let words = self.words();
        if self.first {
            let complete = round.number.wrapping_mul(self.others);
            let sleepers = (&words.first_sleeps, self.wake_events.as_ref().map(|wake_events| &wake_events.arrival));
            self.wait_for((&words.arrived, complete), sleepers, (round, timer), context)
        } else {
            let sleepers = (&words.others_sleep, self.wake_events.as_ref().map(|wake_events| &wake_events.release));
            self.wait_for((&words.released, round.number), sleepers, (round, timer), context)
        }
    }

    /// Releases the other ranks; called by the first rank.
    pub(super) fn release(&self, round: &BarrierRound) {
        let words = self.words();
        words.released.store(round.number, Ordering::SeqCst);
        if words.others_sleep.load(Ordering::SeqCst) > 0 {
            wake(&words.released);
            self.wake_events.iter().for_each(|wake_events| wake_events.release.notify());
        }
    }

    /// Polls until `word` has its value, which it reaches before any rank can change it again.
    fn wait_for(
        &self,
        (word, value): (&AtomicU32, u32),
        (sleepers, wake_event): (&AtomicU32, Option<&WakeEvent>),
        (round, timer): (&mut BarrierRound, &Timer),
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let reached = || word.load(Ordering::SeqCst) == value;
        let done = |round: &mut BarrierRound| {
            if std::mem::take(&mut round.sleeps) {
                sleepers.fetch_sub(1, Ordering::SeqCst);
            }
            Poll::Ready(Ok(()))
        };
        if round.backoff.spins() {
            if self.looks.spin(reached) || backoff::spin(|| Ok(reached()))? {
                return done(round);
            }
            sleepers.fetch_add(1, Ordering::SeqCst);
            round.sleeps = true;
            let seen = word.load(Ordering::SeqCst);
            if seen != value {
                sleep_while(word, seen, SLICE);
            }
        }
        if reached() {
            return done(round);
        }
        self.node.progress()?;
        let pause = round.backoff.pause();
        match wake_event {
            Some(wake_event) if wake_event.wake_on_event(context) => {
                // The event may have occurred before this rank listened.
                if reached() {
                    return done(round);
                }
                timer.wake_after(LOOK, context);
            }
            _ => timer.wake_after(pause, context),
        }
        Poll::Pending
    }
}

/// Allocates memory for the words and one status record per rank: the first rank creates it, the others map it.
fn allocate(node: &Comm, first: bool, ranks: usize) -> Result<(Memory, NonNull<Words>, NonNull<Record>), Error> {
    let needed = size_of::<Words>() + ranks * size_of::<Record>();
    let mine = if first { MemoryOffer::make(needed, needed) } else { Err(String::new()) };
    let offers = node.all_gather_now(MemoryOffer::encode(&mine).as_bytes())?;
    let offered = offers.first().map(|offer| String::from_utf8_lossy(offer).into_owned()).unwrap_or_default();
    let memory = match mine {
        Ok(offer) => Ok(offer.memory),
        Err(reason) if first => Err(reason),
        Err(_) => accept(&offered, needed),
    };
    // Either all ranks of the node have the memory or none uses it. Until all have arrived here, the first one keeps
    // its file open.
    let all = node.all_gather_number(u64::from(memory.is_ok()))?.block()?.numbers();
    let memory = memory.map_err(Error::Library)?;
    if all.contains(&0) {
        return Err(Error::Library("a rank of this node cannot open the node's shared memory".to_owned()));
    }
    let words = memory.at::<Words>(0);
    let records = memory.at::<Record>(size_of::<Words>());
    Ok((memory, words, records))
}
