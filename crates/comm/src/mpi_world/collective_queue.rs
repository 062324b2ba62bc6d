//! The order of this rank's collectives, which must be the same on every rank.
//!
//! Invariant: one collective is in progress at a time, and they start in the order in which they are first polled. If
//! the future of a collective in progress is dropped, the collective stays in the queue with its MPI buffers, and the
//! polls of later ones complete it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::Context;

/// The queue of this rank's collectives.
#[derive(Default)]
pub(super) struct CollectiveQueue {
    entered: Cell<u32>,
    left: Cell<u32>,
    abandoned: RefCell<VecDeque<Abandoned>>,
}

/// A collective whose future was dropped.
struct Abandoned {
    number: u32,
    work: Pin<Box<dyn Future<Output = ()>>>,
}

impl CollectiveQueue {
    /// Returns the number of collectives that this rank has entered so far.
    pub(super) fn entered(&self) -> u32 {
        self.entered.get()
    }

    /// Returns whether no collective is in progress.
    pub(super) fn is_empty(&self) -> bool {
        self.entered.get() == self.left.get()
    }

    /// Enters the next collective and returns its number.
    pub(super) fn enter(&self) -> u32 {
        let number = self.entered.get();
        self.entered.set(number.wrapping_add(1));
        number
    }

    /// Keeps a collective whose future was dropped, so that later ones complete it.
    pub(super) fn abandon(&self, number: u32, work: Pin<Box<dyn Future<Output = ()>>>) {
        self.abandoned.borrow_mut().push_back(Abandoned { number, work });
    }

    /// Marks the current collective as done.
    pub(super) fn leave(&self) {
        self.left.set(self.left.get().wrapping_add(1));
    }

    /// Polls abandoned collectives; returns whether it is the turn of collective `number`.
    pub(super) fn reaches(&self, number: u32, context: &mut Context<'_>) -> bool {
        while self.left.get() != number {
            let mut abandoned = self.abandoned.borrow_mut();
            let next = abandoned.iter_mut().position(|next| next.number == self.left.get());
            let Some(next) = next else { return false };
            if abandoned[next].work.as_mut().poll(context).is_pending() {
                return false;
            }
            abandoned.remove(next);
            self.leave();
        }
        true
    }
}
