//! The end of this rank's part of a run, recorded once in the trace's footer, the summary and the log.
//!
//! Invariant: whichever comes first, the run itself or the thread that watches for signals, decides how the rank ended,
//! and all files of the rank record the same ending.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dlio_analyze::outputs::{Summary, summary_json, unfinished_json};
use dlio_comm::shared::Failures;
use dlio_engine::MonotonicClock;
use dlio_event::{Ending, TimeSource as _};
use dlio_storage::s3::S3;
use dlio_trace::ClockAnchor;

use crate::failure::Failure;
use crate::host::wall_clock::Anchor;
use crate::outputs::file::write_file;
use crate::outputs::log::LogFile;
use crate::outputs::rank_trace::RankTraceWriter;
use crate::session::Session;
use crate::stop::{Signal, StopHandle};

/// What rank 0 writes besides its trace when a run does not complete.
pub(crate) struct UnfinishedRunFiles {
    /// Log file of the run.
    pub(crate) log: LogFile,
    /// Path of `summary.json`; `None` if a run that does not complete writes none.
    pub(crate) summary: Option<PathBuf>,
    pub(crate) anchor: Anchor,
    pub(crate) clock: Arc<MonotonicClock>,
    pub(crate) ranks: u32,
}

/// Records how this rank's part of a run ended, exactly once.
pub(crate) struct RankEnding {
    state: Mutex<State>,
    failures: Option<Arc<Failures>>,
    stop: StopHandle,
    notes: Option<UnfinishedRunFiles>,
}

#[derive(Default)]
struct State {
    recording: Option<RankTraceWriter>,
    traced: bool,
    /// Path and content of `summary.json` once it is written.
    summary: Option<(PathBuf, Summary)>,
    decided: Option<Ending>,
    /// Why the trace is incomplete.
    lost: Option<Failure>,
}

/// How a rank ended, and whether its trace is complete.
pub(crate) struct Closed {
    pub(crate) ending: Ending,
    /// An error if the trace could not be written.
    pub(crate) trace: Result<(), Failure>,
    /// Whether the run writes a trace.
    pub(crate) traced: bool,
}

impl RankEnding {
    pub(crate) fn new(
        recording: Option<RankTraceWriter>,
        (failures, stop): (Option<Arc<Failures>>, StopHandle),
        notes: Option<UnfinishedRunFiles>,
    ) -> Self {
        let state = State { traced: recording.is_some(), recording, ..State::default() };
        Self { state: Mutex::new(state), failures, stop, notes }
    }

    /// Returns the ending of a rank that received a signal. If other ranks of the node have failed, the signal came
    /// from the launcher, which sends one to all ranks after a failure.
    pub(crate) fn interruption(&self, signal: Signal) -> Ending {
        let failed = self.failures.as_ref().map(|failures| failures.others()).unwrap_or_default();
        let names: Vec<String> = failed.iter().map(u32::to_string).collect();
        match names.len() {
            0 => Ending::Interrupted { signal: signal.name.to_owned() },
            1 => Ending::aborted(&format!("rank {} failed", names.join(", "))),
            _ => Ending::aborted(&format!("ranks {} failed", names.join(", "))),
        }
    }

    /// Remembers the summary, which is rewritten if the run does not complete after all.
    pub(crate) fn wrote_summary(&self, path: PathBuf, summary: Summary) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).summary = Some((path, summary));
    }

    /// Records this ending unless one is recorded already, and returns the recorded one.
    pub(crate) fn end(&self, ending: Ending, clock: Option<ClockAnchor>) -> Closed {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.decided.is_none() {
            let written = state.recording.take().map_or(Ok(()), |recording| recording.close(&ending, clock));
            let ending = match &written {
                Err(failure) if ending.is_completed() => Ending::failed(&failure.message),
                _ => ending,
            };
            state.lost = written.err();
            self.stop.ended(&ending);
            self.note(&state, &ending);
            state.decided = Some(ending);
        }
        let ending = state.decided.clone().unwrap_or(Ending::Completed);
        Closed { ending, trace: state.lost.clone().map_or(Ok(()), Err), traced: state.traced }
    }

    /// Corrects the log and `summary.json` of a run that did not complete.
    fn note(&self, state: &State, ending: &Ending) {
        let Some(notes) = self.notes.as_ref().filter(|_| !ending.is_completed()) else { return };
        let now = notes.anchor.stamp(notes.clock.now());
        notes.log.line(&format!("[ERROR] {now} the run did not complete: {ending}"));
        let (path, json) = if let Some((path, summary)) = &state.summary {
            (path.clone(), summary_json(&Summary { ending: Some(ending.clone()), ..summary.clone() }))
        } else {
            let Some(path) = notes.summary.clone() else { return };
            (path, unfinished_json(&notes.anchor.stamp(notes.anchor.monotonic), &now, notes.ranks, ending))
        };
        if let Err(error) = write_file(&path, &json) {
            tracing::warn!("{error}");
        }
    }
}

/// Ends this rank's part of the run with the result `ran`. The trace is complete even if the run failed. If the run
/// succeeded, the ranks compare their clocks once more.
///
/// # Errors
/// The failure of the run, or of writing its trace.
pub(crate) async fn end<T>(
    session: &Session,
    (closing, clients): (&RankEnding, &[&Arc<S3>]),
    ran: Result<T, Failure>,
) -> Result<T, Failure> {
    let (clock, ran) = match ran {
        Ok(value) => {
            let clock =
                if session.loaded.workload.dlio_rs.trace { session.clock_now().await.map(Some) } else { Ok(None) };
            match clock {
                Ok(clock) => (clock, Ok(value)),
                Err(failure) => (None, Err(failure)),
            }
        }
        Err(failure) => (None, Err(failure)),
    };
    let ran = ran.map_err(|failure| match session.front.stop.lost() {
        Some(trouble) if session.front.stop.received().is_none() => trouble,
        _ => failure,
    });
    let ending = match (&ran, session.front.stop.received()) {
        (Ok(_), _) => Ending::Completed,
        (Err(_), Some(signal)) => closing.interruption(signal),
        (Err(failure), None) => Ending::failed(&failure.message),
    };
    let closed = closing.end(ending, clock);
    session.front.stop.disarm();
    if ran.is_err() {
        abort_uploads(session, clients).await;
    }
    match (ran, session.front.stop.received()) {
        // A signal arrived after the last operation but before the trace was closed.
        (Ok(_), Some(signal)) if !closed.ending.is_completed() && closed.trace.is_ok() => {
            Err(interrupted(session, &closed, signal))
        }
        // From here on, traces and counters of all ranks are complete.
        (Ok(value), _) => session.agree(closed.trace.map(|()| value)).await,
        (Err(failure), _) if failure.reported => Err(failure),
        (Err(_), Some(signal)) => Err(interrupted(session, &closed, signal)),
        (Err(failure), None) => Err(session.alone(&failure).await),
    }
}

/// Aborts multipart uploads that a failed run left unfinished, for at most 1.5 s, and reports those that remain.
async fn abort_uploads(session: &Session, clients: &[&Arc<S3>]) {
    const PATIENCE: Duration = Duration::from_millis(1_500);
    const NAMED: usize = 20;
    let all = clients.iter().map(|client| client.abort_uploads());
    // Uploads that are not aborted in time are reported below.
    let _ = tokio::time::timeout(PATIENCE, futures::future::join_all(all)).await;
    let left: Vec<_> = clients.iter().flat_map(|client| client.unfinished()).collect();
    for upload in left.iter().take(NAMED) {
        session.front.observer.note(&upload.to_string());
    }
    if left.len() > NAMED {
        session
            .front
            .observer
            .note(&format!("{} more uploads are unfinished: aws s3api list-multipart-uploads", left.len() - NAMED));
    }
}

/// Returns the failure of this rank after a signal. The launcher sends the signal to every rank, so no rank waits for
/// another one.
fn interrupted(session: &Session, closed: &Closed, signal: Signal) -> Failure {
    let failure = interruption(closed, signal);
    if session.comm.place().size == 1 { failure } else { failure.of_this_rank() }
}

/// Returns the failure that is reported for a rank that received a signal.
pub(crate) fn interruption(closed: &Closed, signal: Signal) -> Failure {
    let trace = match &closed.trace {
        Ok(()) if closed.traced => "; the trace holds everything up to here".to_owned(),
        Ok(()) => String::new(),
        Err(failure) => format!("; not all of the trace could be written: {failure}"),
    };
    let failure = Failure::new(signal.code, format_args!("the run did not complete: {}{trace}", closed.ending));
    // The rank that failed has reported the reason.
    if matches!(closed.ending, Ending::Aborted { .. }) { failure.already_reported() } else { failure }
}
