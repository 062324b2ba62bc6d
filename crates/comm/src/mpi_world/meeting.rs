//! Where the ranks of one node meet: words of shared memory. A rank that waits spins for a moment, sleeps in the kernel for
//! a moment that no signal or timer could notice, and then leaves its thread to others until a bell rings.
//!
//! Invariant: a rank never sleeps here for longer than [`SLICE`]. A waiting rank looks at the words now and then even where
//! no bell rings, and lets the MPI library progress, because a message of this rank may still be on its way out.
#![expect(unsafe_code, reason = "shared memory between processes has no safe wrapper")]

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use super::bell::{Bell, Bells, Counter};
use super::board::{Board, Record};
use super::calls::Comm;
use super::pause::{self, Looks, Patience, Timer};
use crate::error::Error;
use crate::futex::{sleep_while, wake};
use crate::shared::{Memory, Offer, accept};

/// Longest sleep within a poll.
const SLICE: Duration = Duration::from_micros(200);
/// Longest time between two looks where a bell rings.
const LOOK: Duration = Duration::from_millis(20);

/// What the ranks of a node share. The words are in different cache lines.
#[repr(C)]
struct Words {
    /// Arrivals of all ranks but the first, over all meetings.
    arrived: AtomicU32,
    /// The first rank waits for arrivals and no longer spins.
    first_sleeps: AtomicU32,
    _apart: [u8; 56],
    /// Meetings that are over.
    released: AtomicU32,
    /// How many of the others wait for the release and no longer spin.
    others_sleep: AtomicU32,
    /// The process that has made the bells; 0: there are none.
    maker: AtomicU32,
    _apart_too: [u8; 52],
}

/// The meeting place of the ranks of one node.
pub(super) struct Meeting {
    node: Comm,
    words: NonNull<Words>,
    board: Board,
    first: bool,
    /// Arrivals that make a meeting complete.
    others: u32,
    /// Meetings that this rank has been through.
    rounds: Cell<u32>,
    looks: Looks,
    /// What rings when all have arrived, and when the meeting is over.
    bells: Option<Bells>,
    /// Where the words and the board are.
    _memory: Memory,
}

/// A rank within a meeting.
pub(super) struct Round {
    /// Number of the meeting, from 1.
    number: u32,
    patience: Patience,
    /// It is counted among those that sleep.
    sleeps: bool,
}

impl Meeting {
    /// Sets up the shared words of a node's ranks; `rank` is this rank's number in the world.
    pub(super) fn new(node: Comm, rank: u32) -> Result<Self, Error> {
        let (local, size) = (node.rank()?, node.size()?);
        let first = local == 0;
        let (memory, words, records) = allocate(&node, first, size as usize)?;
        let board = Board::new(records, size as usize, local as usize);
        let mut meeting = Self {
            node,
            words,
            board,
            first,
            others: size - 1,
            rounds: Cell::new(0),
            looks: Looks::default(),
            bells: None,
            _memory: memory,
        };
        meeting.board.introduce(rank);
        meeting.hang_bells()?;
        Ok(meeting)
    }

    /// The first rank makes the bells, the others fetch them; without them waiting ranks look more often.
    fn hang_bells(&mut self) -> Result<(), Error> {
        let maker = &self.words().maker;
        let bells = if self.first {
            let counter = Counter::open();
            maker.store(if counter.is_ok() { std::process::id() } else { 0 }, Ordering::Release);
            self.node.barrier()?.block()?;
            counter.and_then(|counter| counter.serve(self.others))
        } else {
            self.node.barrier()?.block()?;
            match maker.load(Ordering::Acquire) {
                0 => Err(std::io::ErrorKind::NotFound.into()),
                process => Bells::fetch(process),
            }
        };
        // All ranks have them or none relies on them.
        let all = self.node.all_gather_number(u64::from(bells.is_ok()))?.block()?.numbers();
        self.bells = bells.ok().filter(|_| !all.contains(&0));
        Ok(())
    }

    fn words(&self) -> &Words {
        // SAFETY: the memory lives as long as `self`; all access is atomic.
        unsafe { self.words.as_ref() }
    }

    /// What the ranks of the node do.
    pub(super) fn board(&self) -> &Board {
        &self.board
    }

    /// Whether this rank is the one that lets the others go.
    pub(super) fn is_first(&self) -> bool {
        self.first
    }

    /// This rank has come to the next meeting.
    pub(super) fn arrive(&self) -> Round {
        let number = self.rounds.get().wrapping_add(1);
        self.rounds.set(number);
        if !self.first {
            let words = self.words();
            let complete = number.wrapping_mul(self.others);
            if words.arrived.fetch_add(1, Ordering::SeqCst).wrapping_add(1) == complete
                && words.first_sleeps.load(Ordering::SeqCst) > 0
            {
                wake(&words.arrived);
                self.bells.iter().for_each(|bells| bells.arrival.ring());
            }
        }
        Round { number, patience: Patience::default(), sleeps: false }
    }

    /// The first rank waits for all others; the others wait until it lets them go.
    pub(super) fn wait(&self, round: &mut Round, timer: &Timer, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let words = self.words();
        if self.first {
            let complete = round.number.wrapping_mul(self.others);
            let sleepers = (&words.first_sleeps, self.bells.as_ref().map(|bells| &bells.arrival));
            self.wait_for((&words.arrived, complete), sleepers, (round, timer), context)
        } else {
            let sleepers = (&words.others_sleep, self.bells.as_ref().map(|bells| &bells.release));
            self.wait_for((&words.released, round.number), sleepers, (round, timer), context)
        }
    }

    /// The first rank lets the others go.
    pub(super) fn release(&self, round: &Round) {
        let words = self.words();
        words.released.store(round.number, Ordering::SeqCst);
        if words.others_sleep.load(Ordering::SeqCst) > 0 {
            wake(&words.released);
            self.bells.iter().for_each(|bells| bells.release.ring());
        }
    }

    /// Looks whether `word` has its value, which it reaches before any rank can change it again.
    fn wait_for(
        &self,
        (word, value): (&AtomicU32, u32),
        (sleepers, bell): (&AtomicU32, Option<&Bell>),
        (round, timer): (&mut Round, &Timer),
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let reached = || word.load(Ordering::SeqCst) == value;
        let done = |round: &mut Round| {
            if std::mem::take(&mut round.sleeps) {
                sleepers.fetch_sub(1, Ordering::SeqCst);
            }
            Poll::Ready(Ok(()))
        };
        if round.patience.spins() {
            if self.looks.spin(reached) || pause::spin(|| Ok(reached()))? {
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
        let pause = round.patience.pause();
        match bell {
            Some(bell) if bell.hear(context) => {
                // It may have rung before it was listened to.
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

/// Memory for the words and, behind them, a record of each rank: the first rank makes it, the others map it.
fn allocate(node: &Comm, first: bool, ranks: usize) -> Result<(Memory, NonNull<Words>, NonNull<Record>), Error> {
    let needed = size_of::<Words>() + ranks * size_of::<Record>();
    let mine = if first { Offer::make(needed, needed) } else { Err(String::new()) };
    let offers = node.all_gather_now(Offer::encode(&mine).as_bytes())?;
    let offered = offers.first().map(|offer| String::from_utf8_lossy(offer).into_owned()).unwrap_or_default();
    let memory = match mine {
        Ok(offer) => Ok(offer.memory),
        Err(reason) if first => Err(reason),
        Err(_) => accept(&offered, needed),
    };
    // All ranks of the node have it or none uses it; until all have come here, the first one keeps its file open.
    let all = node.all_gather_number(u64::from(memory.is_ok()))?.block()?.numbers();
    let memory = memory.map_err(Error::Library)?;
    if all.contains(&0) {
        return Err(Error::Library("a rank of this node cannot open the node's shared memory".to_owned()));
    }
    let words = memory.at::<Words>(0);
    let records = memory.at::<Record>(size_of::<Words>());
    Ok((memory, words, records))
}
