//! Signals that end a run: the first one asks it to end in order, a second one ends it at once.
//!
//! Invariant: data are saved within half a second after the first signal, whatever the rank waits for: by the run
//! itself or by the thread that watches for signals. A launcher leaves about one second between SIGTERM and SIGKILL.

use std::time::Duration;

use dlio_run::stop::{Signal, StopHandle};
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::oneshot;

use crate::exit;

/// Numbers of the signals in [`Signal::ALL`].
const NUMBERS: [i32; 7] =
    [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2, libc::SIGTERM, libc::SIGXCPU];

/// Time after which the watching thread saves data itself.
const PATIENCE: Duration = Duration::from_millis(200);
/// Maximum time for saving once the process has to end.
const HURRY: Duration = Duration::from_millis(500);

const UNWATCHED: &str = "signals are not watched, Ctrl-C ends the run without its last trace rows";

/// Time after the first signal when a launched rank releases the output folder; launchers send SIGKILL after about one
/// second.
const RELEASE: Duration = Duration::from_millis(400);

/// Starts a thread that passes signals to the process's stop handle. `grace` is the time that the command may take to
/// end in order; `launched` says that a launcher kills this process soon after a signal.
pub(crate) fn watch(grace: Duration, launched: bool) {
    let stop = crate::stop::stop().clone();
    let started = std::thread::Builder::new().name("signals".to_owned()).spawn(move || wait(&stop, grace, launched));
    if let Err(error) = started {
        tracing::warn!("{UNWATCHED}: {error}");
    }
}

fn wait(stop: &StopHandle, grace: Duration, launched: bool) {
    let unwatched = |error: std::io::Error| tracing::warn!("{UNWATCHED}: {error}");
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return unwatched(error),
    };
    runtime.block_on(async {
        let wanted = NUMBERS.into_iter().zip(Signal::ALL);
        let wanted = wanted.filter(|(number, _)| *number != libc::SIGHUP || !ignores_hang_up());
        let mut streams: Vec<(Signal, unix::Signal)> =
            wanted.filter_map(|(number, one)| Some((one, stream(number).ok()?))).collect();
        // With a handler for SIGXFSZ, a write beyond the file size limit fails with an error that names the file.
        let _beyond_limit = stream(libc::SIGXFSZ);
        let first = tokio::select! {
            first = next(&mut streams) => first,
            // The MPI library would notice a missing launcher within a second, and end the process without a message.
            () = launcher_gone() => Signal::ALL[0],
        };
        stop.stop(first);
        let hurried = tokio::time::timeout(PATIENCE, next(&mut streams)).await.is_ok();
        let saved = save(stop, first);
        if !hurried {
            // In either case the process ends afterwards.
            tokio::select! {
                _ = next(&mut streams) => {}
                () = async {
                    tokio::time::sleep(RELEASE.min(grace).saturating_sub(PATIENCE)).await;
                    if launched {
                        stop.end_early();
                    }
                    tokio::time::sleep(grace.saturating_sub(RELEASE)).await;
                } => {}
            }
        }
        // If saving does not finish in time, the process ends all the same.
        let _ = tokio::time::timeout(HURRY, saved).await;
        std::process::exit(exit::code(first.code).into());
    });
}

/// Saves data on its own thread, because a hanging disk must not keep the process from ending.
fn save(stop: &StopHandle, signal: Signal) -> oneshot::Receiver<()> {
    let (done, saved) = oneshot::channel();
    if let Some(save) = stop.save() {
        let work = move || {
            save(signal);
            // The receiver is dropped when the time is up.
            let _ = done.send(());
        };
        if let Err(error) = std::thread::Builder::new().name("last-words".to_owned()).spawn(work) {
            tracing::warn!("the end of the run is not recorded: {error}");
        }
    }
    saved
}

/// Completes when the launcher that started this process has disappeared; never without a launcher.
async fn launcher_gone() {
    const LOOK: Duration = Duration::from_millis(100);
    let parent = rustix::process::getppid();
    let env = crate::environment::environment();
    let launcher = dlio_run::launch::detect(&env).filter(dlio_comm::launcher::Launcher::needs_mpi);
    if launcher.is_none() || dlio_run::launch::is_solo(&env) {
        return std::future::pending().await;
    }
    while rustix::process::getppid() == parent {
        tokio::time::sleep(LOOK).await;
    }
}

fn stream(number: i32) -> std::io::Result<unix::Signal> {
    unix::signal(SignalKind::from_raw(number))
}

/// Waits for the next signal of any kind; forever if none is watched.
async fn next(streams: &mut [(Signal, unix::Signal)]) -> Signal {
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

/// Whether SIGHUP was ignored when this process was started, as with `nohup`. Shells also start background commands
/// with SIGINT ignored, but a SIGINT that is sent to a run is meant for it.
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
        for (number, signal) in NUMBERS.into_iter().zip(Signal::ALL) {
            assert_eq!(i32::from(exit::code(signal.code)), 128 + number, "{}", signal.name);
        }
    }
}
