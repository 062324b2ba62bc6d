//! What is said of S3 endpoints that do not answer: a line when that begins and when it is over, and the sum at the end of the run.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, Mutex, PoisonError};

use dlio_analyze::outputs::{EndpointOutage, RequestTroubles};
use dlio_event::TimeSource;
use dlio_storage::s3::{EndpointNotice, NoticeSink, S3};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::host::wall_clock::Anchor;
use crate::outputs::log::Log;
use crate::session::{Session, gather};

/// Lines about endpoints; from any thread of a rank.
pub struct Speaker {
    /// Where lines go.
    pub log: Log,
    /// The clock of the stamps.
    pub clock: Arc<dyn TimeSource>,
    /// What to add to this rank's clock to get rank 0's, nanoseconds.
    pub offset_ns: i64,
    /// Rank 0's clocks at the start.
    pub anchor: Anchor,
    /// This rank, where there are others.
    pub rank: Option<u32>,
    /// What becomes of requests to an endpoint that fails.
    pub policy: String,
    /// Endpoints of which this rank speaks for all ranks of its node.
    claims: Mutex<HashMap<Arc<str>, UnixDatagram>>,
}

impl Speaker {
    /// Speaks for this rank of a session.
    pub fn new(session: &Session, log: Log, offset_ns: i64) -> Self {
        let place = session.comm.place();
        let keys = &session.loaded.workload.dlio_rs;
        let policy = match keys.on_endpoint_failure {
            dlio_config::vocabulary::EndpointFailure::Fail => {
                format!(
                    "its requests are repeated, and the run ends after {} s without an answer (--retry-for)",
                    keys.retry_for
                )
            }
            dlio_config::vocabulary::EndpointFailure::Failover => "its requests go to endpoints that answer".to_owned(),
        };
        Self {
            log,
            clock: session.clock.clone(),
            offset_ns,
            anchor: session.request.anchor,
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

    /// Whether this rank is the first of its node that speaks of the endpoint: the others see the same. The name of a socket that
    /// lives in no file system is the mark.
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
            // Where there are no such names every rank speaks for itself.
            Err(error) => error.kind() != std::io::ErrorKind::AddrInUse,
        }
    }

    fn release(&self, endpoint: &Arc<str>) -> bool {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner).remove(endpoint).is_some()
    }
}

/// Lets a client speak through `speaker`.
pub fn listen(client: &S3, speaker: &Arc<Speaker>) {
    let speaker = Arc::clone(speaker);
    let sink: NoticeSink = Arc::new(move |notice| speaker.take(&notice));
    client.on_notice(sink);
}

/// What one rank has to tell of its clients; times are rank 0's, nanoseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Told {
    retries: u64,
    elsewhere: u64,
    outages: Vec<(String, u64, u64, u64)>,
}

/// What went wrong on the way to the endpoints on all ranks, and was overcome; `None`: nothing. Every rank calls it.
///
/// # Errors
/// When the ranks cannot talk.
pub async fn collect(session: &Session) -> Result<Option<RequestTroubles>, Failure> {
    let now = session.clock.now();
    let mut mine = Told::default();
    for client in session.clients.borrow().iter() {
        let troubles = client.problems();
        mine.retries += troubles.retries;
        mine.elsewhere += troubles.elsewhere;
        mine.outages.extend(troubles.outages.into_iter().map(|outage| {
            let at = |time: u64| time.saturating_add_signed(session.clock_offset.0);
            (outage.endpoint.to_string(), at(outage.start), at(outage.end.unwrap_or(now)), outage.affected)
        }));
    }
    let all = gather(&*session.comm, &mine).await?;
    let (retries, elsewhere) = (all.iter().map(|told| told.retries).sum(), all.iter().map(|told| told.elsewhere).sum());
    let outages = merge(all.into_iter().flat_map(|told| told.outages).collect());
    let outages = outages.into_iter().map(|(endpoint, start, end, affected)| EndpointOutage {
        endpoint,
        start: session.request.anchor.stamp(start),
        seconds: end.saturating_sub(start) as f64 / 1e9,
        affected,
    });
    let troubles = RequestTroubles { retries, elsewhere, outages: outages.collect() };
    Ok((troubles != RequestTroubles::default()).then_some(troubles))
}

/// Outages that several ranks saw at the same time are one.
fn merge(mut seen: Vec<(String, u64, u64, u64)>) -> Vec<(String, u64, u64, u64)> {
    seen.sort();
    let mut merged: Vec<(String, u64, u64, u64)> = Vec::new();
    for (endpoint, start, end, affected) in seen {
        match merged.last_mut() {
            Some(last) if last.0 == endpoint && start <= last.2 => {
                (last.2, last.3) = (last.2.max(end), last.3 + affected);
            }
            _ => merged.push((endpoint, start, end, affected)),
        }
    }
    merged.sort_by_key(|(_, start, ..)| *start);
    merged
}

/// The same in words, by rank 0.
pub fn say(session: &Session, troubles: &RequestTroubles) {
    const LINES: usize = 10;
    let RequestTroubles { retries, elsewhere, outages } = troubles;
    if *retries > 0 {
        session.warn(&format!("{retries} S3 request(s) were sent again"));
    }
    if *elsewhere > 0 {
        session.warn(&format!(
            "{elsewhere} S3 request(s) went to another endpoint than theirs (dlio_rs.on_endpoint_failure=failover)"
        ));
    }
    for outage in outages.iter().take(LINES) {
        let EndpointOutage { endpoint, start, seconds, affected } = outage;
        session.warn(&format!(
            "{endpoint} did not answer for {seconds:.1} s from {start} on; {affected} request(s) failed or waited"
        ));
    }
    if outages.len() > LINES {
        session.warn(&format!("and {} more outages of endpoints", outages.len() - LINES));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ranks_saw_at_the_same_time_is_one_outage() {
        let seen = |endpoint: &str, start, end| (endpoint.to_owned(), start, end, 2);
        let merged = merge(vec![seen("b", 7, 9), seen("a", 10, 20), seen("a", 15, 25), seen("a", 30, 31)]);
        let times: Vec<_> =
            merged.iter().map(|(endpoint, start, end, affected)| (&**endpoint, *start, *end, *affected)).collect();
        assert_eq!(times, [("b", 7, 9, 2), ("a", 10, 25, 4), ("a", 30, 31, 2)]);
    }
}
