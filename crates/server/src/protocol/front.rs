//! What stands in front of `s3s`: requests that it would refuse are made ones that it takes, and answers of it that say
//! nothing are given words.

use std::sync::Arc;

use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use hyper::{Request, Response};
use s3s::service::S3Service;
use s3s::{Body, HttpError};

use crate::signature::{self, Secrets};

/// The service behind a listener.
#[derive(Clone)]
pub(crate) struct Front {
    s3: S3Service,
    secrets: Arc<dyn Secrets>,
}

impl Front {
    pub(super) fn new(s3: S3Service, secrets: Arc<dyn Secrets>) -> Self {
        Self { s3, secrets }
    }

    /// Answers a request.
    pub(crate) async fn call(&self, request: Request<Body>) -> Result<Response<Body>, HttpError> {
        let request = signature::with_known_region(request, &*self.secrets);
        Ok(with_message(self.s3.call(request).await?))
    }
}

/// What errors that have no message of their own say.
const MESSAGES: [(&str, &str); 3] = [
    (
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. Check the secret key, and that no \
         proxy changes the path, the query or a signed header.",
    ),
    ("AccessDenied", "The request is not signed, or its signer may not do this."),
    ("NotImplemented", "This server does not implement what the request asks for."),
];

/// Puts a message into an error that has none.
fn with_message(mut response: Response<Body>) -> Response<Body> {
    let is_xml = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().ends_with(b"/xml"));
    if !is_xml || !(response.status().is_client_error() || response.status().is_server_error()) {
        return response;
    }
    let Some(text) = response.body().bytes().and_then(|bytes| String::from_utf8(bytes.into()).ok()) else {
        return response;
    };
    if text.contains("<Message>") {
        return response;
    }
    let message = MESSAGES.iter().find(|(code, _)| text.contains(&format!("<Code>{code}</Code>")));
    if let (Some((_, message)), Some(end)) = (message, text.find("</Code>")) {
        let (head, rest) = text.split_at(end + "</Code>".len());
        response.headers_mut().remove(CONTENT_LENGTH);
        *response.body_mut() = Body::from(format!("{head}<Message>{message}</Message>{rest}"));
    }
    response
}
