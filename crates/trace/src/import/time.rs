//! Times as other programs write them.

/// Nanoseconds since 1970 of an RFC 3339 time: `2026-02-03T04:05:06.789Z`, with up to nine decimals and any offset.
pub(super) fn rfc3339(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| digits(bytes.get(from..to)?);
    let marks = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if marks.iter().any(|(at, mark)| bytes.get(*at) != Some(mark)) || !matches!(bytes.get(10), Some(b'T' | b't' | b' '))
    {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = &bytes[19..];
    let mut nanos = 0;
    if let Some(decimals) = rest.strip_prefix(b".") {
        let count = decimals.iter().take_while(|byte| byte.is_ascii_digit()).count();
        nanos = fraction(decimals.get(..count)?)?;
        rest = &decimals[count..];
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset(rest)?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// Seconds that a time zone is ahead of UTC.
fn offset(zone: &[u8]) -> Option<i64> {
    match zone {
        b"Z" | b"z" => Some(0),
        // With a colon or, as strftime writes it, without.
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] | [sign @ (b'+' | b'-'), h1, h2, m1, m2] => {
            let seconds = digits(&[*h1, *h2])? * 3_600 + digits(&[*m1, *m2])? * 60;
            Some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

fn digits(bytes: &[u8]) -> Option<i64> {
    let value = |sum: i64, byte: &u8| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0'));
    (!bytes.is_empty() && bytes.len() < 18).then(|| bytes.iter().try_fold(0, value)).flatten()
}

/// Nanoseconds of the digits behind a decimal point; more than nine are cut.
fn fraction(decimals: &[u8]) -> Option<i64> {
    let kept = &decimals[..decimals.len().min(9)];
    let missing = u32::try_from(9 - kept.len()).ok()?;
    Some(digits(kept)? * 10_i64.pow(missing))
}

/// Days from 1970-01-01 to a day of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is a year's last.
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Nanoseconds of a decimal number of seconds, without the rounding of a floating-point number.
pub(super) fn decimal_seconds(text: &str) -> Option<i64> {
    let (text, negative) = text.strip_prefix('-').map_or((text, false), |rest| (rest, true));
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let seconds = digits(whole.as_bytes())?;
    let nanos = if decimals.is_empty() { 0 } else { fraction(decimals.as_bytes())? };
    let value = seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?;
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_calendar_are_nanoseconds_since_1970() {
        assert_eq!(rfc3339("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(rfc3339("2026-11-21T07:15:21.412861Z"), Some(1_795_245_321_412_861_000));
        assert_eq!(rfc3339("2024-02-29T23:59:59.123456789+01:30"), Some(1_709_245_799_123_456_789));
        assert_eq!(rfc3339("2000-03-01T00:00:00-05:00"), Some(951_886_800_000_000_000));
        assert_eq!(rfc3339("2000-03-01T00:00:00.5+0100"), Some(951_865_200_500_000_000));
        for wrong in ["", "2026-11-21", "2026-13-01T00:00:00Z", "2026-11-21T07:15:21", "x026-11-21T07:15:21Z", "é"] {
            assert_eq!(rfc3339(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn seconds_keep_every_decimal() {
        assert_eq!(decimal_seconds("1763712000.123456"), Some(1_763_712_000_123_456_000));
        assert_eq!(decimal_seconds("0.5"), Some(500_000_000));
        assert_eq!(decimal_seconds("-2"), Some(-2_000_000_000));
        assert_eq!(decimal_seconds("1e3"), None);
    }
}
