//! Checks of clocks: those of servers, those of the ranks' nodes, and the wall clock against the monotonic clock.

use jiff::civil::Date;

use super::verdict::Verdict;
use dlio_run::failure::Code;
use dlio_run::host::wall_clock::Anchor;

/// Difference between a server's clock and ours in seconds that counts as wrong; S3 rejects signatures from 900 s on.
const SKEW_MAX: i64 = 300;
/// Largest difference between the clocks of nodes in seconds, so that time stamps of their logs can be compared.
const APART_MAX: f64 = 1.0;
/// Largest drift of the wall clock against the monotonic clock during a check, in seconds.
const STEP_MAX: f64 = 0.5;

/// Checks the clock of a server that is `ahead` seconds ahead of ours.
pub(crate) fn skew(ahead: i64) -> Verdict {
    let text = match ahead {
        -1..=1 => "the server's clock is ours, to a second".to_owned(),
        ..-1 => format!("the server's clock is {} s behind ours", -ahead),
        _ => format!("the server's clock is {ahead} s ahead of ours"),
    };
    if ahead.abs() <= SKEW_MAX {
        return Verdict::pass(text);
    }
    Verdict::fail(
        format!("{text}; from 900 s on S3 refuses signatures"),
        "synchronise the clock of this node or of the server (chrony, NTP)",
    )
}

/// Checks the wall clocks of hosts, which were read at about the same time, in nanoseconds since 1970.
pub(crate) fn apart(clocks: &[(String, i64)]) -> Verdict {
    let (Some(first), Some(last)) = (clocks.iter().min_by_key(|(_, at)| *at), clocks.iter().max_by_key(|(_, at)| *at))
    else {
        return Verdict::not_checked("there is no clock");
    };
    let seconds = last.1.saturating_sub(first.1) as f64 / 1e9;
    if clocks.len() == 1 {
        return Verdict::pass("all ranks read one clock");
    }
    if seconds <= APART_MAX {
        return Verdict::pass(format!("the clocks of {} nodes are within {seconds:.3} s", clocks.len()));
    }
    Verdict::fail_as(
        Code::Ranks,
        format!("the clock of {} is {seconds:.3} s ahead of that of {}", last.0, first.0),
        "synchronise the nodes' clocks (chrony, NTP)",
    )
}

/// Checks the wall clock by two readings of both clocks.
pub(crate) fn steady(before: &Anchor, after: &Anchor) -> Verdict {
    let monotonic = after.monotonic.saturating_sub(before.monotonic) as f64 / 1e9;
    let wall = after.unix_nanos.saturating_sub(before.unix_nanos) as f64 / 1e9;
    let off = wall - monotonic;
    if off.abs() <= STEP_MAX {
        return Verdict::pass(format!("in {monotonic:.2} s the wall clock and the monotonic clock went alike"));
    }
    Verdict::fail(
        format!("in {monotonic:.2} s the wall clock went {wall:.2} s: it is being set"),
        "wait until the clock of this node is synchronised; time stamps and signatures follow it",
    )
}

/// Parses an HTTP date such as `Sun, 06 Nov 1994 08:49:37 GMT` to seconds since 1970.
pub(crate) fn http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(',')?.1.split_whitespace();
    let day: i64 = words.next()?.parse().ok()?;
    let name = words.next()?;
    let month = i64::try_from(MONTHS.iter().position(|month| *month == name)?).ok()? + 1;
    let year: i64 = words.next()?.parse().ok()?;
    let mut time = words.next()?.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    if !(1..=31).contains(&day) || !(1970..10_000).contains(&year) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // A day that its month does not have counts on into the next month.
    let first = Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, 1).ok()?;
    let days = first.duration_since(Date::constant(1970, 1, 1)).as_hours() / 24 + day - 1;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_http_date_is_seconds_since_1970() {
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(http_date("Thu, 29 Feb 2024 12:00:00 GMT"), Some(1_709_208_000));
        for wrong in
            ["", "now", "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49 GMT", "Sun, 99 Nov 1994 1:2:3"]
        {
            assert_eq!(http_date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_server_whose_clock_is_far_off_fails() {
        assert_eq!(skew(0).word(), "pass");
        assert_eq!(skew(-300).word(), "pass");
        assert_eq!(skew(301).word(), "fail");
        assert!(matches!(skew(-3600), Verdict::Fail { evidence, .. } if evidence.contains("3600 s behind ours")));
    }

    #[test]
    fn nodes_whose_clocks_are_apart_are_named() {
        assert_eq!(apart(&[("a".into(), 5)]).word(), "pass");
        assert_eq!(apart(&[("a".into(), 0), ("b".into(), 900_000_000)]).word(), "pass");
        let far = apart(&[("a".into(), 0), ("b".into(), 90_000_000_000)]);
        assert!(
            matches!(far, Verdict::Fail { evidence, .. } if evidence.contains("clock of b is 90.000 s ahead of that of a"))
        );
    }

    #[test]
    fn a_wall_clock_that_jumps_is_noticed() {
        let at = |monotonic, unix_nanos| Anchor { monotonic, unix_nanos, utc_offset_seconds: 0 };
        assert_eq!(steady(&at(0, 0), &at(1_000_000_000, 1_100_000_000)).word(), "pass");
        assert_eq!(steady(&at(0, 0), &at(1_000_000_000, 61_000_000_000)).word(), "fail");
    }
}
