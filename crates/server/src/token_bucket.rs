//! Bandwidth limits: all bodies that pass through a token bucket share its rate, across connections.

use std::num::NonZeroU64;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as _, Frame, SizeHint};
use s3s::{Body, StdError};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::latency::LatencyTimer;

/// The token buckets that a body passes through, one after the other.
pub(crate) type TokenBuckets = Vec<Arc<TokenBucket>>;

/// Duration of one piece at the bucket's rate, within the bounds below.
const PIECES_PER_SECOND: u64 = 100;
const PIECE_BYTES: Range<u64> = 256..64 << 10;

#[derive(Debug)]
pub(crate) struct TokenBucket {
    rate: NonZeroU64,
    /// Time window in which the limit applies, counted from `begin`; `None`: always.
    time: Option<Range<Duration>>,
    /// Time of the first GET.
    begin: Arc<OnceLock<Instant>>,
    /// When the bytes admitted so far will have passed.
    free: Mutex<Option<Instant>>,
}

impl TokenBucket {
    pub(crate) fn new(rate: NonZeroU64, time: Option<Range<Duration>>, begin: Arc<OnceLock<Instant>>) -> Self {
        Self { rate, time, begin, free: Mutex::new(None) }
    }

    /// Returns when bytes that are admitted now will have passed, after those admitted before.
    fn passed(&self, now: Instant, bytes: u64) -> Instant {
        let since = self.begin.get().map(|begin| now.saturating_duration_since(*begin));
        let is_limited = self.time.as_ref().is_none_or(|time| since.is_some_and(|since| time.contains(&since)));
        if !is_limited {
            return now;
        }
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate.get());
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let end =
            free.map_or(now, |free| free.max(now)) + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        *free = Some(end);
        end
    }

    fn piece_bytes(&self) -> u64 {
        (self.rate.get() / PIECES_PER_SECOND).clamp(PIECE_BYTES.start, PIECE_BYTES.end)
    }
}

/// A body whose bytes pass through token buckets.
pub(crate) struct ThrottledBody {
    body: Body,
    buckets: TokenBuckets,
    timer: Arc<LatencyTimer>,
    /// Bytes received from the body that have not been admitted yet.
    rest: Bytes,
    /// A piece that waits for its tokens.
    passing: Option<(Bytes, oneshot::Receiver<()>)>,
}

impl ThrottledBody {
    /// Wraps a body; returns it unchanged if there are no buckets.
    pub(crate) fn body(body: Body, buckets: &TokenBuckets, timer: &Arc<LatencyTimer>) -> Body {
        if buckets.is_empty() || body.is_end_stream() {
            return body;
        }
        let (buckets, timer) = (buckets.clone(), Arc::clone(timer));
        Body::http_body(Self { body, buckets, timer, rest: Bytes::new(), passing: None })
    }

    fn enter(&mut self) {
        let most = self.buckets.iter().map(|bucket| bucket.piece_bytes()).min().unwrap_or(u64::MAX);
        let piece = self.rest.split_to(self.rest.len().min(usize::try_from(most).unwrap_or(usize::MAX)));
        let bytes = piece.len() as u64;
        let passed = self.buckets.iter().fold(Instant::now(), |at, bucket| bucket.passed(at, bytes));
        self.passing = Some((piece, self.timer.at(passed)));
    }
}

impl hyper::body::Body for ThrottledBody {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = self.get_mut();
        loop {
            if let Some((_, passed)) = &mut this.passing {
                // If the timer thread has ended, bytes pass without delay.
                let _ = ready!(Pin::new(passed).poll(context));
                return Poll::Ready(this.passing.take().map(|(piece, _)| Ok(Frame::data(piece))));
            }
            if !this.rest.is_empty() {
                this.enter();
                continue;
            }
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => this.rest = bytes,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.passing.is_none() && self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.rest.len() + self.passing.as_ref().map_or(0, |(piece, _)| piece.len());
        let (of_body, held) = (self.body.size_hint(), held as u64);
        let mut hint = SizeHint::new();
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper + held);
        }
        hint.set_lower(of_body.lower() + held);
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_enters_a_line_waits_for_what_entered_before_it() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let bucket = TokenBucket::new(NonZeroU64::new(1000).unwrap(), None, Arc::default());
        assert_eq!(bucket.passed(at(0), 100), at(100));
        assert_eq!(bucket.passed(at(10), 200), at(300), "it is shared");
        assert_eq!(bucket.passed(at(900), 50), at(950), "what was not used is lost");
        assert_eq!(bucket.piece_bytes(), 256);
    }

    #[test]
    fn a_line_is_narrow_only_in_its_time_after_the_first_get() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let (from, to) = (Duration::from_millis(500), Duration::from_millis(700));
        let first_get: Arc<OnceLock<Instant>> = Arc::default();
        let bucket = TokenBucket::new(NonZeroU64::new(1000).unwrap(), Some(from..to), Arc::clone(&first_get));
        assert_eq!(bucket.passed(at(600), 100), at(600), "no GET has come yet");
        first_get.set(at(100)).unwrap();
        assert_eq!(bucket.passed(at(599), 100), at(599));
        assert_eq!(bucket.passed(at(600), 100), at(700));
        assert_eq!(bucket.passed(at(650), 10), at(710));
        assert_eq!(bucket.passed(at(800), 100), at(800), "its time is over");
    }
}
