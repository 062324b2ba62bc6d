//! A signal that ends waits early.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;

use crate::syscalls;

/// A signal that ends the waits of threads and tasks before their time.
#[derive(Debug, Default)]
pub struct Alarm {
    /// Number of rings, on which blocked threads wait with a futex.
    rung: AtomicU32,
    news: Notify,
}

impl Alarm {
    /// Returns the number of rings so far. A wait that starts with this number misses no later ring.
    #[must_use]
    pub fn rung(&self) -> u32 {
        self.rung.load(Ordering::Acquire)
    }

    /// Rings: ends all waits that have started.
    pub fn ring(&self) {
        self.rung.fetch_add(1, Ordering::Release);
        syscalls::wake(&self.rung);
        self.news.notify_waiters();
    }

    /// Completes when the alarm has rung more than `before` times, for tasks.
    pub async fn wait(&self, before: u32) {
        loop {
            let mut news = std::pin::pin!(self.news.notified());
            news.as_mut().enable();
            if self.rung() != before {
                return;
            }
            news.await;
        }
    }

    /// Blocks the thread until the time `at`, or until the alarm has rung more than `before` times.
    pub(crate) fn block_until(&self, at: dlio_event::Nanos, before: u32) {
        syscalls::doze_unless(at, &self.rung, before);
    }
}
