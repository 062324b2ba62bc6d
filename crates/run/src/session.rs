//! A started run on one rank: communicator, configuration, log, clock, output folder.

use std::cell::{OnceCell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dlio_comm::Communicator;
use dlio_comm::shared::Failures;
use dlio_config::{Loaded, Notice, NoticeCode, Severity};
use dlio_engine::{MonotonicClock, StallLimits};
use dlio_event::TimeSource;
use dlio_storage::s3::S3;
use dlio_trace::ClockAnchor;

use crate::collective::{agree, align_clocks};
use crate::failure::Failure;
use crate::front_end::FrontEnd;
use crate::host::wall_clock::Anchor;
use crate::message::Level;
use crate::outcome::Outcome;
use crate::output_folder::Claim;
use crate::outputs::endpoint_notices::EndpointLogger;
use crate::outputs::log::Log;
use crate::ranks::Ranks;
use crate::resolve::resolved_run::ResolvedRun;
use crate::stop;

/// A started run on one rank.
pub(crate) struct Session {
    /// The communicator.
    pub(crate) comm: Rc<dyn Communicator>,
    /// The communicator with the front end, for agreement on failures.
    pub(crate) ranks: Rc<Ranks>,
    /// The inner communicator, for the engine, which watches its own waits.
    pub(crate) bare: Rc<dyn Communicator>,
    /// The clock of all time stamps.
    pub(crate) clock: Arc<MonotonicClock>,
    /// The resolved run: the same on every rank.
    pub(crate) request: ResolvedRun,
    /// The loaded configuration.
    pub(crate) loaded: Loaded,
    /// The log; on ranks other than 0 it writes nothing.
    pub(crate) log: Rc<Log>,
    /// The front end that started the run.
    pub(crate) front: Arc<FrontEnd>,
    /// Times after which a wait is reported and ends the run.
    pub(crate) limits: StallLimits,
    /// S3 clients of this rank, whose retries and outages go into the summary.
    pub(crate) clients: RefCell<Vec<Arc<S3>>>,
    /// Logs lines about S3 endpoints that do not answer.
    pub(crate) speaker: OnceCell<Arc<EndpointLogger>>,
    /// Results of the run so far.
    pub(crate) outcome: RefCell<Outcome>,
    /// Offset that turns this rank's clock into rank 0's, and the round-trip time that bounds its error, both in
    /// nanoseconds.
    pub(crate) clock_offset: (i64, u64),
    /// Ranks on this node that have failed; `None` if the ranks of a node share no memory.
    pub(crate) failures: Option<Arc<Failures>>,
    /// Rank 0's lock on the output folder.
    pub(crate) output: Option<Arc<Claim>>,
}

/// Ranks of a node that fail within this time are taken to fail for the same reason.
const SAME_MOMENT: Duration = Duration::from_millis(100);

impl Session {
    /// Whether the run was started as `dlio_benchmark`, whose log it then reproduces line by line.
    pub(crate) fn as_reference(&self) -> bool {
        self.request.wanted.hydra.is_some()
    }

    /// Number of this rank.
    pub(crate) fn rank(&self) -> u32 {
        self.comm.place().rank
    }

    /// Returns a time stamp of now in DLIO's format.
    pub(crate) fn stamp(&self) -> String {
        self.request.anchor.stamp(self.clock.now())
    }

    /// Logs one line with a time stamp, on rank 0.
    pub(crate) fn log_output(&self, text: &str) {
        if self.rank() > 0 {
            return;
        }
        self.log.line(&format!("{} {text}", self.stamp()));
    }

    /// Logs one line that DLIO does not have, with a time stamp, on rank 0. In a log that reproduces DLIO's, its level
    /// is INFO.
    pub(crate) fn log_own(&self, text: &str) {
        if self.as_reference() { self.log_info(text) } else { self.log_output(text) }
    }

    /// Logs one warning with a time stamp, on rank 0.
    pub(crate) fn warn(&self, text: &str) {
        if self.rank() > 0 {
            return;
        }
        self.log.warning(&format!("{} {text}", self.stamp()));
    }

    /// Returns the failure to report when this rank fails during the run and the other ranks do not know: with the
    /// rank's number, if there are several ranks. Ranks of a node that fail within 0.1 s of each other, as on a full
    /// disk, report it once.
    pub(crate) async fn alone(&self, failure: &Failure) -> Failure {
        let place = self.comm.place();
        if place.size == 1 {
            return failure.clone();
        }
        let named = failure.message.contains(&format!("rank {}", place.rank));
        let who = if named { place.host.clone() } else { format!("rank {} on {}", place.rank, place.host) };
        let mut reported = Failure::new(failure.code, format_args!("{who}: {failure}"));
        if let Some(failures) = &self.failures {
            failures.add();
            tokio::time::sleep(SAME_MOMENT).await;
            if !failures.claim_report() {
                // The rank that reports the failure ends this process, too; if it is gone, this rank ends itself after
                // the wait.
                tokio::time::sleep(stop::GRACE).await;
            }
            let others: Vec<String> = failures.others().iter().map(u32::to_string).collect();
            if !others.is_empty() {
                let ranks = if others.len() == 1 { "rank" } else { "ranks" };
                reported.message = format!("{} ({ranks} {} failed as well)", reported.message, others.join(", "));
            }
        }
        reported.of_this_rank()
    }

    /// Ends the run with the same failure on every rank if any rank has one.
    ///
    /// # Errors
    /// The failure of the lowest rank that has one. Rank 0 has reported it.
    pub(crate) async fn agree<T>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        agree(&self.ranks, result).await
    }

    /// Returns the path of a trace folder of this run.
    pub(crate) fn trace_folder(&self, folder: &str) -> PathBuf {
        self.request.output.join(folder)
    }

    /// Measures the offset between this rank's clock and rank 0's once more, so that the drift over the run is known.
    ///
    /// # Errors
    /// If the collective operation fails.
    pub(crate) async fn clock_now(&self) -> Result<ClockAnchor, Failure> {
        let offset = align_clocks(&*self.comm, &self.clock).await?;
        Ok(self.clock_anchor(offset))
    }

    pub(crate) fn clock_anchor(&self, (offset_to_rank0_ns, rtt_ns): (i64, u64)) -> ClockAnchor {
        let anchor = Anchor::now(&*self.clock);
        ClockAnchor { monotonic_ns: anchor.monotonic, wall_unix_ns: anchor.unix_nanos, offset_to_rank0_ns, rtt_ns }
    }

    /// Logs a notice of the configuration or the plan, on rank 0. Quirks that DLIO has as well are no warnings when it
    /// was called as `dlio_benchmark`.
    pub(crate) fn notice(&self, notice: &Notice) {
        match notice.severity {
            Severity::Warning if !(self.as_reference() && notice.code == NoticeCode::Quirk) => self.warn(&notice.text),
            // Many normal runs have such quirks: they are logged, but not as warnings.
            Severity::Info if !self.as_reference() && notice.code == NoticeCode::Quirk => self.log_own(&notice.text),
            _ => self.log_info(&notice.text),
        }
    }

    /// Logs one line at level INFO with a time stamp, on rank 0.
    pub(crate) fn log_info(&self, text: &str) {
        if self.rank() == 0 {
            self.log.leveled(Level::Info, &format!("{} {text}", self.stamp()));
        }
    }
}
