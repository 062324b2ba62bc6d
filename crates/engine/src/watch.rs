//! Waiting with open eyes: for the thing itself, for a lane's failure, for cancellation, and for a stall.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use dlio_comm::{Activity, Collective, Doing};
use dlio_event::{Nanos, Position};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::clock::nanos;
use crate::{CancelFlag, Error, Place, Rig, Stall, StallLimits, Waiting};

/// How long a wait goes on before it looks for cancellation and stalls.
const TICK: Duration = Duration::from_millis(100);

/// Every wait of the main task of a rank goes through this.
pub(crate) struct Watch<'r> {
    rig: &'r Rig,
    cancel: CancelFlag,
    limits: StallLimits,
    failures: Option<UnboundedReceiver<Error>>,
}

impl<'r> Watch<'r> {
    pub(crate) fn new(rig: &'r Rig, cancel: CancelFlag, limits: StallLimits) -> Self {
        Self { rig, cancel, limits, failures: None }
    }

    /// From now on an error of a lane ends every wait.
    pub(crate) fn set_failures(&mut self, failures: UnboundedReceiver<Error>) {
        self.failures = Some(failures);
    }

    pub(crate) fn place(&self, at: Position) -> Place {
        Place { rank: self.rig.comm.place().rank, at }
    }

    /// Tells the other ranks what this one does from now on.
    pub(crate) fn begin(&self, at: Position, activity: Activity) {
        self.rig.comm.note(Doing { activity, epoch: at.epoch, step: at.step });
    }

    /// Waits for `future`; `waiting` says what for, should it take too long.
    pub(crate) async fn attend<T>(
        &mut self,
        at: Position,
        waiting: impl Fn() -> Waiting,
        future: impl Future<Output = T>,
    ) -> Result<T, Error> {
        self.attend_ticking(at, (waiting, |_| ()), future).await
    }

    /// As [`Watch::attend`], and says for how long at every tick.
    async fn attend_ticking<T>(
        &mut self,
        at: Position,
        (waiting, ticked): (impl Fn() -> Waiting, impl Fn(Duration)),
        future: impl Future<Output = T>,
    ) -> Result<T, Error> {
        let mut future = pin!(future);
        let mut vigil: Option<Vigil> = None;
        loop {
            tokio::select! {
                biased;
                error = failure(self.failures.as_mut()) => return Err(error),
                value = &mut future => return Ok(value),
                () = tokio::time::sleep(TICK) => {}
            }
            self.check_cancelled(at)?;
            let now = self.rig.clock.now();
            // The first tick marks the start of a long wait: a short one reads no clock.
            let vigil = vigil.get_or_insert(Vigil { since: now.saturating_sub(nanos(TICK)), told: 0 });
            let waited = vigil.waited(now);
            ticked(waited);
            if vigil.is_due(waited, self.limits.report_after) {
                let stall = self.stall(at, waiting(), waited);
                if !stall.waiting.is_told_elsewhere() {
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
    pub(crate) async fn meet<T>(&mut self, at: Position, collective: Collective<'_, T>) -> Result<T, Error> {
        let (place, rig) = (self.place(at), self.rig);
        self.begin(at, Activity::Meeting);
        let waiting = || Waiting::Ranks { absent: rig.comm.absent() };
        let ticked = |waited| rig.comm.waiting(waited);
        self.attend_ticking(at, (waiting, ticked), collective).await?.map_err(|source| Error::Comm { place, source })
    }

    /// Waits for a moment, in slices that are short enough for cancellation.
    pub(crate) async fn sleep_until(&mut self, at: Position, until: Nanos) -> Result<(), Error> {
        self.begin(at, Activity::Computing);
        loop {
            let slice = self.rig.clock.now().saturating_add(nanos(TICK));
            self.rig.clock.sleep_until(until.min(slice)).await;
            self.check_cancelled(at)?;
            if until <= slice {
                return Ok(());
            }
            if let Some(error) = self.told() {
                return Err(error);
            }
        }
    }

    /// An error that a lane has told already.
    pub(crate) fn told(&mut self) -> Option<Error> {
        self.failures.as_mut().and_then(|failures| failures.try_recv().ok())
    }

    /// An error when the run was asked to end.
    pub(crate) fn check_cancelled(&self, at: Position) -> Result<(), Error> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled { place: self.place(at) }) } else { Ok(()) }
    }

    /// Waits until every lane has ended, but not for ever: an operation may hang in the kernel.
    pub(crate) async fn lanes_ended(&mut self) {
        const PATIENCE: Duration = Duration::from_secs(2);
        if let Some(mut failures) = self.failures.take() {
            let ended = async { while failures.recv().await.is_some() {} };
            // A lane that hangs in the kernel is left to the end of the process.
            let _ = tokio::time::timeout(PATIENCE, ended).await;
        }
    }
}

/// The next error of a lane; never ends where there are no lanes, or no longer any.
async fn failure(failures: Option<&mut UnboundedReceiver<Error>>) -> Error {
    match failures {
        Some(failures) => match failures.recv().await {
            Some(error) => error,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// One long wait.
struct Vigil {
    since: Nanos,
    told: u32,
}

impl Vigil {
    /// How long the wait has lasted.
    fn waited(&self, now: Nanos) -> Duration {
        Duration::from_nanos(now.saturating_sub(self.since))
    }

    /// Whether that is worth telling: after `every`, after twice that, and so on.
    fn is_due(&mut self, waited: Duration, every: Duration) -> bool {
        let is_due = !every.is_zero() && waited >= every.saturating_mul(self.told.saturating_add(1));
        self.told += u32::from(is_due);
        is_due
    }
}
