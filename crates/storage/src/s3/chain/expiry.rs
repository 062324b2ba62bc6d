//! Credentials with their expiry time, in the forms that sources use.

use std::time::Duration;

use super::time;
use crate::s3::clock::unix_time;
use crate::s3::credentials::{Credentials, Temporary};

/// Adds the expiry time, given as text, to credentials; `None`: they do not expire.
///
/// # Errors
/// When the text is not a valid time, or the time has passed.
pub(super) fn expiring(credentials: Credentials, end: Option<&str>) -> Result<Temporary, String> {
    let Some(text) = end.filter(|end| !end.is_empty()) else { return Ok(Temporary { credentials, ends: None }) };
    let end = time::parse(text).ok_or_else(|| format!("Expiration {text:?}, which is no moment"))?;
    until(credentials, end, unix_time())
}

/// Adds the expiry time, given as time since 1970, to credentials.
///
/// # Errors
/// When the time has passed.
pub(super) fn until(credentials: Credentials, end: Duration, now: Duration) -> Result<Temporary, String> {
    if end <= now {
        return Err(format!("credentials that ended at {}; it is {}", time::format(end), time::format(now)));
    }
    Ok(Temporary { credentials, ends: Some(end) })
}
