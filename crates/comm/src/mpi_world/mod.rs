//! Ranks that an MPI launcher started.
//!
//! Invariant: MPI is called from the thread that initialized it (`MPI_THREAD_FUNNELED`), and no collective blocks its
//! thread: each is started, and every poll looks whether it is done. In a barrier the ranks of a node meet in shared memory,
//! and only the first one of each node takes part in MPI's. Collectives are begun in the order in which they are first
//! polled, one after the other; one that is dropped before it is done is brought to its end by those that follow.

mod bell;
mod board;
mod calls;
mod library;
mod meeting;
mod pause;
mod queue;
mod request;
mod roll_call;
mod turn;
mod world;

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use self::calls::{Comm, Session};
pub use self::library::{Abi, Family, LibraryInfo, look};
use self::meeting::Meeting;
use self::pause::Timer;
use self::queue::Queue;
use self::roll_call::RollCall;
use self::turn::{Barrier, Turn};
use self::world::World;
use crate::communicator::{Collective, Communicator, Place};
use crate::doing::{Absence, Doing};
use crate::error::Error;
use crate::host;
use crate::launcher::Launcher;

/// Bytes that one MPI call moves at most: its counts and offsets are C integers.
const LIMIT: usize = 1 << 30;

/// After this time in a collective a node tells the others that it waits.
const SPEAK_AFTER: Duration = Duration::from_millis(500);

/// The world of an MPI run; dropping it finalizes the library, unless a collective is still under way, or the thread panics:
/// the others would not come to it.
pub struct Mpi(Rc<World>);

impl Mpi {
    /// Opens an MPI library (the file `library`, or one that fits the launcher), initializes it and finds this rank's place.
    ///
    /// # Errors
    /// When no library can be used, MPI was initialized before, does not support funneled threading, or a call fails.
    pub fn init(library: Option<&Path>, launcher: Option<&Launcher>) -> Result<Mpi, Error> {
        Self::init_with_nodes_of(u32::MAX, library, launcher)
    }

    /// As [`Mpi::init`], and takes at most `ranks` ranks for one node: tests see several nodes on one machine.
    ///
    /// # Errors
    /// As [`Mpi::init`].
    pub fn init_with_nodes_of(ranks: u32, library: Option<&Path>, launcher: Option<&Launcher>) -> Result<Mpi, Error> {
        let session = Session::start(library::open(library, launcher)?)?;
        pause::precise_sleeps();
        let world = Comm::world(&session)?;
        let shared = world.node()?;
        let node = shared.split(shared.rank()? / ranks.max(1))?;
        let place = find_place(&world, &node)?;
        let leaders = world.split(place.local_rank.min(1))?;
        let meeting = meet_in_memory(&world, node, place.rank)?;
        let roll_call = RollCall::new(gather_places(&world, &place)?);
        Ok(Mpi(Rc::new(World {
            place,
            limit: Cell::new(LIMIT),
            queue: Queue::default(),
            timer: Timer::default(),
            roll_call,
            meeting,
            leaders,
            comm: world,
            _session: session,
        })))
    }

    /// The MPI library in use; none where MPI was not started.
    #[must_use]
    pub fn library() -> Option<LibraryInfo> {
        library::in_use().map(|library| library.info.clone())
    }

    /// Moves at most `bytes` in one MPI call: larger data goes in several. Tests set a small limit.
    #[must_use]
    pub fn with_call_limit(self, bytes: usize) -> Self {
        self.0.limit.set(bytes.clamp(1, LIMIT));
        self
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        if std::thread::panicking() || !self.0.queue.is_empty() {
            // MPI still has buffers of ours, or the others are not at their end: the library is left as it is.
            std::mem::forget(Rc::clone(&self.0));
        }
    }
}

/// The meeting place of a node's ranks. All ranks of the world have one or none has: they would wait for each other
/// in different calls.
fn meet_in_memory(world: &Comm, node: Comm, rank: u32) -> Result<Option<Meeting>, Error> {
    let meeting = Meeting::new(node, rank);
    let works = world.all_gather_number(u64::from(meeting.is_ok()))?.block()?.numbers();
    if works.contains(&0) { Ok(None) } else { meeting.map(Some) }
}

/// Nodes are numbered in the order of their lowest rank, so every rank comes to the same numbers by itself.
fn find_place(world: &Comm, node: &Comm) -> Result<Place, Error> {
    let (rank, size) = (world.rank()?, world.size()?);
    let (local_rank, local_size) = (node.rank()?, node.size()?);
    let locals = node.all_gather_number(u64::from(rank))?.block()?.numbers();
    let leader = locals.iter().copied().min().unwrap_or_default();
    let mut leaders = world.all_gather_number(leader)?.block()?.numbers();
    leaders.sort_unstable();
    leaders.dedup();
    let number = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
    Ok(Place {
        rank,
        size,
        node: number(leaders.partition_point(|other| *other < leader)),
        nodes: number(leaders.len()),
        local_rank,
        local_size,
        host: host::name(),
    })
}

/// Host and node of each rank, in rank order.
fn gather_places(world: &Comm, place: &Place) -> Result<Vec<(String, u32)>, Error> {
    let nodes = world.all_gather_number(place.node.into())?.block()?.numbers();
    let hosts = world.all_gather_now(place.host.as_bytes())?;
    let places = hosts.iter().zip(nodes);
    Ok(places
        .map(|(host, node)| (String::from_utf8_lossy(host).into_owned(), u32::try_from(node).unwrap_or(u32::MAX)))
        .collect())
}

/// Ends every process of an MPI run at once, whatever this thread is doing, and whoever has the communicator. Returns where
/// there is no such run.
pub fn abort_world(exit_code: i32) {
    calls::abort(exit_code);
}

impl Communicator for Mpi {
    fn place(&self) -> &Place {
        &self.0.place
    }

    fn barrier(&self) -> Collective<'_, ()> {
        Box::pin(Turn::new(&self.0, Barrier::new(&self.0)))
    }

    fn all_gather<'a>(&'a self, bytes: &'a [u8]) -> Collective<'a, Vec<Vec<u8>>> {
        Box::pin(Turn::new(&self.0, Box::pin(Rc::clone(&self.0).gather(bytes.to_vec()))))
    }

    fn broadcast<'a>(&'a self, bytes: &'a [u8]) -> Collective<'a, Vec<u8>> {
        let mine = if self.0.place.rank == 0 { bytes.to_vec() } else { Vec::new() };
        Box::pin(Turn::new(&self.0, Box::pin(Rc::clone(&self.0).broadcast(mine))))
    }

    fn note(&self, doing: Doing) {
        if let Some(meeting) = &self.0.meeting {
            meeting.board().note(doing);
        }
    }

    fn waiting(&self, waited: Duration) {
        let world = &self.0;
        if world.place.nodes == 1 || waited < SPEAK_AFTER {
            return;
        }
        let absence = world.absent_here();
        if !absence.told_elsewhere {
            let place = (world.place.rank, world.place.node);
            // What cannot be sent is not known elsewhere.
            let _ = world.roll_call.speak(&world.comm, place, world.queue.entered(), &absence.ranks);
        }
    }

    fn absent(&self) -> Absence {
        self.0.absent()
    }

    fn abort(&self, _message: &str, exit_code: i32) {
        abort_world(exit_code);
    }
}
