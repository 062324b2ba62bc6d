//! Names of buckets.

/// Returns whether a bucket may have this name: S3's rules, extended by upper-case letters and `_`, which DLIO's
/// users write. An allowed name is a plain file name without a leading dot. (`s3s` applies S3's own rules to the
/// source of a copy.)
pub(crate) fn is_bucket_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=63).contains(&name.len()) && name.bytes().all(inner) && name.as_bytes()[0].is_ascii_alphanumeric()
}
