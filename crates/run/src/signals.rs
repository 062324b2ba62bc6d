//! Signals that end a run: the first asks it to end in order, a second one ends it at once.
//!
//! Invariant: a launcher leaves about a second between SIGTERM and SIGKILL, so what is to be saved is saved within half of one,
//! whatever the rank waits for: by the run itself, or else by the thread that watches for signals.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dlio_engine::CancelFlag;
use tokio::signal::unix::{Signal, SignalKind};
use tokio::sync::oneshot;

use crate::failure::{Code, Failure};

/// What happens in the last moment before the process is ended from outside, given the signal.
type LastWords = Arc<Mutex<Option<Box<dyn FnOnce(Caught) + Send>>>>;

/// A signal that ends a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caught {
    number: i32,
    /// Name, as `SIGTERM`.
    pub name: &'static str,
    /// Exit code: 128 and the number.
    pub code: Code,
}

impl Caught {
    /// The signal that an exit code stands for.
    pub fn of_code(code: Code) -> Option<Self> {
        ALL.into_iter().find(|signal| signal.code == code)
    }
}

/// The first one also stands for a launcher that is gone.
const ALL: [Caught; 7] = [
    Caught { number: libc::SIGHUP, name: "SIGHUP", code: Code::HungUp },
    Caught { number: libc::SIGINT, name: "SIGINT", code: Code::Interrupted },
    Caught { number: libc::SIGQUIT, name: "SIGQUIT", code: Code::Quit },
    Caught { number: libc::SIGUSR1, name: "SIGUSR1", code: Code::User1 },
    Caught { number: libc::SIGUSR2, name: "SIGUSR2", code: Code::User2 },
    Caught { number: libc::SIGTERM, name: "SIGTERM", code: Code::Terminated },
    Caught { number: libc::SIGXCPU, name: "SIGXCPU", code: Code::CpuTime },
];

/// Watches for signals on a thread of its own.
#[derive(Clone)]
pub struct Signals {
    cancel: CancelFlag,
    received: Arc<AtomicI32>,
    trouble: Arc<Mutex<Option<Failure>>>,
    last_words: LastWords,
}

/// How long a run may take to end in order after the first signal.
pub const GRACE: Duration = Duration::from_secs(3);
/// How long it may take until somebody else saves what is to be saved.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long saving may take once a second signal has come.
const HURRY: Duration = Duration::from_millis(500);

const UNWATCHED: &str = "signals are not watched, Ctrl-C ends the run without its last trace rows";

/// When a rank that a launcher started releases the output folder after the first signal: launchers kill after about a second.
const RELEASE: Duration = Duration::from_millis(400);

impl Signals {
    /// Starts watching; `grace` is how long the command may take to end in order.
    pub fn watch(grace: Duration) -> Self {
        let signals = Self {
            cancel: CancelFlag::default(),
            received: Arc::new(AtomicI32::new(0)),
            trouble: Arc::default(),
            last_words: Arc::default(),
        };
        let watcher = signals.clone();
        let started = std::thread::Builder::new().name("signals".to_owned()).spawn(move || watcher.wait(grace));
        if let Err(error) = started {
            tracing::warn!("{UNWATCHED}: {error}");
        }
        signals
    }

    /// Signals that nobody watches for: those of a test.
    #[cfg(test)]
    pub fn unwatched() -> Self {
        Self {
            cancel: CancelFlag::default(),
            received: Arc::new(AtomicI32::new(0)),
            last_words: Arc::default(),
            trouble: Arc::default(),
        }
    }

    /// The flag that the run looks at.
    pub fn cancel_flag(&self) -> CancelFlag {
        self.cancel.clone()
    }

    /// What to do if the run does not end in time: save what there is.
    pub fn set_last_words(&self, words: impl FnOnce(Caught) + Send + 'static) {
        *self.last_words.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(words));
    }

    /// The run has ended in order; there is nothing left to save.
    pub fn disarm(&self) {
        self.take_words();
    }

    /// The signal that was received first.
    pub fn received(&self) -> Option<Caught> {
        let number = self.received.load(Ordering::Acquire);
        ALL.into_iter().find(|signal| signal.number == number)
    }

    /// Ends the run because it has lost something that it cannot go on without.
    pub fn end_with(&self, failure: Failure) {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
        self.cancel.cancel();
    }

    /// What [`Signals::end_with`] was told first.
    pub fn trouble(&self) -> Option<Failure> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn take_words(&self) -> Option<Box<dyn FnOnce(Caught) + Send>> {
        self.last_words.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn wait(&self, grace: Duration) {
        let unwatched = |error: std::io::Error| tracing::warn!("{UNWATCHED}: {error}");
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return unwatched(error),
        };
        runtime.block_on(async {
            let wanted = ALL.into_iter().filter(|signal| signal.number != libc::SIGHUP || !ignores_hang_up());
            let mut streams: Vec<(Caught, Signal)> =
                wanted.filter_map(|one| Some((one, stream(one.number).ok()?))).collect();
            // With a handler, a write beyond the limit on the size of files is an error that names the file.
            let _beyond_limit = stream(libc::SIGXFSZ);
            let first = tokio::select! {
                first = next(&mut streams) => first,
                // The library notices it within a second, and then ends the process without a word.
                () = launcher_gone() => ALL[0],
            };
            self.received.store(first.number, Ordering::Release);
            self.cancel.cancel();
            let hurried = tokio::time::timeout(PATIENCE, next(&mut streams)).await.is_ok();
            let saved = self.speak(first);
            if !hurried {
                // Either way it is time to go afterwards.
                tokio::select! {
                    _ = next(&mut streams) => {}
                    () = async {
                        tokio::time::sleep(RELEASE.min(grace).saturating_sub(PATIENCE)).await;
                        crate::output_folder::last_chance();
                        tokio::time::sleep(grace.saturating_sub(RELEASE)).await;
                    } => {}
                }
            }
            // Nothing is to be done if it does not come in time.
            let _ = tokio::time::timeout(HURRY, saved).await;
            std::process::exit(first.code as i32);
        });
    }

    /// Saves what there is on a thread of its own: a disk that hangs must not keep the process from ending.
    fn speak(&self, signal: Caught) -> oneshot::Receiver<()> {
        let (done, saved) = oneshot::channel();
        if let Some(words) = self.take_words() {
            let work = move || {
                words(signal);
                // The receiver is gone when time is up.
                let _ = done.send(());
            };
            if let Err(error) = std::thread::Builder::new().name("last-words".to_owned()).spawn(work) {
                tracing::warn!("the end of the run is not recorded: {error}");
            }
        }
        saved
    }
}

/// Ends when the process that started this one is gone, where that is a launcher of ranks.
async fn launcher_gone() {
    const LOOK: Duration = Duration::from_millis(100);
    let parent = rustix::process::getppid();
    let env = crate::launch::environment();
    let launcher = crate::launch::detect(&env).filter(dlio_comm::launcher::Launcher::needs_mpi);
    if launcher.is_none() || crate::launch::is_solo(&env) {
        return std::future::pending().await;
    }
    while rustix::process::getppid() == parent {
        tokio::time::sleep(LOOK).await;
    }
}

fn stream(number: i32) -> std::io::Result<Signal> {
    tokio::signal::unix::signal(SignalKind::from_raw(number))
}

/// The next signal of any kind; never where none is watched.
async fn next(streams: &mut [(Caught, Signal)]) -> Caught {
    if streams.is_empty() {
        return std::future::pending().await;
    }
    let all = streams.iter_mut().map(|(one, stream)| {
        Box::pin(async {
            stream.recv().await;
            *one
        })
    });
    futures::future::select_all(all).await.0
}

/// Whether whoever started this process has it ignore SIGHUP, as `nohup` does. Shells that start a command in the
/// background have it ignore SIGINT as well, but whoever sends that to a run means it.
fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (libc::SIGHUP - 1)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_of_a_signal_is_128_and_its_number() {
        for signal in ALL {
            assert_eq!(signal.code as i32, 128 + signal.number, "{}", signal.name);
        }
    }
}
