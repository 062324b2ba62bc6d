//! Rank 0 resolves the options and sends the result to all ranks. Waits before the run begins end at signals and are
//! reported when they take long.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use dlio_comm::Communicator;
use dlio_engine::StallLimits;
use dlio_event::{Ending, TimeSource};

use crate::collective::{decode, encode, end_together};
use crate::failure::{Code, Failure};
use crate::front_end::FrontEnd;
use crate::message::Verbosity;
use crate::options::Options;
use crate::output_folder::Writes;
use crate::output_folder::{self, Claim};
use crate::ranks::Ranks;
use crate::resolve::config_source::ConfigSource;
use crate::resolve::resolved_run::ResolvedRun;
use crate::session::Session;

/// Input of the start of a run.
pub struct Start<'a> {
    /// Finds the configuration. Only rank 0 calls it.
    pub find: &'a dyn Fn() -> Result<ConfigSource, Failure>,
    /// Options of the run.
    pub target: &'a Options,
    /// Which messages the observer gets.
    pub verbosity: Verbosity,
    /// Kind of files that go into the output folder.
    pub writes: Writes<'a>,
}

impl Session {
    /// Awaits `work`, which waits for storage before the run has begun, unless a signal arrives.
    ///
    /// # Errors
    /// The errors of `work`; a signal; a wait longer than the stall timeout.
    pub(crate) async fn unless_signalled<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        const LOOK: Duration = Duration::from_millis(50);
        let mut work = pin!(work);
        let (mut waited, mut reported) = (Duration::ZERO, 0u32);
        // A rank that waits for this one reports this one's name, which helps more, so it gets one second to do so.
        let late = if self.comm.place().size > 1 { Duration::from_secs(1) } else { Duration::ZERO };
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(LOOK) => {}
            }
            waited += LOOK;
            let StallLimits { report_after, end_after } = self.limits;
            let text = format!(
                "rank {} has been setting up for {} s: storage is slow to answer",
                self.rank(),
                waited.as_secs()
            );
            if !report_after.is_zero()
                && waited >= report_after.saturating_mul(reported.saturating_add(1)).saturating_add(late)
            {
                reported += 1;
                self.warn(&text);
            }
            if !end_after.is_zero() && waited >= end_after.saturating_add(late) {
                return Err(Failure::new(Code::Stalled, format_args!("{text}; this ends the run (--stall-timeout)")));
            }
            if let Some(signal) = self.front.stop.received() {
                let ending = Ending::Interrupted { signal: signal.name.to_owned() };
                let text = format!("the run did not complete: {ending}; it had not begun");
                self.log.file().line(&format!("[ERROR] {} {text}", self.stamp()));
                return Err(Failure::new(signal.code, text));
            }
        }
    }
}

/// Returns the resolved run, or rank 0's failure to resolve it: the same on every rank.
///
/// # Errors
/// If the broadcast fails.
pub async fn resolved(
    comm: &dyn Communicator,
    front: &FrontEnd,
    time: &dyn TimeSource,
    start: &Start<'_>,
) -> Result<Result<ResolvedRun, Failure>, Failure> {
    let mut wire = Vec::new();
    if comm.place().rank == 0 {
        wire = encode(&resolve(front, time, start).await)?;
    }
    decode(&comm.broadcast(&wire).await?)
}

async fn resolve(front: &FrontEnd, time: &dyn TimeSource, start: &Start<'_>) -> Result<ResolvedRun, Failure> {
    Box::pin(ResolvedRun::resolve((start.find)()?, start.target, front, time)).await
}

/// Resolves the options and locks the output folder on rank 0, and returns the resolved run on every rank. The front
/// end is called before the folder is locked, so that signals are handled and release it.
///
/// # Errors
/// If the options cannot be resolved or the folder cannot be locked, on any rank.
pub async fn share_request(
    comm: &Ranks,
    time: &dyn TimeSource,
    start: &Start<'_>,
) -> Result<(ResolvedRun, Option<Arc<Claim>>), Failure> {
    let (place, front) = (comm.place(), comm.front());
    let resolved = if place.rank == 0 { Some(resolve(front, time, start).await) } else { None };
    front.observer.resolved(place.size > 1);
    let (mut wire, mut output) = (Vec::new(), None);
    if let Some(resolved) = resolved {
        let claimed = resolved.and_then(|mut request| {
            let asked = (start.writes, start.target);
            output = output_folder::claim(&mut request, asked, front, place.size)?;
            Ok(request)
        });
        wire = encode(&claimed)?;
    }
    let wire = comm.broadcast(&wire).await?;
    let resolved: Result<ResolvedRun, Failure> = decode(&wire)?;
    match resolved {
        Ok(request) => Ok((request, output)),
        Err(failure) => Err(end_together(comm, &|failure| comm.report(failure), failure).await),
    }
}
