//! Ctrl-C and SIGTERM: the first asks the run to end in order, a second one ends it at once.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dlio_engine::CancelFlag;

use crate::exit::Code;

/// What happens in the last moment before the process is ended from outside.
type LastWords = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// Watches for signals on a thread of its own.
#[derive(Clone)]
pub(crate) struct Signals {
    cancel: CancelFlag,
    received: Arc<AtomicI32>,
    last_words: LastWords,
}

/// How long a run may take to end in order after the first signal.
pub(crate) const GRACE: Duration = Duration::from_secs(3);

const UNWATCHED: &str = "signals are not watched, Ctrl-C ends the run without its last trace rows";

impl Signals {
    /// Starts watching; `grace` is how long the command may take to end in order.
    pub(crate) fn watch(grace: Duration) -> Self {
        let signals =
            Self { cancel: CancelFlag::default(), received: Arc::new(AtomicI32::new(0)), last_words: Arc::default() };
        let watcher = signals.clone();
        let started = std::thread::Builder::new().name("signals".to_owned()).spawn(move || watcher.wait(grace));
        if let Err(error) = started {
            tracing::warn!("{UNWATCHED}: {error}");
        }
        signals
    }

    /// Signals that nobody watches for: those of a test.
    #[cfg(test)]
    pub(crate) fn unwatched() -> Self {
        Self { cancel: CancelFlag::default(), received: Arc::new(AtomicI32::new(0)), last_words: Arc::default() }
    }

    /// The flag that the run looks at.
    pub(crate) fn cancel_flag(&self) -> CancelFlag {
        self.cancel.clone()
    }

    /// What to do if the run does not end in time: flush the trace.
    pub(crate) fn set_last_words(&self, words: impl FnOnce() + Send + 'static) {
        *self.last_words.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(words));
    }

    /// The run has ended in order; there is nothing left to save.
    pub(crate) fn disarm(&self) {
        self.last_words.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// The exit code that a received signal asks for.
    pub(crate) fn received(&self) -> Option<Code> {
        match self.received.load(Ordering::Acquire) {
            libc::SIGINT => Some(Code::Interrupted),
            libc::SIGTERM => Some(Code::Terminated),
            _ => None,
        }
    }

    fn wait(&self, grace: Duration) {
        let unwatched = |error: std::io::Error| tracing::warn!("{UNWATCHED}: {error}");
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return unwatched(error),
        };
        runtime.block_on(async {
            let watched = signal(tokio::signal::unix::SignalKind::interrupt())
                .and_then(|interrupt| Ok((interrupt, signal(tokio::signal::unix::SignalKind::terminate())?)));
            let (mut interrupt, mut terminate) = match watched {
                Ok(watched) => watched,
                Err(error) => return unwatched(error),
            };
            let first = tokio::select! {
                _ = interrupt.recv() => libc::SIGINT,
                _ = terminate.recv() => libc::SIGTERM,
            };
            self.received.store(first, Ordering::Release);
            self.cancel.cancel();
            tokio::select! {
                _ = interrupt.recv() => {}
                () = tokio::time::sleep(grace) => {}
            }
            let words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(words) = words {
                words();
            }
            std::process::exit(128 + first);
        });
    }
}

fn signal(kind: tokio::signal::unix::SignalKind) -> std::io::Result<tokio::signal::unix::Signal> {
    tokio::signal::unix::signal(kind)
}
