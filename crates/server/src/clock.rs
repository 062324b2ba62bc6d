//! Wall-clock time, which S3 shows to clients (`Last-Modified`, creation dates). Nothing is measured with it.

use std::time::SystemTime;

/// Now, on the wall clock.
#[expect(clippy::disallowed_methods, reason = "Last-Modified and announcements are wall-clock times by definition")]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// Seconds since 1970, for announcements.
pub(crate) fn unix_seconds() -> u64 {
    wall().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
