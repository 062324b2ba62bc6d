//! The wall clock: an anchor that relates it to the monotonic clock, and local time stamps.

use std::path::Path;

use dlio_event::{Nanos, TimeSource};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A point in time on both clocks.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub struct Anchor {
    /// Monotonic clock in nanoseconds.
    pub monotonic: Nanos,
    /// Wall clock in nanoseconds since 1970-01-01 UTC.
    pub unix_nanos: i64,
    /// Local time minus UTC in seconds.
    pub utc_offset_seconds: i32,
}

impl Anchor {
    /// Reads both clocks.
    pub fn now(time: &dyn TimeSource) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place that anchors the wall clock")]
        let wall = std::time::SystemTime::now();
        let since_epoch = wall.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let unix_nanos = i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX);
        Self { monotonic: time.now(), unix_nanos, utc_offset_seconds: utc_offset(unix_nanos / 1_000_000_000) }
    }

    /// Converts a monotonic time to wall-clock time in nanoseconds since 1970.
    #[must_use]
    pub fn unix_at(&self, at: Nanos) -> i64 {
        let since = i128::from(at) - i128::from(self.monotonic);
        i64::try_from(i128::from(self.unix_nanos) + since).unwrap_or(i64::MAX)
    }

    /// Formats a time like the reference: local time with microseconds.
    #[must_use]
    pub fn stamp(&self, at: Nanos) -> String {
        dlio_analyze::outputs::timestamp(self.unix_at(at), self.utc_offset_seconds)
    }
}

/// Returns local time minus UTC at a point in time in seconds.
fn utc_offset(unix_seconds: i64) -> i32 {
    local_zone().to_offset(Timestamp::from_second(unix_seconds).unwrap_or_default()).seconds()
}

/// The time zone of the process, found as the C library finds it: `TZ` names a file of the time-zone database or is a POSIX rule, and
/// without `TZ` the zone is that of `/etc/localtime`. Anything else is UTC. `TimeZone::system` is not used because it lists the whole
/// database, which takes milliseconds, and does not find the zones below `posix/` and `right/`.
fn local_zone() -> TimeZone {
    #[expect(clippy::disallowed_methods, reason = "local time is what the C library's variables say it is")]
    let variable = |name: &str| std::env::var(name).ok();
    let file = |path: &Path| TimeZone::tzif("local", &std::fs::read(path).ok()?).ok();
    let Some(name) = variable("TZ") else { return file(Path::new("/etc/localtime")).unwrap_or(TimeZone::UTC) };
    let name = name.strip_prefix(':').unwrap_or(&name);
    let database = variable("TZDIR").unwrap_or_else(|| "/usr/share/zoneinfo".to_owned());
    // A rule that does not say when summer time begins and ends has the C library's default.
    let with_default = || TimeZone::posix(&format!("{name},M3.2.0,M11.1.0"));
    let rule = || TimeZone::posix(name).or_else(|_| with_default()).ok();
    file(&Path::new(&database).join(name)).or_else(rule).unwrap_or(TimeZone::UTC)
}
