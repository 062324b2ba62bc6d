//! S3 retries and outages of endpoints on all ranks, reported at the end of the run.

use std::sync::Arc;

use dlio_analyze::outputs::{EndpointOutage, RequestTroubles};
use dlio_event::TimeSource as _;
use serde::{Deserialize, Serialize};

use crate::backend::Opened;
use crate::collective::gather;
use crate::failure::Failure;
use crate::outputs::endpoint_notices;
use crate::session::Session;

/// Registers the client of an open storage, whose notices are logged and whose outages go into the summary.
pub(crate) fn watch(session: &Session, opened: Opened) -> Opened {
    if let (Some(client), Some(speaker)) = (&opened.s3, session.speaker.get()) {
        endpoint_notices::listen(client, speaker);
        session.clients.borrow_mut().push(Arc::clone(client));
    }
    opened
}

/// Retries and outages of one rank; times are nanoseconds of rank 0's clock.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct RankOutages {
    retries: u64,
    elsewhere: u64,
    outages: Vec<(String, u64, u64, u64)>,
}

/// Gathers retries and outages of all ranks; `None` if there were none. Every rank calls this function.
///
/// # Errors
/// If the collective operation fails.
pub(crate) async fn collect(session: &Session) -> Result<Option<RequestTroubles>, Failure> {
    let now = session.clock.now();
    let mut mine = RankOutages::default();
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

/// Merges overlapping outages of an endpoint, which several ranks observed, into one.
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

/// Logs retries and outages on rank 0.
pub(crate) fn log(session: &Session, troubles: &RequestTroubles) {
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
