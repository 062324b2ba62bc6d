//! Collectives that wait for their turn, and the barrier.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::backoff::PollBackoff;
use super::node_barrier::BarrierRound;
use super::request::Request;
use super::world::World;
use crate::error::Error;

/// A collective with its position in the queue, which it takes when it is first polled.
pub(super) struct OrderedCollective<'a, W: Future + Unpin + 'static> {
    world: &'a Rc<World>,
    /// `None` once it is done.
    work: Option<W>,
    number: Option<u32>,
    backoff: PollBackoff,
}

impl<'a, W: Future + Unpin + 'static> OrderedCollective<'a, W> {
    pub(super) fn new(world: &'a Rc<World>, work: W) -> Self {
        Self { world, work: Some(work), number: None, backoff: PollBackoff::default() }
    }
}

impl<T, W: Future<Output = Result<T, Error>> + Unpin + 'static> Future for OrderedCollective<'_, W> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let queue = &this.world.queue;
        let number = *this.number.get_or_insert_with(|| {
            let number = queue.enter();
            this.world.has_entered(number.wrapping_add(1));
            number
        });
        if !queue.reaches(number, context) {
            // Another collective of this task may precede this one.
            this.world.timer.wake_after(this.backoff.pause(), context);
            return Poll::Pending;
        }
        let Some(work) = &mut this.work else {
            return Poll::Ready(Err(Error::Library("a collective was waited for twice".to_owned())));
        };
        let done = Pin::new(work).poll(context);
        if done.is_ready() {
            this.work = None;
            queue.leave();
        }
        done
    }
}

impl<W: Future + Unpin + 'static> Drop for OrderedCollective<'_, W> {
    fn drop(&mut self) {
        if let (Some(mut work), Some(number)) = (self.work.take(), self.number) {
            let work = Box::pin(async move {
                // The result is no longer needed; an error shows again in the next collective.
                let _ = std::future::poll_fn(|context| Pin::new(&mut work).poll(context)).await;
            });
            self.world.queue.abandon(number, work);
        }
    }
}

/// A barrier. It allocates no memory, because it may be the only work between two short steps.
pub(super) struct Barrier {
    world: Rc<World>,
    stage: Stage,
}

enum Stage {
    Begin,
    /// Waiting in the node's barrier.
    Node(BarrierRound),
    /// All ranks of this node have arrived; the other nodes are awaited.
    Leaders(BarrierRound, Request<()>),
    /// Waiting in MPI's barrier, on nodes without shared memory.
    World(Request<()>),
}

impl Barrier {
    pub(super) fn new(world: &Rc<World>) -> Self {
        Self { world: Rc::clone(world), stage: Stage::Begin }
    }
}

impl Future for Barrier {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { world, stage } = &mut *self;
        if let Stage::Begin = stage {
            *stage = match &world.node_barrier {
                Some(node_barrier) => Stage::Node(node_barrier.arrive()),
                None => Stage::World(world.comm.barrier()?),
            };
        }
        let Some(node_barrier) = &world.node_barrier else {
            let Stage::World(request) = stage else { return Poll::Ready(Ok(())) };
            return request.poll(&world.timer, context);
        };
        if let Stage::Node(round) = stage {
            ready!(node_barrier.wait(round, &world.timer, context))?;
            if !node_barrier.is_first() {
                return Poll::Ready(Ok(()));
            }
            if world.place.nodes == 1 {
                node_barrier.release(round);
                return Poll::Ready(Ok(()));
            }
            let request = world.leaders.barrier()?;
            let Stage::Node(round) = std::mem::replace(stage, Stage::Begin) else { return Poll::Ready(Ok(())) };
            *stage = Stage::Leaders(round, request);
        }
        if let Stage::Leaders(round, request) = stage {
            ready!(request.poll(&world.timer, context))?;
            node_barrier.release(round);
        }
        Poll::Ready(Ok(()))
    }
}
