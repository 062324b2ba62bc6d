//! Sizes and times of the command line, with their units.

use std::time::Duration;

/// A size: a number of bytes, or a share of what there is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Size {
    /// Bytes.
    Bytes(u64),
    /// A share, from 0 to 1.
    Share(f64),
}

/// Reads a size: `8GiB`, `500MB`, `50%`, `1073741824`.
///
/// # Errors
/// What was expected.
pub(crate) fn size(text: &str) -> Result<Size, String> {
    const EXPECTED: &str =
        "expected a size above 0 with a unit, for example 8GiB, 500MiB, 20GB, or a share of the memory such as 50%";
    let (number, unit) = split(text).ok_or(EXPECTED)?;
    let factor: f64 = match unit.to_ascii_lowercase().as_str() {
        "%" if number <= 100.0 => return Ok(Size::Share(number / 100.0)),
        "" | "b" => 1.0,
        "kib" => 1024.0,
        "mib" => 1_048_576.0,
        "gib" => 1_073_741_824.0,
        "tib" => 1_099_511_627_776.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        _ => return Err(EXPECTED.into()),
    };
    let bytes = (number * factor).round();
    if !(1.0..1e19).contains(&bytes) {
        return Err(EXPECTED.into());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range just checked")]
    Ok(Size::Bytes(bytes as u64))
}

/// Reads a time: `60` and `60s` are seconds, `500ms`, `2m` and `1h` what they say.
///
/// # Errors
/// What was expected.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    const EXPECTED: &str = "expected a time, 0 or more, for example 60s, 500ms, 2m; a number alone is seconds";
    let (number, unit) = if text.trim() == "0" { (0.0, "") } else { split(text).ok_or(EXPECTED)? };
    let seconds = match unit {
        "ms" => number / 1e3,
        "" | "s" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(EXPECTED.into()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| EXPECTED.into())
}

/// As [`time`], and not 0.
///
/// # Errors
/// What was expected.
pub(crate) fn time_above_zero(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("expected a time above 0, for example 30s".into()),
        time => Ok(time),
    }
}

/// A number above 0 and its unit.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    (number > 0.0 && number.is_finite()).then(|| (number, text[end..].trim()))
}

/// Bytes for people: `12.5 GiB`.
pub(crate) fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} bytes") } else { format!("{value:.1} {}", UNITS[unit]) }
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
        for wrong in ["", "0", "GiB", "8Gb!", "-1GiB", "101%", "1e3", "99999999TiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_have_units_and_seconds_need_none() {
        assert_eq!(time("60"), Ok(Duration::from_mins(1)));
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time("2m"), Ok(Duration::from_mins(2)));
        assert_eq!(time("0"), Ok(Duration::ZERO));
        assert!(time_above_zero("0").is_err());
        for wrong in ["", "s", "-1", "3 weeks", "1e9"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bytes_are_shown_in_the_largest_unit_that_fits() {
        assert_eq!(
            (human(512), human(1 << 20), human(3 << 29)),
            ("512 bytes".into(), "1.0 MiB".into(), "1.5 GiB".into())
        );
    }
}
