//! The one place that reads the wall clock: an anchor that ties the monotonic clock to it, and local time stamps.

use dlio_event::{Nanos, TimeSource};

/// A moment read on both clocks.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub struct Anchor {
    /// Monotonic clock, nanoseconds.
    pub monotonic: Nanos,
    /// Wall clock, nanoseconds since 1970-01-01 UTC.
    pub unix_nanos: i64,
    /// Local time minus UTC, seconds.
    pub utc_offset_seconds: i32,
}

impl Anchor {
    /// Reads both clocks now.
    pub fn now(time: &dyn TimeSource) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place that anchors the wall clock")]
        let wall = std::time::SystemTime::now();
        let since_epoch = wall.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let unix_nanos = i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX);
        Self { monotonic: time.now(), unix_nanos, utc_offset_seconds: utc_offset(unix_nanos / 1_000_000_000) }
    }

    /// Wall-clock nanoseconds of a monotonic reading.
    pub fn unix_at(&self, at: Nanos) -> i64 {
        let since = i128::from(at) - i128::from(self.monotonic);
        i64::try_from(i128::from(self.unix_nanos) + since).unwrap_or(i64::MAX)
    }

    /// Time stamp in the reference's form, local time, microseconds.
    pub fn stamp(&self, at: Nanos) -> String {
        dlio_analyze::outputs::timestamp(self.unix_at(at), self.utc_offset_seconds)
    }
}

/// Local time minus UTC at a moment, in seconds, by the system's time-zone rules.
#[expect(unsafe_code, reason = "the C library alone knows the system's time zone")]
fn utc_offset(unix_seconds: i64) -> i32 {
    // SAFETY: `tm` is plain data for which all-zero bytes are valid; both pointers live for the whole call.
    let broken_down = unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        libc::localtime_r(&raw const unix_seconds, &raw mut tm);
        tm
    };
    i32::try_from(broken_down.tm_gmtoff).unwrap_or(0)
}
