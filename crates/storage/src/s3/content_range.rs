//! The header `Content-Range`.

/// A parsed `Content-Range`: `bytes 0-99/200`, or `bytes 0-99/*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContentRange {
    /// First byte.
    pub(super) first: u64,
    /// Number of bytes.
    pub(super) len: u64,
    /// Size of the whole object, if known.
    pub(super) total: Option<u64>,
}

impl ContentRange {
    /// Parses the header; `None` if it is not a valid range of bytes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (first.trim().parse::<u64>().ok()?, last.trim().parse::<u64>().ok()?);
        let total = match total.trim() {
            "*" => None,
            total => Some(total.parse().ok()?),
        };
        let len = last.checked_sub(first)?.checked_add(1)?;
        total.is_none_or(|total| last < total).then_some(Self { first, len, total })
    }

    /// Returns the size of the object from the `Content-Range` of a 416 response: `bytes */200`.
    pub(super) fn size_refused(text: &str) -> Option<u64> {
        text.trim().strip_prefix("bytes */")?.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_object_has_is_no_part() {
        assert_eq!(ContentRange::parse("bytes 10-13/100"), Some(ContentRange { first: 10, len: 4, total: Some(100) }));
        assert_eq!(ContentRange::parse("bytes 0-0/*"), Some(ContentRange { first: 0, len: 1, total: None }));
        for odd in
            ["", "bytes", "bytes 4-3/10", "bytes 0-10/10", "lines 0-1/2", "bytes 0-18446744073709551615/*", "bytes 1/2"]
        {
            assert_eq!(ContentRange::parse(odd), None, "{odd}");
        }
        assert_eq!(
            (ContentRange::size_refused("bytes */17"), ContentRange::size_refused("bytes 0-1/2")),
            (Some(17), None)
        );
    }
}
