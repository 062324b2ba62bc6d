//! Wall-clock time for signatures and expiry times of credentials. No measurement uses it.

use std::time::{Duration, UNIX_EPOCH};

use jiff::SignedDuration;
use jiff::civil::DateTime;

/// Returns the seconds since 1970 on the wall clock, with which servers compare signatures.
pub(super) fn unix_seconds() -> u64 {
    unix_time().as_secs()
}

/// Returns the time since 1970 on the wall clock.
pub(super) fn unix_time() -> Duration {
    #[expect(
        clippy::disallowed_methods,
        reason = "signatures and ends of credentials are wall-clock times; no measurement is"
    )]
    let now = std::time::SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Formats seconds since 1970 in the basic format of ISO 8601, UTC: `20130524T000000Z`. Years end with 9999.
pub(super) fn iso_basic(second: u64) -> String {
    let since = SignedDuration::from_secs(i64::try_from(second).unwrap_or(i64::MAX));
    let time = DateTime::constant(1970, 1, 1, 0, 0, 0, 0).saturating_add(since);
    let (year, month, day) = (time.year(), time.month(), time.day());
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", time.hour(), time.minute(), time.second())
}
