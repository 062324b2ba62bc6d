//! Ends a wait before its moment.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;

use crate::kernel;

/// Something has changed that a waiting thread or task should look at.
#[derive(Debug, Default)]
pub struct Alarm {
    /// How often it rang: the word that a blocked thread waits for.
    rung: AtomicU32,
    news: Notify,
}

impl Alarm {
    /// How often it rang so far: a wait that begins with this number misses no ring after it.
    #[must_use]
    pub fn rung(&self) -> u32 {
        self.rung.load(Ordering::Acquire)
    }

    /// Ends the waits that began before.
    pub fn ring(&self) {
        self.rung.fetch_add(1, Ordering::Release);
        kernel::wake(&self.rung);
        self.news.notify_waiters();
    }

    /// Completes when it has rung more often than `before`; for tasks.
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

    /// Blocks the thread until `at`, or until it has rung more often than `before`.
    pub(crate) fn block_until(&self, at: dlio_event::Nanos, before: u32) {
        kernel::doze_unless(at, &self.rung, before);
    }
}
