//! The attempts of one request: chooses the endpoint and the time of each attempt, and updates the health of its
//! endpoint.
//!
//! Invariant: every attempt that began is one [`Attempt`] of the receipt or the error.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dlio_event::{ConnectionId, Nanos, OpKind, Outcome};

use super::client_state::ClientState;
use super::clock::unix_time;
use super::endpoints::{Endpoint, InFlight};
use super::failure::{Failure, Retry};
use super::health::{Evidence, Probe};
use super::request_spec::{Failed, RequestSpec};
use super::retry::{FailedAttempt, RetryDecision, RetryState};
use super::{scheme, tunnel};
use crate::{Attempt, Attempts, ErrorKind, Receipt};

/// An attempt in progress.
pub(super) struct ActiveAttempt<'a> {
    pub(super) record: Attempt,
    pub(super) endpoint: &'a Endpoint,
    /// Longest silence before the first byte of the response.
    pub(super) limit: Duration,
    pub(super) spec: &'a RequestSpec<'a>,
    /// The right to probe an endpoint that is down.
    pub(super) probe: Option<Probe<'a>>,
    /// Counts the request while it is in flight.
    pub(super) _guard: InFlight<'a>,
}

/// Returns whether the endpoint has never sent a valid response, so that its address may have the wrong scheme.
fn is_first_sight(attempt: &ActiveAttempt<'_>, failure: &Failure) -> bool {
    let ActiveAttempt { endpoint, record, .. } = attempt;
    let vague = failure.status == 400 && failure.code.is_empty();
    let mute = match failure.outcome {
        Outcome::Connect => failure.status == 0 && failure.retry == Retry::Later,
        // A server without TLS may wait for the rest of a line.
        Outcome::Timeout => endpoint.tls && record.connection == ConnectionId::NONE,
        _ => false,
    };
    (mute || vague) && !endpoint.health.has_answered()
}

/// The attempts of one request.
pub(super) struct RetryLoop<'a> {
    client: &'a Arc<ClientState>,
    spec: &'a RequestSpec<'a>,
    log: Attempts,
    state: RetryState,
    /// Endpoint of the failed attempt.
    failed_at: Option<usize>,
    affected: bool,
}

impl<'a> RetryLoop<'a> {
    pub(super) fn new(client: &'a Arc<ClientState>, spec: &'a RequestSpec<'a>) -> Self {
        let state = RetryState::default();
        Self { client, spec, log: Attempts::new(), state, failed_at: None, affected: false }
    }

    /// Starts an attempt for a part of the object; waits while its endpoint is down and other requests probe it.
    pub(super) async fn begin(
        &mut self,
        kind: OpKind,
        offset: u64,
        requested: Option<u64>,
    ) -> Result<ActiveAttempt<'a>, Box<Failed>> {
        let client = self.client;
        let mut endpoint = self.failed_at.map_or_else(|| client.endpoints.pick(), |index| client.endpoints.get(index));
        let mut probe = None;
        if self.failed_at.is_some() || !endpoint.health.is_up() {
            (endpoint, probe) = Box::pin(self.admit(endpoint)).await?;
        }
        let start = client.time.now();
        let config = &client.config;
        let is_read = matches!(kind, OpKind::Get | OpKind::GetRange | OpKind::Head | OpKind::List);
        let limit = self.state.limit(&config.retry, config.request_timeout, start, config.failover && is_read);
        let record = Attempt {
            offset,
            requested,
            endpoint: Some(Arc::clone(&endpoint.name)),
            number: u8::try_from(self.log.len()).unwrap_or(u8::MAX),
            ..Attempt::started(kind, start)
        };
        Ok(ActiveAttempt { record, endpoint, limit, spec: self.spec, probe, _guard: endpoint.enter() })
    }

    /// Finds the endpoint for a request whose own endpoint is not known to be healthy.
    async fn admit(&mut self, endpoint: &'a Endpoint) -> Result<(&'a Endpoint, Option<Probe<'a>>), Box<Failed>> {
        let client = self.client;
        let failed_here = self.failed_at == Some(endpoint.index);
        loop {
            let now = client.time.now();
            let health = &endpoint.health;
            if (failed_here || !health.is_up())
                && let Some(other) = client.endpoints.instead_of(endpoint.index)
            {
                if !health.is_up() && health.is_probe_due(now) {
                    tokio::spawn(Arc::clone(client).ask_whether_back(endpoint.index));
                }
                client.counts.elsewhere.fetch_add(1, Ordering::Relaxed);
                self.affect(endpoint);
                return Ok((other, None));
            }
            if !health.is_down() {
                return Ok((endpoint, None));
            }
            self.affect(endpoint);
            client.notify(health.report(&endpoint.name, now));
            self.state.wait_from(now);
            let waited = self.state.waited(now);
            let patience = client.config.retry.retry_for;
            if waited >= patience {
                let failure = Failure::new(ErrorKind::Unreachable, Outcome::Connect, health.reason()).later();
                return Err(self.give_up(endpoint, failure, now));
            }
            if let Some(probe) = health.probe(now) {
                return Ok((endpoint, Some(probe)));
            }
            health.change(&*client.time, patience.saturating_sub(waited)).await;
        }
    }

    /// Makes attempts until one succeeds or the operation is given up. `what` contains kind, offset and length of the
    /// request; `bytes` are those of the receipt.
    pub(super) async fn run<T>(
        mut self,
        what: (OpKind, u64, Option<u64>),
        bytes: u64,
        mut once: impl AsyncFnMut(&mut ActiveAttempt<'a>) -> Result<T, Failure>,
    ) -> Result<(T, Receipt), Box<Failed>> {
        let (kind, offset, requested) = what;
        loop {
            let mut attempt = self.begin(kind, offset, requested).await?;
            match once(&mut attempt).await {
                Ok(value) => return Ok((value, self.succeed(attempt, bytes))),
                Err(failure) => self.failed(attempt, failure).await?,
            }
        }
    }

    /// Records the successful attempt and returns the receipt.
    pub(super) fn succeed(mut self, mut attempt: ActiveAttempt<'_>, bytes: u64) -> Receipt {
        let now = self.client.time.now();
        attempt.record.end = now;
        self.client.notify(attempt.endpoint.health.answered(&attempt.endpoint.name, now));
        self.log.push(attempt.record);
        Receipt { bytes, attempts: self.log }
    }

    /// Waits until the next attempt may start, or gives up.
    pub(super) async fn failed(
        &mut self,
        mut attempt: ActiveAttempt<'_>,
        mut failure: Failure,
    ) -> Result<(), Box<Failed>> {
        let client = self.client;
        let now = client.time.now();
        attempt.record.end = now;
        attempt.record.outcome = failure.outcome;
        if failure.status != 0 {
            attempt.record.status = failure.status;
        }
        if is_first_sight(&attempt, &failure)
            && let Some(told) = scheme::mismatch(attempt.endpoint).await
        {
            failure = told;
        }
        if let Some(proxy) = attempt.endpoint.proxy.as_ref().filter(|_| failure.code.is_empty()) {
            if failure.status == 407 {
                failure.message = tunnel::unauthorized(proxy);
            }
            let host = &attempt.endpoint.host;
            // There was no S3 response, so the endpoint or something else at this address may have answered.
            let or = match failure.status {
                401 | 403 if !attempt.endpoint.tls => format!("; or the proxy refuses it: put {host} into NO_PROXY"),
                _ => String::new(),
            };
            failure.message = format!("through the proxy {proxy}: {}{or}", failure.message);
        }
        self.update_health(&attempt, &failure);
        renew_if_expired(client, &mut failure).await;
        let ActiveAttempt { record, endpoint, probe, .. } = attempt;
        drop(probe);
        let moved = |counts: bool| if counts { record.bytes } else { 0 };
        let is_read = matches!(record.kind, OpKind::Get | OpKind::GetRange);
        let seen = FailedAttempt { start: record.start, end: now, delivered: moved(is_read), sent: moved(!is_read) };
        self.log.push(record);
        let draw = client.counts.draw(client.config.seed);
        match self.state.next(&client.config.retry, &failure, seen, draw) {
            RetryDecision::Again => return Ok(()),
            RetryDecision::GiveUp => return Err(self.give_up(endpoint, failure, now)),
            RetryDecision::After(pause) => {
                client.counts.retries.fetch_add(1, Ordering::Relaxed);
                self.failed_at = Some(endpoint.index);
                let elsewhere = client.endpoints.instead_of(endpoint.index).is_some();
                // Requests that wait for an endpoint that is down take turns in probing it.
                if failure.retry_after.is_some() || !(elsewhere || endpoint.health.is_down()) {
                    let left = client.config.retry.retry_for.saturating_sub(self.state.waited(now));
                    tokio::time::sleep(pause.max(endpoint.budget.take(now)).min(left.max(pause))).await;
                }
            }
        }
        Ok(())
    }

    /// Updates the endpoint's health after a failed attempt.
    fn update_health(&mut self, attempt: &ActiveAttempt<'_>, failure: &Failure) {
        let (client, endpoint, record) = (self.client, attempt.endpoint, &attempt.record);
        let unanswered = record.first_byte.is_none();
        if failure.status != 0 || !unanswered {
            client.notify(endpoint.health.answered(&endpoint.name, record.end));
        } else if matches!(failure.outcome, Outcome::Connect | Outcome::Timeout) && failure.retry == Retry::Later {
            let none = record.connection == ConnectionId::NONE;
            let evidence = if none { Evidence::Refused } else { Evidence::Unanswered };
            let times = (record.start, record.end);
            client.notify(endpoint.health.failed(&endpoint.name, evidence, times, &failure.message));
            self.affect(endpoint);
            if attempt.probe.is_some() {
                endpoint.health.probe_failed(record.end);
            }
        }
    }

    fn affect(&mut self, endpoint: &Endpoint) {
        if !self.affected && !endpoint.health.is_up() {
            self.affected = true;
            endpoint.health.affect();
        }
    }

    fn give_up(&mut self, endpoint: &Endpoint, mut failure: Failure, now: Nanos) -> Box<Failed> {
        let (waited, patience) = (self.state.waited(now), self.client.config.retry.retry_for);
        if waited >= patience && !patience.is_zero() && failure.retry != Retry::Never {
            let seconds = waited.as_secs_f64();
            failure.message = format!(
                "{}; given up after {seconds:.0} s without a byte ({})",
                failure.message, self.client.config.retry.named
            );
        }
        let mut error = self.spec.error(self.client, failure.kind, &*failure.message);
        error.endpoint = Some(endpoint.name.to_string());
        error.attempts = std::mem::take(&mut self.log);
        Box::new(Failed { error, failure })
    }
}

/// Renews credentials that the server refused as expired, so that the request is sent again.
async fn renew_if_expired(client: &ClientState, failure: &mut Failure) {
    let Some(renewal) = &client.config.renewal else { return };
    // A response to HEAD has no body with the reason.
    let unsaid = failure.code.is_empty() && matches!(failure.status, 400 | 403);
    let over = unsaid && renewal.newest().1.is_some_and(|ends| ends <= unix_time());
    if !over && !matches!(failure.code.as_str(), "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired") {
        return;
    }
    renewal.ask().await;
    failure.retry = Retry::Later;
    let last_error = renewal.last_error();
    if !last_error.is_empty() {
        failure.message = format!("{}; they could not be renewed: {last_error}", failure.message);
    }
}
