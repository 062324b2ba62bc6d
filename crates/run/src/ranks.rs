//! A communicator whose waits, outside of the engine, end at a signal, are reported when they take long, and end the
//! run when they exceed the stall timeout.

use std::cell::{Cell, OnceCell};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dlio_comm::{Collective, Communicator, Error, MissingRanks, Place, RankStatus};
use dlio_engine::StallLimits;

use crate::failure::{Code, Failure};
use crate::front_end::FrontEnd;
use crate::stop::{Signal, StopHandle};

/// Interval at which a wait looks for signals and stalls.
const TICK: Duration = Duration::from_millis(100);
/// Time after which a wait is reported unless the options set another one.
pub const REPORT_AFTER: Duration = Duration::from_mins(1);

/// A communicator that watches its own waits.
pub struct Ranks {
    inner: Rc<dyn Communicator>,
    limits: Cell<StallLimits>,
    stop: OnceCell<StopHandle>,
    front: Arc<FrontEnd>,
}

impl Ranks {
    /// Wraps a communicator.
    pub fn new(inner: Rc<dyn Communicator>, front: Arc<FrontEnd>) -> Self {
        Self { inner, limits: Cell::new(StallLimits::reporting_after(REPORT_AFTER)), stop: OnceCell::new(), front }
    }

    /// The inner communicator, for the engine, which watches its own waits.
    pub fn inner(&self) -> Rc<dyn Communicator> {
        Rc::clone(&self.inner)
    }

    /// Sets the times after which waits are reported and end the run.
    pub fn set_limits(&self, limits: StallLimits) {
        self.limits.set(limits);
    }

    /// Lets waits end at a signal from now on.
    pub fn end_at_signals(&self) {
        // Later calls would set the same handle.
        let _ = self.stop.set(self.front.stop.clone());
    }

    /// The front end of this run.
    pub fn front(&self) -> &Arc<FrontEnd> {
        &self.front
    }

    /// Reports a failure.
    pub fn report(&self, failure: &Failure) {
        self.front.report(failure);
    }

    /// Class of the failure that a received signal causes; `None` if no signal was received.
    pub fn signalled(&self) -> Option<Code> {
        self.stop.get().and_then(StopHandle::received).map(|signal: Signal| signal.code)
    }

    async fn attend<T>(&self, collective: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let mut collective = pin!(collective);
        let (mut waited, mut reported) = (Duration::ZERO, 0u32);
        let cancelled = || self.stop.get().is_some_and(|stop| stop.cancel_flag().is_cancelled());
        loop {
            // After a signal, waits end at once.
            let tick = if cancelled() { Duration::ZERO } else { TICK };
            tokio::select! {
                biased;
                result = &mut collective => return result,
                () = tokio::time::sleep(tick) => {}
            }
            waited += tick;
            if cancelled() {
                return Err(Error::Cancelled);
            }
            self.inner.waiting(waited);
            let StallLimits { report_after, end_after } = self.limits.get();
            let absent = || self.inner.missing();
            let text = |absent: &MissingRanks| {
                format!("rank {} has waited {} s for {absent}", self.place().rank, waited.as_secs())
            };
            if !report_after.is_zero() && waited >= report_after.saturating_mul(reported.saturating_add(1)) {
                reported += 1;
                let absent = absent();
                if !absent.reported_elsewhere {
                    self.front.observer.note(&text(&absent));
                }
            }
            if !end_after.is_zero() && waited >= end_after {
                return Err(Error::Stalled(format!("{}; this ends the run (--stall-timeout)", text(&absent()))));
            }
        }
    }
}

impl Communicator for Ranks {
    fn place(&self) -> &Place {
        self.inner.place()
    }

    fn barrier(&self) -> Collective<'_, ()> {
        Box::pin(self.attend(self.inner.barrier()))
    }

    fn all_gather<'a>(&'a self, bytes: &'a [u8]) -> Collective<'a, Vec<Vec<u8>>> {
        Box::pin(self.attend(self.inner.all_gather(bytes)))
    }

    fn broadcast<'a>(&'a self, bytes: &'a [u8]) -> Collective<'a, Vec<u8>> {
        Box::pin(self.attend(self.inner.broadcast(bytes)))
    }

    fn note(&self, status: RankStatus) {
        self.inner.note(status);
    }

    fn missing(&self) -> MissingRanks {
        self.inner.missing()
    }

    fn abort(&self, message: &str, exit_code: i32) {
        self.inner.abort(message, exit_code);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use dlio_comm::Simulated;

    use crate::front_end::Silent;

    use super::*;

    fn first_of_two() -> (Ranks, Simulated) {
        let mut world = Simulated::world(2);
        let second = world.pop().unwrap();
        let front = FrontEnd {
            environment: BTreeMap::new(),
            command_line: Vec::new(),
            tool_version: String::new(),
            stop: StopHandle::default(),
            observer: Arc::new(Silent),
        };
        (Ranks::new(Rc::new(world.pop().unwrap()), Arc::new(front)), second)
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_lasts_too_long_names_the_missing_rank() {
        let (first, _second) = first_of_two();
        let limits = StallLimits { report_after: Duration::ZERO, end_after: Duration::from_secs(5) };
        first.set_limits(limits);
        let error = first.barrier().await.unwrap_err().to_string();
        assert_eq!(
            error,
            "rank 0 has waited 5 s for rank 1 on simulated-0 (it was last setting up); this ends the run (--stall-timeout)"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_within_a_tick_of_a_signal() {
        let (first, _second) = first_of_two();
        first.end_at_signals();
        let stop = first.front().stop.clone();
        let waiting = first.all_gather(b"x");
        let signal = async {
            tokio::time::sleep(Duration::from_secs(7)).await;
            stop.stop(Signal::ALL[0]);
            tokio::time::Instant::now()
        };
        let (waited, at) = tokio::join!(waiting, signal);
        assert!(matches!(waited, Err(Error::Cancelled)));
        assert!(at.elapsed() <= TICK);
    }
}
