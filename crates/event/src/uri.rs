//! Names of S3 buckets and objects, `s3://BUCKET[/KEY]`.
//!
//! Invariant: this module has the only parser and formatter of such names.

use std::fmt;

/// An S3 bucket, or an object or prefix in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct S3Uri<'a> {
    /// Name of the bucket; empty if the parsed text has none.
    pub bucket: &'a str,
    /// Key or prefix within the bucket; empty for the bucket itself.
    pub key: &'a str,
}

impl<'a> S3Uri<'a> {
    /// Scheme of every S3 name.
    pub const SCHEME: &'static str = "s3://";

    /// Returns the name of a whole bucket.
    #[must_use]
    pub const fn of_bucket(bucket: &'a str) -> Self {
        Self { bucket, key: "" }
    }

    /// Parses a name; returns `None` if the text does not begin with [`SCHEME`](Self::SCHEME).
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        text.strip_prefix(Self::SCHEME).map(Self::from_path)
    }

    /// Parses `BUCKET[/KEY]`, a name without its scheme.
    #[must_use]
    pub fn from_path(path: &'a str) -> Self {
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        Self { bucket, key }
    }
}

impl fmt::Display for S3Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bucket, key } = self;
        f.write_str(Self::SCHEME)?;
        f.write_str(bucket)?;
        if key.is_empty() { Ok(()) } else { write!(f, "/{key}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_displayed_is_parsed_as_the_same_name() {
        for (text, bucket, key) in [("s3://b", "b", ""), ("s3://b/k", "b", "k"), ("s3://b/k/l", "b", "k/l")] {
            let uri = S3Uri { bucket, key };
            assert_eq!(S3Uri::parse(text), Some(uri));
            assert_eq!(uri.to_string(), text);
        }
    }

    #[test]
    fn a_slash_behind_the_bucket_names_the_bucket() {
        assert_eq!(S3Uri::parse("s3://b/"), Some(S3Uri::of_bucket("b")));
        assert_eq!(S3Uri::parse("s3://"), Some(S3Uri::of_bucket("")));
    }

    #[test]
    fn other_names_are_none() {
        for text in ["/mnt/data", "S3://b", "s3:/b", "s3a://b", "file:///b", ""] {
            assert_eq!(S3Uri::parse(text), None, "{text}");
        }
    }
}
