//! The one definition of a percentile: nearest rank on recorded values, numpy's `inverted_cdf`.
//!
//! A percentile is given in parts of ten thousand: `P99` is 9,900. No value is interpolated, so every percentile is a value
//! that was recorded, or stands for the histogram bucket that such a value fell into.

/// All values, in parts of ten thousand.
const WHOLE: u64 = 10_000;

/// The median, in parts of ten thousand.
pub const P50: u64 = 5_000;
/// The 90th percentile, in parts of ten thousand.
pub const P90: u64 = 9_000;
/// The 95th percentile, in parts of ten thousand.
pub const P95: u64 = 9_500;
/// The 99th percentile, in parts of ten thousand.
pub const P99: u64 = 9_900;
/// The 99.9th percentile, in parts of ten thousand.
pub const P999: u64 = 9_990;
/// The 99.99th percentile, in parts of ten thousand.
pub const P9999: u64 = 9_999;

/// Returns the position, from 1, of a percentile among `count` values in ascending order: the first position at which at least
/// `parts` ten-thousandths of the values have been passed. It is 1 for the 0th percentile.
#[must_use]
pub fn rank(count: u64, parts: u64) -> u64 {
    let rank = (u128::from(count) * u128::from(parts)).div_ceil(u128::from(WHOLE));
    u64::try_from(rank).unwrap_or(u64::MAX).max(1)
}

/// Returns the smallest value that at least `parts` ten-thousandths of the values do not exceed; `None` for an empty slice.
/// The values must be in ascending order.
#[must_use]
pub fn nearest_rank<T: Copy>(sorted: &[T], parts: u64) -> Option<T> {
    let at = usize::try_from(rank(sorted.len() as u64, parts) - 1).ok()?;
    sorted.get(at).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_smallest_value_that_enough_values_do_not_exceed() {
        let values: Vec<u64> = (1..=10).collect();
        for (parts, expected) in [(0, 1), (1, 1), (P50, 5), (5_001, 6), (P90, 9), (P95, 10), (P99, 10), (10_000, 10)] {
            assert_eq!(nearest_rank(&values, parts), Some(expected), "{parts}");
        }
        assert_eq!(nearest_rank::<u64>(&[], P50), None);
        assert_eq!(nearest_rank(&[0.5, 1.5], P50), Some(0.5), "no value is interpolated");
    }
}
