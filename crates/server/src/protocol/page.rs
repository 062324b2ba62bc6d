//! Pages of listings.

use s3s::{S3Result, s3_error};

/// Most entries on a page; the limit of S3.
const PAGE: usize = 1000;

/// Returns the number of entries on a page: what the client asked for, within the limit.
pub(super) fn page_limit(asked: Option<i32>, name: &str) -> S3Result<usize> {
    let Some(asked) = asked else { return Ok(PAGE) };
    let asked = usize::try_from(asked).map_err(|_| s3_error!(InvalidArgument, "{name} is negative"))?;
    Ok(asked.min(PAGE))
}
