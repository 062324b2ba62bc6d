//! Log lines about S3 endpoints that stop answering and answer again.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, Mutex, PoisonError};

use dlio_comm::Place;
use dlio_config::vocabulary::EndpointFailure;
use dlio_config::workload::DlioRs;
use dlio_event::TimeSource;
use dlio_storage::s3::{EndpointNotice, NoticeSink, S3};

use crate::host::wall_clock::Anchor;
use crate::outputs::log::Log;

/// Logs lines about endpoints, from any thread of a rank.
pub(crate) struct EndpointLogger {
    /// Log of the lines.
    pub(crate) log: Log,
    /// Clock of the time stamps.
    pub(crate) clock: Arc<dyn TimeSource>,
    /// Offset that turns this rank's clock into rank 0's, in nanoseconds.
    pub(crate) offset_ns: i64,
    /// Rank 0's wall clock and monotonic clock at the start of the run.
    pub(crate) anchor: Anchor,
    /// Number of this rank; `None` if it is the only one.
    pub(crate) rank: Option<u32>,
    /// How requests to a failed endpoint are handled, in words.
    pub(crate) policy: String,
    /// Endpoints about which this rank reports for all ranks of its node.
    claims: Mutex<HashMap<Arc<str>, UnixDatagram>>,
}

impl EndpointLogger {
    /// Creates the logger of a rank from its clock, rank 0's clocks at the start of the run, and the offset between
    /// both ranks' clocks in nanoseconds.
    pub(crate) fn new(
        place: &Place,
        keys: &DlioRs,
        log: Log,
        (clock, anchor, offset_ns): (Arc<dyn TimeSource>, Anchor, i64),
    ) -> Self {
        let policy = match keys.on_endpoint_failure {
            EndpointFailure::Fail => {
                format!(
                    "its requests are repeated, and the run ends after {} s without an answer (--retry-for)",
                    keys.retry_for
                )
            }
            EndpointFailure::Failover => "its requests go to endpoints that answer".to_owned(),
        };
        Self {
            log,
            clock,
            offset_ns,
            anchor,
            rank: (place.size > 1).then_some(place.rank),
            policy,
            claims: Mutex::default(),
        }
    }

    fn take(&self, notice: &EndpointNotice) {
        let line = match notice {
            EndpointNotice::Silent { endpoint, waiting, seconds } if self.claim(endpoint) => {
                format!("nothing has come from {endpoint} for {seconds:.0} s ({waiting}); still waiting")
            }
            EndpointNotice::Down { endpoint, reason, seconds } if self.claim(endpoint) => {
                format!("{endpoint} has not answered for {seconds:.1} s: {}: {reason}", self.policy)
            }
            EndpointNotice::Recovered { endpoint, seconds, affected } if self.release(endpoint) => {
                format!(
                    "{endpoint} answers again after {seconds:.1} s; {affected} request(s) of this rank failed or waited"
                )
            }
            _ => return,
        };
        let now = self.clock.now().saturating_add_signed(self.offset_ns);
        let rank = self.rank.map_or_else(String::new, |rank| format!("rank {rank}: "));
        self.log.warning(&format!("{} {rank}{line}", self.anchor.stamp(now)));
    }

    /// Whether this rank is the first of its node to report about the endpoint; the other ranks see the same outage.
    /// Ranks claim an endpoint by binding a socket in the abstract namespace.
    fn claim(&self, endpoint: &Arc<str>) -> bool {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        if claims.contains_key(endpoint) {
            return true;
        }
        let mut hasher = DefaultHasher::new();
        (&**endpoint, self.anchor.unix_nanos).hash(&mut hasher);
        let name = format!("dlio-rs-endpoint-{:016x}", hasher.finish());
        match SocketAddr::from_abstract_name(&name).and_then(|name| UnixDatagram::bind_addr(&name)) {
            Ok(mark) => claims.insert(Arc::clone(endpoint), mark).is_none(),
            // Without an abstract namespace every rank reports for itself.
            Err(error) => error.kind() != std::io::ErrorKind::AddrInUse,
        }
    }

    fn release(&self, endpoint: &Arc<str>) -> bool {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner).remove(endpoint).is_some()
    }
}

/// Sends the notices of a client to `speaker`.
pub(crate) fn listen(client: &S3, speaker: &Arc<EndpointLogger>) {
    let speaker = Arc::clone(speaker);
    let sink: NoticeSink = Arc::new(move |notice| speaker.take(&notice));
    client.on_notice(sink);
}
