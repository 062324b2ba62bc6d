//! Temporary credentials that are renewed before they expire, without delaying requests.
//!
//! Invariant: requests see the newest credentials at the cost of one comparison; a separate thread fetches new ones.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::clock::unix_time;
use super::credentials::{Credentials, Temporary};

/// Credentials are renewed at least this long before they expire, if their lifetime permits.
const LEAD: Duration = Duration::from_mins(5);
/// Shortest pause between two renewals.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest wait of a request for new credentials after its own were refused as expired.
const PATIENCE: Duration = Duration::from_secs(5);

/// Fetches new credentials; the error is a message.
pub type CredentialSource =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Temporary, String>> + Send>> + Send + Sync>;

/// Credentials that are renewed automatically; clones share them.
#[derive(Clone)]
pub struct Renewal(Arc<SharedCredentials>);

struct SharedCredentials {
    newest: Mutex<(Arc<Credentials>, Option<Duration>)>,
    /// Incremented with every renewal; starts at 1.
    generation: AtomicU64,
    /// Notified when new credentials are needed immediately.
    wanted: Notify,
    /// Notified after each renewal, successful or not.
    asked: Notify,
    last_error: Mutex<String>,
}

impl Renewal {
    /// Starts with `first`, and calls `source` for new credentials when a fifth of their lifetime is left, at most 5
    /// min before they expire.
    ///
    /// # Errors
    /// When the renewing thread cannot be started.
    pub fn start(first: Temporary, source: CredentialSource) -> std::io::Result<Self> {
        let state = Arc::new(SharedCredentials {
            newest: Mutex::new((Arc::new(first.credentials), first.ends)),
            generation: AtomicU64::new(1),
            wanted: Notify::new(),
            asked: Notify::new(),
            last_error: Mutex::default(),
        });
        let weak = Arc::downgrade(&state);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = move || runtime.block_on(keep_new(&weak, &source, first.ends));
        std::thread::Builder::new().name("credentials".to_owned()).spawn(work)?;
        Ok(Self(state))
    }

    #[inline]
    pub(super) fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    pub(super) fn newest(&self) -> (Arc<Credentials>, Option<Duration>) {
        self.0.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Requests new credentials, and waits briefly until they have arrived.
    pub(super) async fn ask(&self) {
        let before = self.generation();
        let asked = self.0.asked.notified();
        self.0.wanted.notify_one();
        if self.generation() == before {
            let _ = tokio::time::timeout(PATIENCE, asked).await;
        }
    }

    /// Returns why the last renewal failed; empty if it succeeded.
    #[must_use]
    pub fn last_error(&self) -> String {
        self.0.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Renewal({})", self.generation())
    }
}

/// Renews credentials in time, until they are no longer in use.
async fn keep_new(state: &Weak<SharedCredentials>, source: &CredentialSource, first: Option<Duration>) {
    let (mut got, mut ends) = (unix_time(), first);
    loop {
        {
            let Some(state) = state.upgrade() else { return };
            let wait = ends.map_or(LEAD, |ends| due(unix_time(), got, ends)).min(LEAD);
            let wanted = tokio::time::timeout(wait, state.wanted.notified()).await.is_ok();
            if !wanted && ends.is_none_or(|ends| due(unix_time(), got, ends) > PAUSE) {
                continue;
            }
        }
        let answer = source().await;
        let Some(state) = state.upgrade() else { return };
        match answer {
            Ok(found) => {
                (got, ends) = (unix_time(), found.ends);
                state.put(found);
            }
            Err(why) => {
                *state.last_error.lock().unwrap_or_else(PoisonError::into_inner) = why;
                got = unix_time();
            }
        }
        state.asked.notify_waiters();
    }
}

/// Returns how long to wait before renewing credentials that were obtained at `got` and expire at `ends`.
fn due(now: Duration, got: Duration, ends: Duration) -> Duration {
    let lead = (ends.saturating_sub(got) / 5).min(LEAD);
    ends.saturating_sub(lead).saturating_sub(now).max(PAUSE)
}

impl SharedCredentials {
    fn put(&self, found: Temporary) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if *newest.0 != found.credentials {
            *newest = (Arc::new(found.credentials), found.ends);
            self.generation.fetch_add(1, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn long_lives_are_renewed_five_minutes_early_and_short_ones_at_four_fifths() {
        assert_eq!(due(at(1000), at(1000), at(4600)), at(3300));
        assert_eq!(due(at(1000), at(1000), at(1010)), at(8));
        assert_eq!(due(at(1005), at(1000), at(1010)), at(3));
        assert_eq!(due(at(2000), at(1000), at(1010)), PAUSE, "late is at once, but not without a pause");
    }
}
