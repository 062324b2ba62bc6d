//! The tries of one request: which endpoint takes the next one, when, and what each says of its endpoint.
//!
//! Invariant: every try that began is one [`Attempt`] of the receipt or of the error.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dlio_event::{ConnectionId, Nanos, OpKind, Outcome};

use super::Shared;
use super::endpoints::{Endpoint, InFlight};
use super::failure::{Failure, Retry};
use super::health::{Evidence, Probe};
use super::request::{Call, Failed};
use super::retry::{Next, RetryState, Seen};
use super::{scheme, tunnel};
use crate::{Attempt, Attempts, ErrorKind, Receipt};

/// One try.
pub(super) struct Try<'a> {
    pub(super) record: Attempt,
    pub(super) endpoint: &'a Endpoint,
    /// Longest silence before the first byte of the answer.
    pub(super) limit: Duration,
    pub(super) call: &'a Call<'a>,
    /// The turn to ask an endpoint that is down.
    pub(super) probe: Option<Probe<'a>>,
    /// Counts the request while it is in flight.
    pub(super) _guard: InFlight<'a>,
}

/// Whether nothing S3-like has ever come from the endpoint, so that its address may be of the wrong scheme.
fn is_first_sight(attempt: &Try<'_>, failure: &Failure) -> bool {
    let Try { endpoint, record, .. } = attempt;
    let vague = failure.status == 400 && failure.code.is_empty();
    let mute = match failure.outcome {
        Outcome::Connect => failure.status == 0 && failure.retry == Retry::Later,
        // A server without TLS may wait for the rest of what it takes for a line.
        Outcome::Timeout => endpoint.tls && record.connection == ConnectionId::NONE,
        _ => false,
    };
    (mute || vague) && !endpoint.health.has_answered()
}

/// The tries of one request.
pub(super) struct Tries<'a> {
    client: &'a Arc<Shared>,
    call: &'a Call<'a>,
    log: Attempts,
    state: RetryState,
    /// The endpoint of the attempt that failed.
    failed_at: Option<usize>,
    affected: bool,
}

impl<'a> Tries<'a> {
    pub(super) fn new(client: &'a Arc<Shared>, call: &'a Call<'a>) -> Self {
        let state = RetryState::default();
        Self { client, call, log: Attempts::new(), state, failed_at: None, affected: false }
    }

    /// Starts a try for a part of the object; waits while its endpoint is down and others ask whether it is back.
    pub(super) async fn begin(
        &mut self,
        kind: OpKind,
        offset: u64,
        requested: Option<u64>,
    ) -> Result<Try<'a>, Box<Failed>> {
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
        Ok(Try { record, endpoint, limit, call: self.call, probe, _guard: endpoint.enter() })
    }

    /// Finds the endpoint that may take the request when the one that it is meant for is not known to be well.
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
            client.tell(health.report(&endpoint.name, now));
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

    /// The last try did it.
    pub(super) fn succeed(mut self, mut attempt: Try<'_>, bytes: u64) -> Receipt {
        let now = self.client.time.now();
        attempt.record.end = now;
        self.client.tell(attempt.endpoint.health.answered(&attempt.endpoint.name, now));
        self.log.push(attempt.record);
        Receipt { bytes, attempts: self.log }
    }

    /// Waits until the next try may start, or gives up.
    pub(super) async fn failed(&mut self, mut attempt: Try<'_>, mut failure: Failure) -> Result<(), Box<Failed>> {
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
            // No word of S3 came, so either of the two may have said it.
            let or = match failure.status {
                401 | 403 if !attempt.endpoint.tls => format!("; or the proxy refuses it: put {host} into NO_PROXY"),
                _ => String::new(),
            };
            failure.message = format!("through the proxy {proxy}: {}{or}", failure.message);
        }
        self.learn(&attempt, &failure);
        client.renew_if_expired(&mut failure).await;
        let Try { record, endpoint, probe, .. } = attempt;
        drop(probe);
        let moved = |counts: bool| if counts { record.bytes } else { 0 };
        let is_read = matches!(record.kind, OpKind::Get | OpKind::GetRange);
        let seen = Seen { start: record.start, end: now, delivered: moved(is_read), sent: moved(!is_read) };
        self.log.push(record);
        let draw = client.counts.draw(client.config.seed);
        match self.state.next(&client.config.retry, &failure, seen, draw) {
            Next::Again => return Ok(()),
            Next::GiveUp => return Err(self.give_up(endpoint, failure, now)),
            Next::After(pause) => {
                client.counts.retries.fetch_add(1, Ordering::Relaxed);
                self.failed_at = Some(endpoint.index);
                let elsewhere = client.endpoints.instead_of(endpoint.index).is_some();
                // Whoever waits for an endpoint that is down takes turns in asking it.
                if failure.retry_after.is_some() || !(elsewhere || endpoint.health.is_down()) {
                    let left = client.config.retry.retry_for.saturating_sub(self.state.waited(now));
                    tokio::time::sleep(pause.max(endpoint.budget.take(now)).min(left.max(pause))).await;
                }
            }
        }
        Ok(())
    }

    /// Tells the endpoint's health what an attempt that failed says of it.
    fn learn(&mut self, attempt: &Try<'_>, failure: &Failure) {
        let (client, endpoint, record) = (self.client, attempt.endpoint, &attempt.record);
        let unanswered = record.first_byte.is_none();
        if failure.status != 0 || !unanswered {
            client.tell(endpoint.health.answered(&endpoint.name, record.end));
        } else if matches!(failure.outcome, Outcome::Connect | Outcome::Timeout) && failure.retry == Retry::Later {
            let none = record.connection == ConnectionId::NONE;
            let evidence = if none { Evidence::Refused } else { Evidence::Unanswered };
            let times = (record.start, record.end);
            client.tell(endpoint.health.failed(&endpoint.name, evidence, times, &failure.message));
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
        let mut error = self.call.error(self.client, failure.kind, &*failure.message);
        error.endpoint = Some(endpoint.name.to_string());
        error.attempts = std::mem::take(&mut self.log);
        Box::new(Failed { error, failure })
    }
}
