//! Temporary credentials that are renewed before they end, beside the requests and without holding one up.
//!
//! Invariant: requests see the newest credentials at the price of one comparison; a thread of its own asks for new ones.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::failure::{Failure, Retry};
use super::sign::unix_time;
use super::{Credentials, Shared};

/// Credentials are renewed at least this long before they end, where they live long enough.
const LEAD: Duration = Duration::from_mins(5);
/// Shortest pause between two questions for new credentials.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a request whose credentials were refused as over waits for new ones.
const PATIENCE: Duration = Duration::from_secs(5);

/// Credentials with the moment in which they end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Temporary {
    /// What requests are signed with.
    pub credentials: Credentials,
    /// End, since 1970; `None`: never.
    pub ends: Option<Duration>,
}

/// Finds new credentials; its error is in words.
pub type CredentialSource =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Temporary, String>> + Send>> + Send + Sync>;

/// Credentials that stay new; clones share them.
#[derive(Clone)]
pub struct Renewal(Arc<Shelf>);

struct Shelf {
    newest: Mutex<(Arc<Credentials>, Option<Duration>)>,
    /// Grows with every renewal; from 1.
    generation: AtomicU64,
    /// Somebody wants new credentials at once.
    wanted: Notify,
    /// New ones are here, or could not be had.
    asked: Notify,
    trouble: Mutex<String>,
}

impl Renewal {
    /// Begins with `first` and asks `source` for new credentials when a fifth of their time is left, 5 min at most.
    ///
    /// # Errors
    /// When the thread that asks cannot be started.
    pub fn start(first: Temporary, source: CredentialSource) -> std::io::Result<Self> {
        let shelf = Arc::new(Shelf {
            newest: Mutex::new((Arc::new(first.credentials), first.ends)),
            generation: AtomicU64::new(1),
            wanted: Notify::new(),
            asked: Notify::new(),
            trouble: Mutex::default(),
        });
        let weak = Arc::downgrade(&shelf);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = move || runtime.block_on(keep_new(&weak, &source, first.ends));
        std::thread::Builder::new().name("credentials".to_owned()).spawn(work)?;
        Ok(Self(shelf))
    }

    #[inline]
    pub(super) fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    pub(super) fn newest(&self) -> (Arc<Credentials>, Option<Duration>) {
        self.0.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks for new credentials and waits until they are here, for a moment.
    async fn ask(&self) {
        let before = self.generation();
        let asked = self.0.asked.notified();
        self.0.wanted.notify_one();
        if self.generation() == before {
            let _ = tokio::time::timeout(PATIENCE, asked).await;
        }
    }

    /// Why there are no newer credentials; empty: nothing went wrong.
    #[must_use]
    pub fn trouble(&self) -> String {
        self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Renewal({})", self.generation())
    }
}

/// Asks for new credentials in time, until nobody uses them any more.
async fn keep_new(shelf: &Weak<Shelf>, source: &CredentialSource, first: Option<Duration>) {
    let (mut got, mut ends) = (unix_time(), first);
    loop {
        {
            let Some(shelf) = shelf.upgrade() else { return };
            let wait = ends.map_or(LEAD, |ends| due(unix_time(), got, ends)).min(LEAD);
            let wanted = tokio::time::timeout(wait, shelf.wanted.notified()).await.is_ok();
            if !wanted && ends.is_none_or(|ends| due(unix_time(), got, ends) > PAUSE) {
                continue;
            }
        }
        let answer = source().await;
        let Some(shelf) = shelf.upgrade() else { return };
        match answer {
            Ok(found) => {
                (got, ends) = (unix_time(), found.ends);
                shelf.put(found);
            }
            Err(why) => {
                *shelf.trouble.lock().unwrap_or_else(PoisonError::into_inner) = why;
                got = unix_time();
            }
        }
        shelf.asked.notify_waiters();
    }
}

/// How long to wait before credentials that were got then, and end then, are renewed.
fn due(now: Duration, got: Duration, ends: Duration) -> Duration {
    let lead = (ends.saturating_sub(got) / 5).min(LEAD);
    ends.saturating_sub(lead).saturating_sub(now).max(PAUSE)
}

impl Shelf {
    fn put(&self, found: Temporary) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if *newest.0 != found.credentials {
            *newest = (Arc::new(found.credentials), found.ends);
            self.generation.fetch_add(1, Ordering::Release);
        }
    }
}

impl Shared {
    /// A request that was refused because its credentials are over is sent again with new ones.
    pub(super) async fn renew_if_expired(&self, failure: &mut Failure) {
        let Some(renewal) = &self.config.renewal else { return };
        // An answer to HEAD has no body that could say it.
        let unsaid = failure.code.is_empty() && matches!(failure.status, 400 | 403);
        let over = unsaid && renewal.newest().1.is_some_and(|ends| ends <= unix_time());
        if !over && !matches!(failure.code.as_str(), "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired")
        {
            return;
        }
        renewal.ask().await;
        failure.retry = Retry::Later;
        let trouble = renewal.trouble();
        if !trouble.is_empty() {
            failure.message = format!("{}; they could not be renewed: {trouble}", failure.message);
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
