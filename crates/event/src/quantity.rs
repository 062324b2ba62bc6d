//! Numbers with units: parses `100ms`, `4MiB` and `10k`, and formats `1.5 GiB` and `3 ranks`.
//!
//! Invariant: this module has the only parser of units and the only table of their spellings.

/// Quantity that a number measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Time, in seconds.
    Seconds,
    /// Size, in bytes.
    Bytes,
    /// A plain count.
    Count,
}

const SECONDS: &[(&str, f64)] = &[
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("min", 60.0),
    ("h", 3600.0),
    ("d", 86_400.0),
];
const COUNTS: &[(&str, f64)] = &[("k", 1e3), ("K", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12)];
const SIZES: &[(&str, f64)] = &[
    ("B", 1.0),
    ("kB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("PB", 1e15),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
    ("PiB", 1_125_899_906_842_624.0),
];

impl Unit {
    /// Returns example spellings for messages.
    #[must_use]
    pub fn examples(self) -> &'static str {
        match self {
            Self::Seconds => "100ms, 1.5s, 2min, 1h",
            Self::Bytes => "4096, 64KiB, 8MiB, 1GB",
            Self::Count => "500, 10k, 2M",
        }
    }

    /// Parses a number with a unit and returns it in seconds, bytes or pieces. Returns `None` if the text is not a
    /// number or has no unit.
    #[must_use]
    pub fn value(self, text: &str) -> Option<f64> {
        let (number, unit) = split(text)?;
        Some(number * self.factor(unit)?).filter(|value| value.is_finite())
    }

    /// Parses a number like [`value`](Self::value), but accepts one without a unit, which is multiplied by `bare`.
    #[must_use]
    pub fn value_or(self, text: &str, bare: f64) -> Option<f64> {
        match split(text)? {
            (number, "") => Some(number * bare).filter(|value| value.is_finite()),
            _ => self.value(text),
        }
    }

    /// Returns the size of one unit in seconds, bytes or pieces. Times and counts are case-sensitive (`m` and `M`).
    /// Sizes are not, except that `Gb` is refused because it would mean bits.
    fn factor(self, unit: &str) -> Option<f64> {
        let find = |table: &[(&str, f64)]| table.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
        match self {
            Self::Seconds => find(SECONDS),
            Self::Count => find(COUNTS),
            Self::Bytes => {
                let bits = unit.starts_with(|c: char| c.is_ascii_uppercase()) && unit.ends_with('b');
                let known = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
                known.filter(|_| !bits).map(|(_, factor)| *factor)
            }
        }
    }
}

/// Splits a non-negative number from the text that follows it.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let digit = |c: char| c.is_ascii_digit() || c == '.' || c == '_';
    let end = text.find(|c: char| !digit(c)).unwrap_or(text.len());
    // The exponent is part of the number: `1e3` is not 1 with the unit `e3`.
    let exponent = text[end..].strip_prefix(['e', 'E']).map(|rest| (rest, rest.trim_start_matches(['+', '-'])));
    let end = match exponent {
        Some((rest, digits)) if digits.starts_with(|c: char| c.is_ascii_digit()) => {
            let after = digits.trim_start_matches(|c: char| c.is_ascii_digit());
            end + 1 + (rest.len() - after.len())
        }
        _ => end,
    };
    let number: f64 = text[..end].replace('_', "").parse().ok()?;
    number.is_finite().then(|| (number, text[end..].trim_start()))
}

/// Formats a size in bytes in the largest unit that it reaches: `512 B`, `1.5 MiB`, `12.50 GiB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..0x10_0000 => format!("{:.1} KiB", count as f64 / 1024.0),
        0x10_0000..0x4000_0000 => format!("{:.1} MiB", count as f64 / 1_048_576.0),
        0x4000_0000..0x100_0000_0000 => format!("{:.2} GiB", count as f64 / 1_073_741_824.0),
        0x100_0000_0000..0x4_0000_0000_0000 => format!("{:.2} TiB", count as f64 / 1_099_511_627_776.0),
        _ => format!("{:.2} PiB", count as f64 / 1_125_899_906_842_624.0),
    }
}

/// Formats a throughput given in bytes per second: `1.5 MiB/s`.
#[must_use]
pub fn rate(bytes_per_second: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded to a byte; `as` saturates")]
    let whole = bytes_per_second.round() as u64;
    format!("{}/s", bytes(whole))
}

/// Formats a count with its noun in the right number: `1 rank`, `2 ranks`, `3 recorded processes`, `0 entries`.
#[must_use]
pub fn counted(count: impl TryInto<u128> + std::fmt::Display, noun: &str) -> String {
    let text = count.to_string();
    format!("{text} {}", noun_of(count, noun))
}

/// Returns the noun in the singular or plural, as the count requires.
#[must_use]
pub fn noun_of(count: impl TryInto<u128>, noun: &str) -> String {
    if count.try_into().is_ok_and(|count| count == 1) {
        return noun.to_owned();
    }
    let sibilant = ["s", "x", "ch", "sh"].iter().any(|end| noun.ends_with(end));
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ if sibilant => format!("{noun}es"),
        _ => format!("{noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_have_the_usual_spellings() {
        let cases: &[(Unit, &str, Option<f64>)] = &[
            (Unit::Seconds, "100ms", Some(0.1)),
            (Unit::Seconds, "1.5 s", Some(1.5)),
            (Unit::Seconds, "2min", Some(120.0)),
            (Unit::Seconds, "2m", Some(120.0)),
            (Unit::Seconds, "250us", Some(0.000_25)),
            (Unit::Seconds, "1h", Some(3600.0)),
            (Unit::Seconds, "2d", Some(172_800.0)),
            (Unit::Seconds, "1e-3s", Some(1e-3)),
            (Unit::Seconds, "100", None),
            (Unit::Seconds, "100MS", None),
            (Unit::Seconds, "ms", None),
            (Unit::Seconds, "-1s", None),
            (Unit::Bytes, "4MiB", Some(4_194_304.0)),
            (Unit::Bytes, "1.5KiB", Some(1536.0)),
            (Unit::Bytes, "1.5 mib", Some(1_572_864.0)),
            (Unit::Bytes, "1GB", Some(1e9)),
            (Unit::Bytes, "1gb", Some(1e9)),
            (Unit::Bytes, "1_000 kB", Some(1e6)),
            (Unit::Bytes, "1Gb", None),
            (Unit::Bytes, "4M", None),
            (Unit::Bytes, "4k", None),
            (Unit::Count, "10k", Some(10_000.0)),
            (Unit::Count, "2M", Some(2e6)),
            (Unit::Count, "10KiB", None),
            (Unit::Count, "many", None),
        ];
        for (unit, text, expected) in cases {
            let found = unit.value(text);
            let same = match (found, expected) {
                (Some(found), Some(expected)) => (found - expected).abs() <= 1e-12 * expected,
                (found, expected) => found.is_none() && expected.is_none(),
            };
            assert!(same, "{unit:?} {text}: {found:?}");
        }
    }

    #[test]
    fn a_number_alone_counts_what_the_place_says() {
        assert_eq!(Unit::Seconds.value_or("5", 1.0), Some(5.0));
        assert_eq!(Unit::Seconds.value_or("1e1", 1.0), Some(10.0));
        assert_eq!(Unit::Seconds.value_or("5", 1e-3), Some(0.005));
        assert_eq!(Unit::Seconds.value_or("5s", 1e-3), Some(5.0));
        assert_eq!(Unit::Seconds.value_or("5 weeks", 1.0), None);
        assert_eq!(Unit::Count.value_or("1e400", 1.0), None);
    }

    #[test]
    fn bytes_are_shown_in_the_largest_unit_that_fits() {
        assert_eq!([bytes(512), bytes(1 << 20), bytes(3 << 29)], ["512 B", "1.0 MiB", "1.50 GiB"]);
        assert_eq!(rate(1_572_864.0), "1.5 MiB/s");
        assert_eq!((rate(0.0), rate(f64::NAN)), ("0 B/s".to_owned(), "0 B/s".to_owned()));
    }

    #[test]
    fn one_thing_is_in_the_singular() {
        assert_eq!([counted(1, "rank"), counted(2, "rank"), counted(0, "rank")], ["1 rank", "2 ranks", "0 ranks"]);
        assert_eq!([counted(2_u64, "process"), counted(3_usize, "entry")], ["2 processes", "3 entries"]);
        assert_eq!([counted(2, "key"), counted(2, "batch")], ["2 keys", "2 batches"]);
    }
}
