//! Parsing of times in foreign formats.

use jiff::civil::Date;

/// Parser of RFC 3339 times. The times of a log are close to each other, so the value of the last minute is cached.
#[derive(Debug)]
pub(super) struct TimeParser {
    /// The cached minute as text: `2026-02-03T04:05:`
    minute: [u8; MINUTE],
    /// Start of the cached minute, seconds since 1970 in UTC.
    seconds: i64,
}

const MINUTE: usize = 17;

impl Default for TimeParser {
    fn default() -> Self {
        // No text begins with these bytes.
        Self { minute: [0xff; MINUTE], seconds: 0 }
    }
}

impl TimeParser {
    /// Returns nanoseconds since 1970, like [`rfc3339`].
    pub(super) fn nanos(&mut self, text: &str) -> Option<u64> {
        let bytes = text.as_bytes();
        let [zone @ .., b'Z'] = bytes else { return u64::try_from(rfc3339(text)?).ok() };
        if let Some(rest) = zone.strip_prefix(&self.minute)
            && let Some(in_minute) = seconds(rest)
        {
            return u64::try_from(self.seconds.checked_mul(1_000_000_000)?.checked_add(in_minute)?).ok();
        }
        let nanos = rfc3339(text)?;
        let minute = bytes.first_chunk().copied().zip(bytes.get(MINUTE..zone.len()).and_then(seconds));
        if let Some((minute, in_minute)) = minute {
            (self.minute, self.seconds) = (minute, (nanos - in_minute) / 1_000_000_000);
        }
        u64::try_from(nanos).ok()
    }
}

/// Parses the seconds `06` or `06.789` as nanoseconds.
fn seconds(text: &[u8]) -> Option<i64> {
    let (whole, decimals) = text.split_first_chunk::<2>()?;
    let whole = digits(whole).filter(|second| *second <= 60)? * 1_000_000_000;
    match decimals {
        [] => Some(whole),
        [b'.', decimals @ ..] => Some(whole + fraction(decimals)?),
        _ => None,
    }
}

/// Parses an RFC 3339 time such as `2026-02-03T04:05:06.789Z`, with any offset, as nanoseconds since 1970. Decimals after the
/// ninth are ignored.
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
    let seconds = days(year, month, day)? * 86_400 + hour * 3_600 + minute * 60 + second - offset(rest)?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// Returns the offset of a time zone from UTC, seconds.
fn offset(zone: &[u8]) -> Option<i64> {
    match zone {
        b"Z" | b"z" => Some(0),
        // With a colon, or without one as strftime writes it.
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

/// Parses eight digits at once: first pairs, then groups of four, then all.
fn eight_digits(text: [u8; 8]) -> Option<i64> {
    let word = u64::from_le_bytes(text);
    // Each high nibble must be 3 and no low nibble may exceed 9.
    let low = word & 0x0f0f_0f0f_0f0f_0f0f;
    if word & 0xf0f0_f0f0_f0f0_f0f0 != 0x3030_3030_3030_3030
        || low.wrapping_add(0x0606_0606_0606_0606) & 0xf0f0_f0f0_f0f0_f0f0 != 0
    {
        return None;
    }
    let pairs = low.wrapping_mul(10).wrapping_add(low >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    let all = fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff;
    i64::try_from(all).ok()
}

/// Parses the digits after a decimal point as nanoseconds; digits after the ninth are ignored.
fn fraction(decimals: &[u8]) -> Option<i64> {
    if let [eight @ .., last] = decimals
        && let Ok(eight) = <[u8; 8]>::try_from(eight)
    {
        return Some(eight_digits(eight)? * 10 + digits(&[*last])?);
    }
    let kept = &decimals[..decimals.len().min(9)];
    let missing = u32::try_from(9 - kept.len()).ok()?;
    Some(digits(kept)? * 10_i64.pow(missing))
}

/// Returns the days from 1970-01-01 to a date of the Gregorian calendar. A day that its month lacks counts on into the next
/// month.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let first = Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, 1).ok()?;
    Some(first.duration_since(Date::constant(1970, 1, 1)).as_hours() / 24 + day - 1)
}

/// Parses a decimal number of seconds as nanoseconds, without floating-point rounding.
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
    fn remembering_the_minute_changes_no_time() {
        let mut calendar = TimeParser::default();
        for text in [
            "2026-11-21T07:15:21.412861Z",
            "2026-11-21T07:15:59.123456789Z",
            "2026-11-21T07:15:59.12345678xZ",
            "2026-11-21T07:15:5Z",
            "2026-11-21T07:15:60Z",
            "2026-11-21T07:15:61Z",
            "2026-11-21T07:15:.5Z",
            "2026-11-21T07:15:00.Z",
            "2026-11-21T07:16:00Z",
            "2026-11-21T07:15:00.123456789123Z",
            "2026-11-21T07:15:00+01:00",
            "2026-11-21T07:15:00z",
            "1969-12-31T23:59:59Z",
            "2026-11-21T07:15:0é.1Z",
            "Z",
            "",
        ] {
            let plain = rfc3339(text).and_then(|at| u64::try_from(at).ok());
            assert_eq!(calendar.nanos(text), plain, "{text}");
            assert_eq!(calendar.nanos(text), plain, "{text} again");
        }
    }

    #[test]
    fn eight_digits_are_read_at_once_and_nothing_else() {
        assert_eq!(eight_digits(*b"12345678"), Some(12_345_678));
        assert_eq!(eight_digits(*b"00000000"), Some(0));
        assert_eq!(eight_digits(*b"99999999"), Some(99_999_999));
        for place in 0..8 {
            for wrong in [b'/', b':', b' ', b'a', 0xb5, b'?'] {
                let mut text = *b"12345678";
                text[place] = wrong;
                assert_eq!(eight_digits(text), None);
            }
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
