//! Ranks that an MPI launcher started.
//!
//! Invariant: MPI is called from the thread that initialized it (`MPI_THREAD_FUNNELED`), and a waiting rank sleeps
//! instead of burning a core: in a barrier the ranks of a node meet in shared memory and only the first one of each
//! node takes part in MPI's, which it polls with back-off. A collective blocks its thread, the training loop's.

mod calls;
mod meeting;
mod wait;

use mpi::Threading;
use mpi::environment::Universe;

use self::calls::Comm;
use self::meeting::Meeting;
use crate::{Collective, Communicator, Error, Place, host};

/// Bytes that one MPI call moves at most: its counts and offsets are C integers.
const LIMIT: usize = 1 << 30;

/// The world of an MPI run; dropping it finalizes the library.
pub struct Mpi {
    place: Place,
    limit: usize,
    // The order matters: windows and communicators are freed before the library is finalized.
    /// Where the ranks of this node meet; `None` if some node cannot share memory.
    meeting: Option<Meeting>,
    /// The first ranks of all nodes (of which this is one), or the others, who do not use it.
    leaders: Comm,
    world: Comm,
    _universe: Universe,
}

impl Mpi {
    /// Initializes MPI and finds this rank's place.
    ///
    /// # Errors
    /// When MPI was initialized before, does not support funneled threading, or a call fails.
    pub fn init() -> Result<Mpi, Error> {
        Self::init_with_nodes_of(u32::MAX)
    }

    /// As [`Mpi::init`], and takes at most `ranks` ranks for one node: tests see several nodes on one machine.
    ///
    /// # Errors
    /// As [`Mpi::init`].
    pub fn init_with_nodes_of(ranks: u32) -> Result<Mpi, Error> {
        let Some((universe, level)) = mpi::initialize_with_threading(Threading::Funneled) else {
            return Err(Error::Library("MPI was initialized before; a process can do it once".to_owned()));
        };
        if level < Threading::Funneled {
            return Err(Error::Library(format!(
                "{} supports no threads beside the one that calls MPI (MPI_THREAD_FUNNELED); use a build that does",
                Mpi::library()
            )));
        }
        wait::precise_sleeps();
        let world = Comm::world()?;
        let shared = world.node()?;
        let node = shared.split(shared.rank()? / ranks.max(1))?;
        let place = find_place(&world, &node)?;
        let leaders = world.split(place.local_rank.min(1))?;
        let meeting = meet_in_memory(&world, node)?;
        Ok(Mpi { place, limit: LIMIT, meeting, leaders, world, _universe: universe })
    }

    fn barrier_now(&self) -> Result<(), Error> {
        let Some(meeting) = &self.meeting else { return self.world.barrier() };
        meeting.meet(|| if self.place.nodes > 1 { self.leaders.barrier() } else { Ok(()) })
    }

    /// Name and version of the MPI library.
    #[must_use]
    pub fn library() -> String {
        calls::library()
    }

    /// Moves at most `bytes` in one MPI call: larger data goes in several. Tests set a small limit.
    #[must_use]
    pub fn with_call_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes.clamp(1, LIMIT);
        self
    }

    /// Lengths first, then rounds in which every rank passes at most its share of the limit.
    fn gather_now(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        let ranks = self.place.size as usize;
        let mut lengths = vec![0; ranks];
        self.world.all_gather_numbers(mine.len() as u64, &mut lengths)?;
        let lengths = lengths.into_iter().map(to_usize).collect::<Result<Vec<_>, _>>()?;
        let share = (self.limit / ranks).max(1);
        let mut all: Vec<Vec<u8>> = lengths.iter().map(|len| Vec::with_capacity(*len)).collect();
        let mut buffer = Vec::new();
        while all.iter().zip(&lengths).any(|(got, len)| got.len() < *len) {
            let counts: Vec<usize> = all.iter().zip(&lengths).map(|(got, len)| (len - got.len()).min(share)).collect();
            let own = self.place.rank as usize;
            let sent = all[own].len();
            buffer.resize(counts.iter().sum(), 0);
            self.world.all_gather_bytes(&mine[sent..sent + counts[own]], &counts, &mut buffer)?;
            let mut rest = buffer.as_slice();
            for (got, count) in all.iter_mut().zip(counts) {
                let (part, tail) = rest.split_at(count);
                got.extend_from_slice(part);
                rest = tail;
            }
        }
        Ok(all)
    }

    fn broadcast_now(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let root = self.place.rank == 0;
        let mut len = (bytes.len() as u64).to_le_bytes();
        self.world.broadcast(&mut len)?;
        let mut all = if root { bytes.to_vec() } else { vec![0; to_usize(u64::from_le_bytes(len))?] };
        for part in all.chunks_mut(self.limit) {
            self.world.broadcast(part)?;
        }
        Ok(all)
    }
}

fn to_usize(len: u64) -> Result<usize, Error> {
    usize::try_from(len).map_err(|_| Error::Library(format!("{len} bytes do not fit into this process's memory")))
}

/// The meeting place of a node's ranks. All ranks of the world have one or none has: they would wait for each other
/// in different calls.
fn meet_in_memory(world: &Comm, node: Comm) -> Result<Option<Meeting>, Error> {
    let meeting = Meeting::new(node);
    let mut works = vec![0; world.size()? as usize];
    world.all_gather_numbers(u64::from(meeting.is_ok()), &mut works)?;
    if works.contains(&0) { Ok(None) } else { meeting.map(Some) }
}

/// Nodes are numbered in the order of their lowest rank, so every rank comes to the same numbers by itself.
fn find_place(world: &Comm, node: &Comm) -> Result<Place, Error> {
    let (rank, size) = (world.rank()?, world.size()?);
    let (local_rank, local_size) = (node.rank()?, node.size()?);
    let mut locals = vec![0; local_size as usize];
    node.all_gather_numbers(u64::from(rank), &mut locals)?;
    let leader = locals.iter().copied().min().unwrap_or_default();
    let mut leaders = vec![0; size as usize];
    world.all_gather_numbers(leader, &mut leaders)?;
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

impl Communicator for Mpi {
    fn place(&self) -> &Place {
        &self.place
    }

    fn barrier(&self) -> Collective<'_, ()> {
        Box::pin(async { self.barrier_now() })
    }

    fn all_gather<'a>(&'a self, bytes: &'a [u8]) -> Collective<'a, Vec<Vec<u8>>> {
        Box::pin(async move { self.gather_now(bytes) })
    }

    fn broadcast<'a>(&'a self, bytes: &'a [u8]) -> Collective<'a, Vec<u8>> {
        Box::pin(async move { self.broadcast_now(bytes) })
    }

    fn abort(&self, _message: &str, exit_code: i32) {
        self.world.abort(exit_code);
    }
}
