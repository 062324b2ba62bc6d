//! Wraps the protocol: gives every request an id, and completes error responses.
//!
//! A successful request costs one additional header. The body of an error gets a message if `s3s` provides none, the
//! resource and the request id, as S3 writes them.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::header::{
    ACCESS_CONTROL_REQUEST_METHOD, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, ORIGIN, TRANSFER_ENCODING,
};
use hyper::{Method, Request, Response, StatusCode, Uri};
use s3s::service::S3Service;
use s3s::{Body, HttpError, S3ErrorCode};

use crate::Error;
use crate::signature;
use crate::users::Users;
use dlio_event::mix::fibonacci;
use dlio_storage::random::random;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const HOST_ID: HeaderName = HeaderName::from_static("x-amz-id-2");
const DECODED_LENGTH: HeaderName = HeaderName::from_static("x-amz-decoded-content-length");
/// Most bytes of a body without a declared length, which is kept in memory until it ends.
const CHUNKED_BYTES_MAX: usize = 64 << 20;
/// Longest lifetime of a presigned URL in seconds; the limit of S3.
const EXPIRES_MAX_S: u64 = 604_800;

/// The S3 service with request ids and complete errors.
#[derive(Clone)]
pub(crate) struct S3HttpService {
    s3: S3Service,
    users: Arc<Users>,
    ids: Arc<RequestIds>,
}

/// Generates the ids of an endpoint's requests.
struct RequestIds {
    /// Differs between servers.
    seed: u64,
    next: AtomicU64,
}

impl RequestIds {
    fn take(&self) -> u64 {
        // Multiplication by an odd factor maps different numbers to different ids.
        fibonacci(self.next.fetch_add(1, Ordering::Relaxed)) ^ self.seed
    }
}

impl S3HttpService {
    /// Wraps a service.
    ///
    /// # Errors
    /// When the operating system provides no random bytes.
    pub(super) fn new(s3: S3Service, users: Arc<Users>) -> Result<Self, Error> {
        let seed = u64::from_le_bytes(random().map_err(Error::Random)?);
        Ok(Self { s3, users, ids: Arc::new(RequestIds { seed, next: AtomicU64::new(0) }) })
    }

    /// Answers a request.
    pub(crate) async fn call(&self, request: Request<Body>) -> Result<Response<Body>, HttpError> {
        let id = self.ids.take();
        let (uri, is_head) = (request.uri().clone(), request.method() == Method::HEAD);
        let mut response = match admit(request).await {
            Ok(request) => self.answer(request).await?,
            Err(refusal) => refusal,
        };
        let text = hex(id);
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED {
            *response.body_mut() = Body::empty();
            response.headers_mut().remove(CONTENT_TYPE);
            response.headers_mut().remove(CONTENT_LENGTH);
        } else if status == StatusCode::OK && is_get_object_attributes(&uri) {
            unquote_tag(&mut response);
        } else if (status.is_client_error() || status.is_server_error()) && !is_head {
            complete(&mut response, &uri, &String::from_utf8_lossy(&text));
            if let Ok(host) = HeaderValue::from_bytes(&hex(self.ids.seed)) {
                response.headers_mut().insert(HOST_ID, host);
            }
        }
        if let Ok(id) = HeaderValue::from_bytes(&text) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        Ok(response)
    }

    /// Answers a request that is signed in any of the supported ways.
    async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, HttpError> {
        let again = signature::with_slash(&request);
        let response = self.s3.call(signature::with_known_region(request, &*self.users)).await?;
        match again {
            Some(again) if response.status() == StatusCode::FORBIDDEN => self.s3.call(again).await,
            _ => Ok(response),
        }
    }
}

/// Formats a number as 16 hexadecimal digits.
fn hex(number: u64) -> [u8; 16] {
    let mut text = [0; 16];
    for (index, digit) in text.iter_mut().enumerate() {
        let nibble = usize::try_from(number >> (60 - 4 * index) & 15).unwrap_or(0);
        *digit = b"0123456789ABCDEF"[nibble];
    }
    text
}

/// Converts a request into a form that `s3s` accepts.
///
/// # Errors
/// The response, if the request is refused before it is dispatched.
async fn admit(mut request: Request<Body>) -> Result<Request<Body>, Response<Body>> {
    if let Some(refusal) = refuse_expiry(request.uri()) {
        return Err(refusal);
    }
    let (method, headers) = (request.method(), request.headers());
    if *method == Method::OPTIONS {
        let is_preflight = headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        return Err(if is_preflight {
            let text = "CORSResponse: CORS is not enabled for this bucket.";
            refusal(StatusCode::FORBIDDEN, "AccessForbidden", text)
        } else {
            let text = "Insufficient information. Origin and Access-Control-Request-Method request headers needed.";
            refusal(StatusCode::BAD_REQUEST, "BadRequest", text)
        });
    }
    // Signatures can be checked only for bodies of known length.
    if headers.contains_key(TRANSFER_ENCODING) && !headers.contains_key(DECODED_LENGTH) {
        let bytes = request.body_mut().store_all_limited(CHUNKED_BYTES_MAX).await.map_err(|_| {
            let text = format!("Bodies of more than {CHUNKED_BYTES_MAX} bytes need the Content-Length HTTP header.");
            refusal(StatusCode::LENGTH_REQUIRED, "MissingContentLength", &text)
        })?;
        request.headers_mut().insert(CONTENT_LENGTH, bytes.len().into());
    }
    Ok(request)
}

/// Returns an error in the form of S3, before [`complete`] adds to it.
fn refusal(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

/// Returns the response to a presigned URL whose lifetime is not an allowed number of seconds.
fn refuse_expiry(uri: &Uri) -> Option<Response<Body>> {
    let query = uri.query().filter(|query| query.contains("X-Amz-Expires="))?;
    let value = query.split('&').find_map(|pair| pair.strip_prefix("X-Amz-Expires="))?;
    if value.parse::<u64>().is_ok_and(|seconds| (1..=EXPIRES_MAX_S).contains(&seconds)) {
        return None;
    }
    let text = format!("X-Amz-Expires must be a number of seconds from 1 to {EXPIRES_MAX_S}");
    Some(refusal(StatusCode::FORBIDDEN, "AccessDenied", &text))
}

/// Returns whether a GET of an object is `GetObjectAttributes`.
fn is_get_object_attributes(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|pair| matches!(pair, "attributes" | "attributes=")))
}

/// Removes the quotes around the entity tag in the response of `GetObjectAttributes`, where S3 writes none.
fn unquote_tag(response: &mut Response<Body>) {
    let Some(bytes) = response.body_mut().bytes() else { return };
    let text = String::from_utf8_lossy(&bytes);
    let Some((before, rest)) = text.split_once("<ETag>") else { return };
    let Some((tag, after)) = rest.split_once("</ETag>") else { return };
    let tag = tag.replace("&quot;", "").replace('"', "");
    let text = format!("{before}<ETag>{tag}</ETag>{after}");
    response.headers_mut().remove(CONTENT_LENGTH);
    *response.body_mut() = Body::from(text);
}

/// Adds the missing elements to the body of an error.
fn complete(response: &mut Response<Body>, uri: &Uri, id: &str) {
    let Some(bytes) = response.body_mut().bytes() else { return };
    let text = String::from_utf8_lossy(&bytes);
    let completed = completed(&text, uri.path(), id).unwrap_or_else(|| text.into_owned());
    response.headers_mut().remove(CONTENT_LENGTH);
    *response.body_mut() = Body::from(completed);
}

/// Returns the XML of an error with message, resource and request id; `None` if it is not an error.
fn completed(text: &str, path: &str, id: &str) -> Option<String> {
    let end = text.rfind("</Error>")?;
    let (before, after) = (&text[..end], &text[end..]);
    let code = before.split_once("<Code>")?.1.split_once("</Code>")?.0;
    let mut all = before.to_owned();
    // The message of `s3s` states only the difference of the clocks and gives no advice.
    if code == "RequestTimeTooSkewed" {
        all = format!("{}</Code>", before.split_once("</Code>")?.0);
    }
    if !all.contains("<Message>") {
        let at = all.find("</Code>")? + "</Code>".len();
        all.insert_str(at, &format!("<Message>{}</Message>", message(code)));
    }
    let path = quick_xml::escape::partial_escape(path);
    write!(all, "<Resource>{path}</Resource><RequestId>{id}</RequestId>").ok()?;
    Some(all + after)
}

/// Returns a message for an error code, for errors without one.
fn message(code: &str) -> &'static str {
    match S3ErrorCode::from_bytes(code.as_bytes()) {
        Some(S3ErrorCode::SignatureDoesNotMatch) => {
            "The request signature we calculated does not match the signature you provided. Check the secret key, and that \
             no proxy changes the path, the query or a signed header."
        }
        Some(S3ErrorCode::AccessDenied) => "The request is not signed, or its signer may not do this.",
        Some(S3ErrorCode::RequestTimeTooSkewed) => {
            "The difference between the request time and the server's time is too large: set the client's clock."
        }
        Some(S3ErrorCode::InvalidURI) => "Couldn't parse the specified URI.",
        Some(S3ErrorCode::InvalidBucketName) => "The specified bucket is not valid.",
        Some(S3ErrorCode::KeyTooLongError) => "Your key is too long.",
        Some(S3ErrorCode::MalformedXML) => {
            "The XML you provided was not well-formed or did not validate against our published schema."
        }
        Some(S3ErrorCode::MissingContentLength) => "You must provide the Content-Length HTTP header.",
        Some(S3ErrorCode::IncompleteBody) => {
            "You did not provide the number of bytes specified by the Content-Length HTTP header."
        }
        Some(S3ErrorCode::MethodNotAllowed) => "The specified method is not allowed against this resource.",
        Some(S3ErrorCode::NotImplemented) => "This server does not implement what the request asks for.",
        Some(S3ErrorCode::InvalidRange) => "The requested range is not satisfiable.",
        Some(S3ErrorCode::InternalError) => "We encountered an internal error. Please try again.",
        _ => "The request could not be carried out.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_it_is_of() {
        let bare = "<?xml?><Error><Code>SignatureDoesNotMatch</Code></Error>";
        let full = completed(bare, "/bucket/a&b", "0F").unwrap();
        assert!(full.contains("</Code><Message>The request signature"), "{full}");
        assert!(full.ends_with("<Resource>/bucket/a&amp;b</Resource><RequestId>0F</RequestId></Error>"), "{full}");
        let said = "<Error><Code>NoSuchKey</Code><Message>no</Message></Error>";
        assert_eq!(completed(said, "/", "1").unwrap().matches("<Message>").count(), 1);
        assert_eq!(completed("<html>", "/", "1"), None);
    }

    #[test]
    fn ids_differ_and_have_sixteen_digits() {
        let ids = RequestIds { seed: 7, next: AtomicU64::new(0) };
        let (one, two) = (ids.take(), ids.take());
        assert_ne!(one, two);
        assert_eq!(&hex(0xAB), b"00000000000000AB");
    }

    #[test]
    fn a_presigned_url_lives_at_most_a_week() {
        let refused = |query: &str| refuse_expiry(&format!("/b/k?{query}").parse().unwrap()).is_some();
        assert!(refused("X-Amz-Expires=609901&x=y") && refused("X-Amz-Expires=-7") && refused("a=b&X-Amz-Expires=0"));
        assert!(!refused("X-Amz-Expires=604800") && !refused("expires=9"));
    }
}
