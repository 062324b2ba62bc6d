//! The order of this rank's collectives, which every rank must keep.
//!
//! Invariant: one collective is under way at a time, and they begin in the order in which they are first polled. One whose
//! future is dropped while it is under way stays in the queue, with the buffers that MPI has of it, and is brought to its end
//! by the polls of those that follow.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::Context;

/// Whose turn it is.
#[derive(Default)]
pub(super) struct Queue {
    entered: Cell<u32>,
    left: Cell<u32>,
    abandoned: RefCell<VecDeque<Abandoned>>,
}

/// A collective that nobody waits for any more.
struct Abandoned {
    number: u32,
    work: Pin<Box<dyn Future<Output = ()>>>,
}

impl Queue {
    /// Collectives that this rank has entered so far.
    pub(super) fn entered(&self) -> u32 {
        self.entered.get()
    }

    /// Whether no collective is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.entered.get() == self.left.get()
    }

    /// Takes the next number.
    pub(super) fn enter(&self) -> u32 {
        let number = self.entered.get();
        self.entered.set(number.wrapping_add(1));
        number
    }

    /// Keeps a collective that nobody waits for any more, so that those that follow bring it to its end.
    pub(super) fn abandon(&self, number: u32, work: Pin<Box<dyn Future<Output = ()>>>) {
        self.abandoned.borrow_mut().push_back(Abandoned { number, work });
    }

    /// The collective whose turn it was is done.
    pub(super) fn leave(&self) {
        self.left.set(self.left.get().wrapping_add(1));
    }

    /// Brings abandoned collectives on; tells whether it is the turn of this one.
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
