//! Where the ranks of one node meet: two words of shared memory and the kernel's futex.
//!
//! Invariant: a waiting rank sleeps in the kernel until the last one comes. It wakes now and then only to let the
//! MPI library progress, because a message of this rank may still be on its way out.
#![expect(unsafe_code, reason = "shared memory between processes has no safe wrapper")]

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mpi::ffi;

use super::calls::{Comm, check};
use super::wait;
use crate::Error;
use crate::futex::{sleep_while, wake};

/// Longest sleep between two looks at MPI's progress.
const SLEEP_MAX: Duration = Duration::from_millis(20);

/// What the ranks of a node share. The words are in different cache lines; MPI aligns the memory to 8 bytes only.
#[repr(C)]
struct Words {
    /// Arrivals of all ranks but the first, over all meetings.
    arrived: AtomicU32,
    _apart: [u8; 60],
    /// Meetings that are over.
    released: AtomicU32,
}

/// The meeting place of the ranks of one node.
pub(super) struct Meeting {
    node: Comm,
    window: ffi::MPI_Win,
    words: NonNull<Words>,
    first: bool,
    /// Arrivals that make a meeting complete.
    others: u32,
    /// Meetings that this rank has been through.
    rounds: Cell<u32>,
}

impl Meeting {
    /// Sets up the shared words of a node's ranks.
    pub(super) fn new(node: Comm) -> Result<Self, Error> {
        let (rank, size) = (node.rank()?, node.size()?);
        let (window, words) = allocate(&node, rank == 0)?;
        let meeting = Self { node, window, words, first: rank == 0, others: size - 1, rounds: Cell::new(0) };
        // The memory is new and zero; nobody may use it before everybody has it.
        meeting.node.barrier()?;
        Ok(meeting)
    }

    fn words(&self) -> &Words {
        // SAFETY: the window lives as long as `self`; all access is atomic.
        unsafe { self.words.as_ref() }
    }

    /// Waits for all ranks of the node; the first one does `between` when all are here and before any leaves.
    pub(super) fn meet(&self, between: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        let round = self.rounds.get();
        self.rounds.set(round.wrapping_add(1));
        let complete = round.wrapping_add(1).wrapping_mul(self.others);
        let words = self.words();
        if self.first {
            self.wait_for(&words.arrived, complete)?;
            between()?;
            words.released.store(round.wrapping_add(1), Ordering::Release);
            wake(&words.released);
            return Ok(());
        }
        if words.arrived.fetch_add(1, Ordering::AcqRel).wrapping_add(1) == complete {
            wake(&words.arrived);
        }
        self.wait_for(&words.released, round.wrapping_add(1))
    }

    /// Waits until `word` has this value, which it reaches before any rank can change it again.
    fn wait_for(&self, word: &AtomicU32, value: u32) -> Result<(), Error> {
        let reached = || word.load(Ordering::Acquire) == value;
        if wait::spin(|| Ok(reached()))? {
            return Ok(());
        }
        let mut pause = Duration::from_millis(1);
        loop {
            let seen = word.load(Ordering::Acquire);
            if seen == value {
                return Ok(());
            }
            sleep_while(word, seen, pause);
            if !reached() {
                self.node.progress()?;
                pause = (pause * 2).min(SLEEP_MAX);
            }
        }
    }
}

fn allocate(node: &Comm, first: bool) -> Result<(ffi::MPI_Win, NonNull<Words>), Error> {
    let bytes: ffi::MPI_Aint = if first { size_of::<Words>().cast_signed() } else { 0 };
    let mut base: *mut c_void = ptr::null_mut();
    // SAFETY: collective on the node's communicator; all pointers are writable for the calls.
    let window = unsafe {
        let mut window = ffi::RSMPI_WIN_NULL;
        let place = (&raw mut base).cast::<c_void>();
        let code = ffi::MPI_Win_allocate_shared(bytes, 1, ffi::RSMPI_INFO_NULL, node.raw(), place, &raw mut window);
        check("MPI_Win_allocate_shared", code)?;
        let (mut size, mut unit): (ffi::MPI_Aint, c_int) = (0, 0);
        let code = ffi::MPI_Win_shared_query(window, 0, &raw mut size, &raw mut unit, place);
        check("MPI_Win_shared_query", code)?;
        window
    };
    let words = NonNull::new(base.cast::<Words>())
        .filter(|words| words.is_aligned())
        .ok_or_else(|| Error::Library("MPI_Win_shared_query gave no usable memory".to_owned()))?;
    if first {
        // SAFETY: the segment has the size of `Words` and nobody else uses it before the barrier that follows.
        unsafe {
            words.as_ptr().write(Words { arrived: AtomicU32::new(0), _apart: [0; 60], released: AtomicU32::new(0) });
        }
    }
    Ok((window, words))
}

impl Drop for Meeting {
    fn drop(&mut self) {
        // SAFETY: the window is ours and freed once, before its communicator.
        unsafe { ffi::MPI_Win_free(&raw mut self.window) };
    }
}
