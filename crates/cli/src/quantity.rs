//! Parsers of option values with units: times, sizes and counts.

use std::time::Duration;

use dlio_event::quantity::Unit;

/// A size in bytes, or as a share of the available amount.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Size {
    /// Bytes.
    Bytes(u64),
    /// A share between 0 and 1.
    Share(f64),
}

/// Parses a size such as `8GiB`, `500MB`, `50%` or `1073741824` (bytes).
///
/// # Errors
/// Returns a description of the expected value.
pub(crate) fn size(text: &str) -> Result<Size, String> {
    const EXPECTED: &str =
        "expected a size above 0 with a unit, for example 8GiB, 500MiB, 20GB, or a share of the memory such as 50%";
    if let Some(share) = text.trim().strip_suffix('%') {
        let share: f64 = share.trim().parse().map_err(|_| EXPECTED)?;
        return if share > 0.0 && share <= 100.0 { Ok(Size::Share(share / 100.0)) } else { Err(EXPECTED.into()) };
    }
    let bytes = Unit::Bytes.value_or(text, 1.0).ok_or(EXPECTED)?.round();
    if !(1.0..1e19).contains(&bytes) {
        return Err(EXPECTED.into());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range just checked")]
    Ok(Size::Bytes(bytes as u64))
}

/// Parses a time such as `60` or `60s` (seconds), `500ms`, `2m` or `1h`.
///
/// # Errors
/// Returns a description of the expected value.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    duration(text, 1.0)
        .ok_or_else(|| "expected a time, 0 or more, for example 60s, 500ms, 2min; a number alone is seconds".to_owned())
}

/// Parses a time like [`time`] and returns seconds.
///
/// # Errors
/// Returns a description of the expected value.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    time(text).map(|time| time.as_secs_f64())
}

/// Parses a time like [`time`] that must not be 0.
///
/// # Errors
/// Returns a description of the expected value.
pub(crate) fn time_above_zero(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("expected a time above 0, for example 30s".into()),
        time => Ok(time),
    }
}

/// Parses a time like [`time`], but plain numbers are milliseconds.
///
/// # Errors
/// Returns a description of the expected value.
pub(crate) fn milliseconds(text: &str) -> Result<Duration, String> {
    duration(text, 1e-3).ok_or_else(|| {
        "expected a time, 0 or more, for example 5, 5ms, 0.1s; a number alone is milliseconds".to_owned()
    })
}

/// Parses a count of at least 1, such as `500`, `10k` or `2M`.
///
/// # Errors
/// Returns a description of the expected value.
pub(crate) fn count<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    let whole = Unit::Count.value_or(text, 1.0).filter(|count| (1.0..9e15).contains(count) && count.fract() == 0.0);
    let whole = whole.ok_or("expected a whole number from 1 on, for example 8, 10k, 2M")?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range just checked")]
    T::try_from(whole as u64).map_err(|_| format!("{text} is more than this number can be"))
}

/// Parses a number of operations in flight between 1 and 4096.
///
/// # Errors
/// Returns a description of the expected value.
pub(crate) fn inflight(text: &str) -> Result<u32, String> {
    count(text).ok().filter(|count| *count <= 4096).ok_or_else(|| "expected a whole number from 1 to 4096".to_owned())
}

fn duration(text: &str, bare: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(Unit::Seconds.value_or(text, bare)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_or_are_shares() {
        assert_eq!(size("8GiB"), Ok(Size::Bytes(8 << 30)));
        assert_eq!(size("1.5 mib"), Ok(Size::Bytes(3 << 19)));
        assert_eq!(size("20GB"), Ok(Size::Bytes(20_000_000_000)));
        assert_eq!(size("4096"), Ok(Size::Bytes(4096)));
        assert_eq!(size("50%"), Ok(Size::Share(0.5)));
        for wrong in ["", "0", "GiB", "8Gb!", "8Gb", "-1GiB", "0%", "101%", "99999999TiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_have_units_and_seconds_need_none() {
        assert_eq!(time("60"), Ok(Duration::from_mins(1)));
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time("2m"), time("2min"));
        assert_eq!(time("0"), Ok(Duration::ZERO));
        assert_eq!(seconds("1.5h"), Ok(5400.0));
        assert_eq!((milliseconds("5"), milliseconds("5ms")), (time("0.005"), time("0.005")));
        assert!(time_above_zero("0").is_err());
        for wrong in ["", "s", "-1", "3 weeks", "1e30"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_of_things_may_be_thousands() {
        assert_eq!((count::<u32>("8"), count::<u32>("10k")), (Ok(8), Ok(10_000)));
        assert_eq!(inflight("4k"), Ok(4000));
        for wrong in ["0", "1.5", "many", "8G", ""] {
            assert!(count::<u32>(wrong).is_err(), "{wrong}");
        }
        assert!(inflight("5000").is_err());
    }
}
