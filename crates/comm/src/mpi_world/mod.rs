//! A world of ranks that an MPI launcher started.
//!
//! Invariant: MPI is called from the thread that initialized it (`MPI_THREAD_FUNNELED`), and no collective blocks its
//! thread: each is nonblocking, and every poll tests whether it is done. In a barrier the ranks of a node meet in
//! shared memory, and only the first rank of each node takes part in MPI's barrier. Collectives start in the order in
//! which they are first polled, one after the other; if one is dropped before it is done, later ones complete it.

mod backoff;
mod calls;
mod collective_queue;
mod library;
mod missing_ranks;
mod node_barrier;
mod ordered_collective;
mod request;
mod status_board;
mod wake_event;
mod world;

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use self::backoff::Timer;
use self::calls::{Comm, Session};
use self::collective_queue::CollectiveQueue;
pub use self::library::{Abi, LibraryInfo, look};
use self::missing_ranks::MissingRankReports;
use self::node_barrier::NodeBarrier;
use self::ordered_collective::{Barrier, OrderedCollective};
use self::world::World;
use crate::communicator::{Collective, Communicator, Place};
use crate::error::Error;
use crate::host;
use crate::launcher::Launcher;
use crate::rank_status::{MissingRanks, RankStatus};

/// Most bytes that one MPI call moves, because its counts and offsets are C integers.
const LIMIT: usize = 1 << 30;

/// After this time in a collective, a node reports to the others that it waits.
const REPORT_AFTER: Duration = Duration::from_millis(500);

/// The world of an MPI run. Dropping it finalizes the library, unless a collective is in progress or the thread
/// panics, because the other ranks would not take part.
pub struct Mpi(Rc<World>);

impl Mpi {
    /// Opens an MPI library (the file `library`, or one that fits the launcher), initializes it, and determines this
    /// rank's place.
    ///
    /// # Errors
    /// When no library can be used, MPI was initialized before, funneled threading is not supported, or a call fails.
    pub fn init(library: Option<&Path>, launcher: Option<&Launcher>) -> Result<Mpi, Error> {
        Self::init_with_nodes_of(u32::MAX, library, launcher)
    }

    /// Like [`Mpi::init`], but treats at most `ranks` ranks as one node, so that tests have several nodes on one
    /// machine.
    ///
    /// # Errors
    /// When [`Mpi::init`] would return an error.
    pub fn init_with_nodes_of(ranks: u32, library: Option<&Path>, launcher: Option<&Launcher>) -> Result<Mpi, Error> {
        let session = Session::start(library::open(library, launcher)?)?;
        backoff::precise_sleeps();
        let world = Comm::world(&session)?;
        let shared = world.node()?;
        let node = shared.split(shared.rank()? / ranks.max(1))?;
        let place = find_place(&world, &node)?;
        let leaders = world.split(place.local_rank.min(1))?;
        let node_barrier = make_node_barrier(&world, node, place.rank)?;
        let reports = MissingRankReports::new(gather_places(&world, &place)?);
        Ok(Mpi(Rc::new(World {
            place,
            limit: Cell::new(LIMIT),
            queue: CollectiveQueue::default(),
            timer: Timer::default(),
            reports,
            node_barrier,
            leaders,
            comm: world,
            _session: session,
        })))
    }

    /// Returns the MPI library in use; `None` if MPI was not started.
    #[must_use]
    pub fn library() -> Option<LibraryInfo> {
        library::in_use().map(|library| library.info.clone())
    }

    /// Limits the bytes that one MPI call moves; larger data needs several calls. Tests set a small limit.
    #[must_use]
    pub fn with_call_limit(self, bytes: usize) -> Self {
        self.0.limit.set(bytes.clamp(1, LIMIT));
        self
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        if std::thread::panicking() || !self.0.queue.is_empty() {
            // MPI still holds buffers of this rank, or the other ranks have not finished: the library is not
            // finalized.
            std::mem::forget(Rc::clone(&self.0));
        }
    }
}

/// Creates the shared-memory barrier of a node's ranks. Either all ranks of the world have one or none, because
/// otherwise they would wait in different calls.
fn make_node_barrier(world: &Comm, node: Comm, rank: u32) -> Result<Option<NodeBarrier>, Error> {
    let node_barrier = NodeBarrier::new(node, rank);
    let works = world.all_gather_number(u64::from(node_barrier.is_ok()))?.block()?.numbers();
    if works.contains(&0) { Ok(None) } else { node_barrier.map(Some) }
}

/// Nodes are numbered in the order of their lowest rank, so all ranks compute the same numbers.
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

/// Returns host and node of each rank, in rank order.
fn gather_places(world: &Comm, place: &Place) -> Result<Vec<(String, u32)>, Error> {
    let nodes = world.all_gather_number(place.node.into())?.block()?.numbers();
    let hosts = world.all_gather_now(place.host.as_bytes())?;
    let places = hosts.iter().zip(nodes);
    Ok(places
        .map(|(host, node)| (String::from_utf8_lossy(host).into_owned(), u32::try_from(node).unwrap_or(u32::MAX)))
        .collect())
}

/// Ends every process of an MPI run immediately, from any thread and whoever owns the communicator. Returns without
/// effect if there is no MPI run.
pub fn abort_world(exit_code: i32) {
    calls::abort(exit_code);
}

impl Communicator for Mpi {
    fn place(&self) -> &Place {
        &self.0.place
    }

    fn barrier(&self) -> Collective<'_, ()> {
        Box::pin(OrderedCollective::new(&self.0, Barrier::new(&self.0)))
    }

    fn all_gather<'a>(&'a self, bytes: &'a [u8]) -> Collective<'a, Vec<Vec<u8>>> {
        Box::pin(OrderedCollective::new(&self.0, Box::pin(Rc::clone(&self.0).gather(bytes.to_vec()))))
    }

    fn broadcast<'a>(&'a self, bytes: &'a [u8]) -> Collective<'a, Vec<u8>> {
        let mine = if self.0.place.rank == 0 { bytes.to_vec() } else { Vec::new() };
        Box::pin(OrderedCollective::new(&self.0, Box::pin(Rc::clone(&self.0).broadcast(mine))))
    }

    fn note(&self, status: RankStatus) {
        if let Some(node_barrier) = &self.0.node_barrier {
            node_barrier.board().note(status);
        }
    }

    fn waiting(&self, waited: Duration) {
        let world = &self.0;
        if world.place.nodes == 1 || waited < REPORT_AFTER {
            return;
        }
        let missing = world.missing_here();
        if !missing.reported_elsewhere {
            let place = (world.place.rank, world.place.node);
            // A failed report only leaves the other nodes uninformed.
            let _ = world.reports.send_report(&world.comm, place, world.queue.entered(), &missing.ranks);
        }
    }

    fn missing(&self) -> MissingRanks {
        self.0.missing()
    }

    fn abort(&self, _message: &str, exit_code: i32) {
        abort_world(exit_code);
    }
}
