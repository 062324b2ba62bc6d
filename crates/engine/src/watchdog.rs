//! Waits of the main task, which also end on a lane's failure or cancellation, and which report stalls.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use dlio_comm::{Activity, Collective, RankStatus};
use dlio_event::{Nanos, Position};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::clock::nanos;
use crate::{CancelFlag, Error, Place, Rig, Stall, StallLimits, Waiting};

/// Interval at which a wait checks for cancellation and stalls.
const TICK: Duration = Duration::from_millis(100);

/// Supervisor of every wait of a rank's main task.
pub(crate) struct Watchdog<'r> {
    rig: &'r Rig,
    cancel: CancelFlag,
    limits: StallLimits,
    failures: Option<UnboundedReceiver<Error>>,
}

impl<'r> Watchdog<'r> {
    pub(crate) fn new(rig: &'r Rig, cancel: CancelFlag, limits: StallLimits) -> Self {
        Self { rig, cancel, limits, failures: None }
    }

    /// Lets errors of lanes end every following wait.
    pub(crate) fn set_failures(&mut self, failures: UnboundedReceiver<Error>) {
        self.failures = Some(failures);
    }

    pub(crate) fn place(&self, at: Position) -> Place {
        Place { rank: self.rig.comm.place().rank, at }
    }

    /// Announces to the other ranks what this rank does next.
    pub(crate) fn announce(&self, at: Position, activity: Activity) {
        self.rig.comm.note(RankStatus { activity, epoch: at.epoch, step: at.step });
    }

    /// Waits for `future`; `waiting` describes the wait if it takes too long.
    pub(crate) async fn wait_for<T>(
        &mut self,
        at: Position,
        waiting: impl Fn() -> Waiting,
        future: impl Future<Output = T>,
    ) -> Result<T, Error> {
        self.wait_with_ticks(at, (waiting, |_| ()), future).await
    }

    /// Waits as [`Watchdog::wait_for`] does, and reports the duration of the wait at every tick.
    async fn wait_with_ticks<T>(
        &mut self,
        at: Position,
        (waiting, ticked): (impl Fn() -> Waiting, impl Fn(Duration)),
        future: impl Future<Output = T>,
    ) -> Result<T, Error> {
        let mut future = pin!(future);
        let mut long_wait: Option<LongWait> = None;
        loop {
            tokio::select! {
                biased;
                error = failure(self.failures.as_mut()) => return Err(error),
                value = &mut future => return Ok(value),
                () = tokio::time::sleep(TICK) => {}
            }
            self.check_cancelled(at)?;
            let now = self.rig.clock.now();
            // The clock is read only from the first tick on, so a short wait does not read it.
            let long_wait = long_wait.get_or_insert(LongWait { since: now.saturating_sub(nanos(TICK)), reports: 0 });
            let waited = long_wait.waited(now);
            ticked(waited);
            if long_wait.is_due(waited, self.limits.report_after) {
                let stall = self.stall(at, waiting(), waited);
                if !stall.waiting.is_reported_elsewhere() {
                    self.rig.observer.stalled(&stall);
                }
            }
            if !self.limits.end_after.is_zero() && waited >= self.limits.end_after {
                return Err(Error::Stalled { stall: Box::new(self.stall(at, waiting(), waited)) });
            }
        }
    }

    fn stall(&self, at: Position, waiting: Waiting, waited: Duration) -> Stall {
        let Place { rank, at } = self.place(at);
        Stall { rank, epoch: at.epoch, step: u64::from(at.step), waiting, waited }
    }

    /// Waits for a collective.
    pub(crate) async fn collective<T>(&mut self, at: Position, collective: Collective<'_, T>) -> Result<T, Error> {
        let (place, rig) = (self.place(at), self.rig);
        self.announce(at, Activity::Meeting);
        let waiting = || Waiting::Ranks { absent: rig.comm.missing() };
        let ticked = |waited| rig.comm.waiting(waited);
        self.wait_with_ticks(at, (waiting, ticked), collective).await?.map_err(|source| Error::Comm { place, source })
    }

    /// Waits until a time, in slices that are short enough for cancellation.
    pub(crate) async fn sleep_until(&mut self, at: Position, until: Nanos) -> Result<(), Error> {
        self.announce(at, Activity::Computing);
        loop {
            let slice = self.rig.clock.now().saturating_add(nanos(TICK));
            self.rig.clock.sleep_until(until.min(slice)).await;
            self.check_cancelled(at)?;
            if until <= slice {
                return Ok(());
            }
            if let Some(error) = self.lane_error() {
                return Err(error);
            }
        }
    }

    /// Returns an error that a lane has already reported, if any.
    pub(crate) fn lane_error(&mut self) -> Option<Error> {
        self.failures.as_mut().and_then(|failures| failures.try_recv().ok())
    }

    /// Returns an error if the run was cancelled.
    pub(crate) fn check_cancelled(&self, at: Position) -> Result<(), Error> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled { place: self.place(at) }) } else { Ok(()) }
    }

    /// Waits until every lane has ended, for a limited time, because an operation may hang in the kernel.
    pub(crate) async fn lanes_ended(&mut self) {
        const PATIENCE: Duration = Duration::from_secs(2);
        if let Some(mut failures) = self.failures.take() {
            let ended = async { while failures.recv().await.is_some() {} };
            // A lane that hangs in the kernel lives until the process ends.
            let _ = tokio::time::timeout(PATIENCE, ended).await;
        }
    }
}

/// Waits for the next error of a lane; never completes without running lanes.
async fn failure(failures: Option<&mut UnboundedReceiver<Error>>) -> Error {
    match failures {
        Some(failures) => match failures.recv().await {
            Some(error) => error,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// A long wait.
struct LongWait {
    since: Nanos,
    reports: u32,
}

impl LongWait {
    /// Returns the duration of the wait so far.
    fn waited(&self, now: Nanos) -> Duration {
        Duration::from_nanos(now.saturating_sub(self.since))
    }

    /// Returns whether a report is due: one is due each time that the wait has lasted `every` longer.
    fn is_due(&mut self, waited: Duration, every: Duration) -> bool {
        let is_due = !every.is_zero() && waited >= every.saturating_mul(self.reports.saturating_add(1));
        self.reports += u32::from(is_due);
        is_due
    }
}
