//! Maps recorded object names to a storage root and a key.

use dlio_event::S3Uri;

use super::Error;

/// Address of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// `/` for files, `s3://bucket` for objects.
    pub root: String,
    /// Name below the root; empty for the root itself.
    pub key: String,
}

/// Splits a name into root and key. Relative paths are resolved against `folder`.
///
/// # Errors
/// [`Error::Address`] if the name is not an address.
pub fn address(uri: &str, folder: &str) -> Result<Address, Error> {
    let wrong = |why: &str| Error::Address { uri: uri.to_owned(), why: why.to_owned() };
    if let Some(S3Uri { bucket, key }) = S3Uri::parse(uri) {
        if bucket.is_empty() {
            return Err(wrong("it names no bucket"));
        }
        return Ok(Address { root: S3Uri::of_bucket(bucket).to_string(), key: key.trim_matches('/').to_owned() });
    }
    let path = uri.strip_prefix("file://").or_else(|| uri.strip_prefix("direct://")).unwrap_or(uri);
    if path.is_empty() {
        return Err(wrong("it is empty"));
    }
    if path.contains("://") {
        return Err(wrong("only s3://, file:// and paths are known"));
    }
    // Fast path: most names are plain, and every row of a trace has one.
    if let Some(key) = path.strip_prefix('/').filter(|key| is_plain(key)) {
        return Ok(Address { root: "/".to_owned(), key: key.to_owned() });
    }
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{folder}/{path}") };
    let parts: Vec<&str> = whole.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err(wrong("it contains `..`"));
    }
    Ok(Address { root: "/".to_owned(), key: parts.join("/") })
}

/// Returns whether no component of a path is empty or begins with a dot.
fn is_plain(key: &str) -> bool {
    let mut before = b'/';
    let odd = key.bytes().any(|byte| {
        let odd = before == b'/' && (byte == b'/' || byte == b'.');
        before = byte;
        odd
    });
    !odd && before != b'/'
}
