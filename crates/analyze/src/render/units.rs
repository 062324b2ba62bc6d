//! Formats numbers for people: at most four significant digits, and a unit.

/// Formats bytes: `1.5 GiB`.
pub(crate) fn bytes(value: f64) -> String {
    const UNITS: &[&str] = &["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut scaled = value;
    let mut unit = 0;
    while scaled >= 1024.0 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{scaled:.0} B") } else { format!("{} {}", three(scaled), UNITS[unit]) }
}

/// Formats nanoseconds: `12.3 µs`.
pub(crate) fn nanos(value: u64) -> String {
    let value = value as f64;
    match value {
        _ if value < 1e3 => format!("{value:.0} ns"),
        _ if value < 1e6 => format!("{} µs", three(value / 1e3)),
        _ if value < 1e9 => format!("{} ms", three(value / 1e6)),
        _ => format!("{} s", three(value / 1e9)),
    }
}

/// Formats seconds: `1 m 12 s`, `3.20 s`.
pub(crate) fn seconds(value: f64) -> String {
    if value < 1.0 {
        return format!("{} ms", three(value * 1e3));
    }
    if value < 120.0 {
        return format!("{} s", three(value));
    }
    let whole = value.round();
    format!("{:.0} m {:02.0} s", (whole / 60.0).floor(), whole % 60.0)
}

/// Formats a number of things: `12 345 678 events`, `1 event`.
pub(crate) fn things(value: u64, noun: &str) -> String {
    format!("{} {}", count(value), dlio_event::quantity::noun_of(value, noun))
}

/// Formats a number: `12 345 678`.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Formats a number with three significant digits.
fn three(value: f64) -> String {
    match value {
        _ if value < 10.0 => format!("{value:.2}"),
        _ if value < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(bytes(0.0), "0 B");
        assert_eq!(bytes(1536.0), "1.50 KiB");
        assert_eq!(bytes(146_800_640.0), "140 MiB");
        assert_eq!(nanos(999), "999 ns");
        assert_eq!(nanos(12_345), "12.3 µs");
        assert_eq!(nanos(2_500_000_000), "2.50 s");
        assert_eq!(seconds(0.25), "250 ms");
        assert_eq!(seconds(3725.0), "62 m 05 s");
        assert_eq!(count(1_234_567), "1 234 567");
        assert_eq!(count(12), "12");
        assert_eq!((things(1, "retry"), things(2000, "retry")), ("1 retry".to_owned(), "2 000 retries".to_owned()));
    }
}
