//! Times in the text forms that credential sources use.

use std::time::Duration;

use jiff::civil::Date;

use crate::s3::clock::iso_basic;

/// Parses times such as `2026-11-29T17:00:00Z`, with a fraction of a second, an offset, `UTC`, or no zone, which is
/// UTC. Returns the time since 1970; `None` if it is invalid or before 1970.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let mut parts = date.splitn(3, '-').map(|part| part.parse::<u32>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let end = time.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.').unwrap_or(time.len());
    let (clock, zone) = time.split_at(end);
    let clock = clock.split('.').next()?;
    let mut parts = clock.splitn(3, ':').map(|part| part.parse::<u32>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 24 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days(year, month, day)? * 86_400 + i64::from(hour * 3600 + minute * 60 + second) - offset(zone)?;
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

/// Returns the offset of a zone from UTC in seconds.
fn offset(zone: &str) -> Option<i64> {
    let zone = zone.trim();
    if matches!(zone, "" | "Z" | "z" | "UTC" | "GMT") {
        return Some(0);
    }
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let digits: String = digits.chars().filter(|c| *c != ':').collect();
    let number: i64 = digits.parse().ok()?;
    match digits.len() {
        2 => Some(sign * number * 3600),
        4 => Some(sign * (number / 100 * 3600 + number % 100 * 60)),
        _ => None,
    }
}

/// Returns the days from 1970-01-01 to a date of the Gregorian calendar. A day beyond the end of its month continues
/// in the next month, and years end with 9999.
fn days(year: u32, month: u32, day: u32) -> Option<i64> {
    let year = i16::try_from(year).unwrap_or(i16::MAX).min(9999);
    let first = Date::new(year, i8::try_from(month).ok()?, 1).ok()?;
    Some(first.duration_since(Date::constant(1970, 1, 1)).as_hours() / 24 + i64::from(day) - 1)
}

/// Formats a time: `2026-11-29T17:00:00Z`.
pub(super) fn format(moment: Duration) -> String {
    let basic = iso_basic(moment.as_secs());
    let (date, time) = basic.split_at(8);
    format!("{}-{}-{}T{}:{}:{}Z", &date[..4], &date[4..6], &date[6..8], &time[1..3], &time[3..5], &time[5..7])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_every_form_that_sources_use() {
        for text in [
            "2026-11-29T17:00:07Z",
            "2026-11-29T17:00:07.123456Z",
            "2026-11-29T17:00:07UTC",
            "2026-11-29 17:00:07+00:00",
            "2026-11-29T18:30:07+01:30",
            "2026-11-29T12:00:07-0500",
            "2026-11-29T17:00:07",
        ] {
            assert_eq!(parse(text), Some(Duration::from_secs(1_795_971_607)), "{text}");
        }
        assert_eq!(parse("2000-02-29T12:34:56Z"), Some(Duration::from_secs(951_827_696)));
        for text in ["", "tomorrow", "2026-13-01T00:00:00Z", "2026-11-29", "2026-11-29T17:00:07X"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(format(Duration::from_secs(1_795_971_607)), "2026-11-29T17:00:07Z");
    }
}
