//! Signatures of version 2 for buckets: some clients (botocore) sign `/BUCKET/` and send `/BUCKET`.

use hyper::header::AUTHORIZATION;
use hyper::http::uri::PathAndQuery;
use hyper::{Request, Uri};
use s3s::Body;

/// Returns the request with a slash after the bucket; `None` if that makes no difference, or if the request has a
/// body, which cannot be read twice.
pub(crate) fn with_slash(request: &Request<Body>) -> Option<Request<Body>> {
    let is_version2 = request.headers().get(AUTHORIZATION)?.as_bytes().starts_with(b"AWS ");
    let (path, query) = (request.uri().path(), request.uri().query());
    let bucket = path.strip_prefix('/')?;
    let has_body = !hyper::body::Body::is_end_stream(request.body());
    if !is_version2 || bucket.is_empty() || bucket.contains('/') || has_body {
        return None;
    }
    let target = query.map_or_else(|| format!("{path}/"), |query| format!("{path}/?{query}"));
    let mut uri = request.uri().clone().into_parts();
    uri.path_and_query = Some(target.parse::<PathAndQuery>().ok()?);
    let mut again = Request::new(Body::empty());
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = Uri::from_parts(uri).ok()?;
    *again.headers_mut() = request.headers().clone();
    Some(again)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(authorization: &str, target: &str) -> Option<String> {
        let request = Request::builder().uri(target).header(AUTHORIZATION, authorization).body(Body::empty()).unwrap();
        with_slash(&request).map(|request| request.uri().to_string())
    }

    #[test]
    fn only_a_bucket_signed_with_version_2_has_another_reading() {
        assert_eq!(again("AWS a:b", "/bucket?prefix=x").unwrap(), "/bucket/?prefix=x");
        assert_eq!(again("AWS a:b", "/bucket").unwrap(), "/bucket/");
        for (authorization, target) in
            [("AWS a:b", "/"), ("AWS a:b", "/bucket/"), ("AWS a:b", "/bucket/key"), ("AWS4-HMAC-SHA256 x", "/bucket")]
        {
            assert_eq!(again(authorization, target), None, "{target}");
        }
    }
}
