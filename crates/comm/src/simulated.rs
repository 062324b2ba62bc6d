//! Simulated worlds: many ranks in one process, on one or several threads, for simulation and tests.
//!
//! Invariant: if a rank can never arrive (it aborted, was dropped, or called another collective), the other ranks'
//! collectives fail instead of waiting forever.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::communicator::{Collective, Communicator, Place};
use crate::error::Error;
use crate::rank_status::{MissingRank, MissingRanks, RankStatus};

/// A rank of a simulated world.
pub struct Simulated {
    place: Place,
    world: Arc<Mutex<World>>,
    /// Number of this rank's next collective; ranks meet in collectives of the same number.
    next: Cell<u64>,
}

#[derive(Default)]
struct World {
    size: usize,
    rounds: BTreeMap<u64, BarrierRound>,
    /// Status and host of each rank.
    status: Vec<(RankStatus, String)>,
    /// Ranks that were dropped.
    gone: Vec<usize>,
    end: Option<End>,
}

/// Reason why no further collective can succeed.
#[derive(Clone)]
enum End {
    Aborted { rank: u32, message: String },
    Broken(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Barrier,
    AllGather,
    Broadcast,
}

/// A collective from the arrival of the first rank to the departure of the last.
struct BarrierRound {
    kind: Kind,
    parts: Vec<Option<Vec<u8>>>,
    wakers: Vec<Option<Waker>>,
    arrived: usize,
    left: usize,
}

impl Simulated {
    /// Creates `size` ranks on one node.
    #[must_use]
    pub fn world(size: u32) -> Vec<Simulated> {
        Self::on_nodes(&[size])
    }

    /// Creates `ranks[n]` ranks on node `n`, numbered node by node.
    #[must_use]
    pub fn on_nodes(ranks: &[u32]) -> Vec<Simulated> {
        let size: u32 = ranks.iter().sum();
        let hosts = (0..).zip(ranks).flat_map(|(node, ranks)| (0..*ranks).map(move |_| host(node)));
        let status = hosts.map(|host| (RankStatus::default(), host)).collect();
        let world = Arc::new(Mutex::new(World { size: size as usize, status, ..World::default() }));
        let nodes = u32::try_from(ranks.len()).unwrap_or(u32::MAX);
        let places = (0..nodes)
            .zip(ranks)
            .flat_map(|(node, local_size)| (0..*local_size).map(move |local_rank| (node, *local_size, local_rank)));
        (0..size)
            .zip(places)
            .map(|(rank, (node, local_size, local_rank))| Simulated {
                place: Place { rank, size, node, nodes, local_rank, local_size, host: host(node) },
                world: Arc::clone(&world),
                next: Cell::new(0),
            })
            .collect()
    }

    fn enter<'a>(&'a self, kind: Kind, bytes: &'a [u8]) -> Joining<'a> {
        Joining { rank: self, kind, bytes, round: None }
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self) -> usize {
        self.place.rank as usize
    }
}

impl World {
    fn wake_all(&mut self) -> Vec<Waker> {
        self.rounds.values_mut().flat_map(BarrierRound::wakers).collect()
    }

    fn finish(&mut self, end: End) -> Vec<Waker> {
        self.end.get_or_insert(end);
        self.wake_all()
    }

    /// Returns the error that every rank sees, if the world has ended.
    fn check(&self) -> Result<(), Error> {
        match self.end.clone() {
            None => Ok(()),
            Some(End::Aborted { rank, message }) => Err(Error::Aborted { rank, message }),
            Some(End::Broken(message)) => Err(Error::Library(message)),
        }
    }

    /// Records that a rank has left a collective; the last one removes it.
    fn leave(&mut self, number: u64) {
        if let Some(round) = self.rounds.get_mut(&number) {
            round.left += 1;
            if round.left == self.size {
                self.rounds.remove(&number);
            }
        }
    }
}

impl BarrierRound {
    fn new(kind: Kind, size: usize) -> Self {
        Self { kind, parts: vec![None; size], wakers: vec![None; size], arrived: 0, left: 0 }
    }

    fn wakers(&mut self) -> Vec<Waker> {
        self.wakers.iter_mut().filter_map(Option::take).collect()
    }

    /// Returns the result of the collective; `None` while a rank is missing.
    fn result(&self) -> Option<Vec<Vec<u8>>> {
        if self.arrived < self.parts.len() {
            return None;
        }
        let wanted = match self.kind {
            Kind::Barrier => 0,
            Kind::AllGather => self.parts.len(),
            Kind::Broadcast => 1,
        };
        Some(self.parts.iter().take(wanted).map(|part| part.clone().unwrap_or_default()).collect())
    }
}

fn host(node: u32) -> String {
    format!("simulated-{node}")
}

/// Combines the parts of all ranks, of rank 0, or of none, depending on the kind.
type Joined = Result<Vec<Vec<u8>>, Error>;

/// A rank in a collective, which it enters when it is first polled, like a call to MPI.
struct Joining<'a> {
    rank: &'a Simulated,
    kind: Kind,
    bytes: &'a [u8],
    round: Option<u64>,
}

impl Joining<'_> {
    /// Adds this rank's part to its collective; returns the ranks to wake.
    fn arrive(&mut self, world: &mut World) -> Vec<Waker> {
        let number = self.rank.next.get();
        self.rank.next.set(number + 1);
        self.round = Some(number);
        let size = world.size;
        let round = world.rounds.entry(number).or_insert_with(|| BarrierRound::new(self.kind, size));
        if round.kind != self.kind {
            let message = format!(
                "rank {} called {:?} where another rank called {:?} (collective {number}); every rank must call the \
                 same collectives in the same order",
                self.rank.place.rank, self.kind, round.kind
            );
            return world.finish(End::Broken(message));
        }
        round.parts[self.rank.index()] = Some(self.bytes.to_vec());
        round.arrived += 1;
        if round.arrived == size { round.wakers() } else { Vec::new() }
    }

    fn advance(&mut self, waker: &Waker) -> (Poll<Joined>, Vec<Waker>) {
        let rank = self.rank;
        let mut world = rank.lock();
        if let Err(error) = world.check() {
            return (Poll::Ready(Err(error)), Vec::new());
        }
        let mut wake = Vec::new();
        if self.round.is_none() {
            wake = self.arrive(&mut world);
            if let Err(error) = world.check() {
                return (Poll::Ready(Err(error)), wake);
            }
        }
        let world = &mut *world;
        let Some(round) = self.round.and_then(|number| world.rounds.get_mut(&number)) else {
            return (Poll::Pending, wake);
        };
        if let Some(result) = round.result() {
            return (Poll::Ready(Ok(result)), wake);
        }
        if let Some(gone) = world.gone.iter().find(|gone| round.parts[**gone].is_none()) {
            let message =
                format!("rank {gone} left the world before the {:?} that rank {} is in", self.kind, rank.place.rank);
            return (Poll::Ready(Err(Error::Library(message))), wake);
        }
        round.wakers[rank.index()] = Some(waker.clone());
        (Poll::Pending, wake)
    }
}

impl Future for Joining<'_> {
    type Output = Joined;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (poll, wake) = self.advance(context.waker());
        wake.into_iter().for_each(Waker::wake);
        poll
    }
}

impl Drop for Joining<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.round {
            self.rank.lock().leave(number);
        }
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        let index = self.index();
        let wake = {
            let mut world = self.lock();
            world.gone.push(index);
            world.wake_all()
        };
        wake.into_iter().for_each(Waker::wake);
    }
}

impl Communicator for Simulated {
    fn place(&self) -> &Place {
        &self.place
    }

    fn barrier(&self) -> Collective<'_, ()> {
        Box::pin(async { self.enter(Kind::Barrier, &[]).await.map(|_| ()) })
    }

    fn all_gather<'a>(&'a self, bytes: &'a [u8]) -> Collective<'a, Vec<Vec<u8>>> {
        Box::pin(self.enter(Kind::AllGather, bytes))
    }

    fn broadcast<'a>(&'a self, bytes: &'a [u8]) -> Collective<'a, Vec<u8>> {
        let bytes = if self.place.rank == 0 { bytes } else { &[] };
        Box::pin(async move { self.enter(Kind::Broadcast, bytes).await.map(|mut parts| parts.swap_remove(0)) })
    }

    fn note(&self, status: RankStatus) {
        let index = self.index();
        if let Some(place) = self.lock().status.get_mut(index) {
            place.0 = status;
        }
    }

    fn missing(&self) -> MissingRanks {
        let world = self.lock();
        // The collective that this rank entered last.
        let round = self.next.get().checked_sub(1).and_then(|number| world.rounds.get(&number));
        let Some(round) = round else { return MissingRanks::default() };
        let is_missing = |rank: usize| round.parts.get(rank).is_none_or(Option::is_none);
        let ranks = (0..).zip(&world.status).filter(|(rank, _)| is_missing(*rank as usize));
        let ranks = ranks.map(|(rank, (status, host))| MissingRank {
            rank,
            host: host.clone(),
            process: None,
            status: Some(*status),
        });
        MissingRanks {
            ranks: ranks.collect(),
            unseen: false,
            reported_elsewhere: (0..self.index()).any(|rank| !is_missing(rank)),
        }
    }

    fn abort(&self, message: &str, _exit_code: i32) {
        let end = End::Aborted { rank: self.place.rank, message: message.to_owned() };
        let wake = self.lock().finish(end);
        wake.into_iter().for_each(Waker::wake);
    }
}
