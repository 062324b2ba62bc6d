//! Characters that S3 percent-encodes.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

/// Characters that are escaped in names and values of a query.
pub(crate) const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// Characters that are escaped in a path.
pub(crate) const PATH: &AsciiSet = &QUERY.remove(b'/');
