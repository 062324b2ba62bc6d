//! Sends the SDK's requests over this crate's connections, so that TLS, proxies and addresses are the same as for the
//! other client. Connections belong to the thread that opened them.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use aws_sdk_s3::config::endpoint::{Endpoint as Resolved, EndpointFuture, Params, ResolveEndpoint};
use aws_sdk_s3::config::{HttpClient, RuntimeComponents};
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use bytes::Bytes;
use http::{Request, Uri, header};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;

use super::super::client_state::ClientState;
use super::super::connect::{self, SETTLE, Stream};
use super::super::endpoints::Endpoint;
use super::super::failure::Failure;
use super::super::retry;

type Connection = SendRequest<SdkBody>;

/// Idle connections of a client, by endpoint.
struct Idle {
    client: Weak<ClientState>,
    lists: Vec<Vec<Connection>>,
}

thread_local! {
    static IDLE: RefCell<Vec<Idle>> = const { RefCell::new(Vec::new()) };
}

/// Runs `with` on this thread's idle connections to an endpoint.
fn idle<T>(client: &Arc<ClientState>, endpoint: usize, with: impl FnOnce(&mut Vec<Connection>) -> T) -> T {
    IDLE.with_borrow_mut(|all| {
        let known = all.iter().position(|idle| std::ptr::eq(idle.client.as_ptr(), Arc::as_ptr(client)));
        let index = known.unwrap_or_else(|| {
            all.retain(|idle| idle.client.strong_count() > 0);
            let lists = client.endpoints.iter().map(|_| Vec::new()).collect();
            all.push(Idle { client: Arc::downgrade(client), lists });
            all.len() - 1
        });
        with(&mut all[index].lists[endpoint])
    })
}

/// Sends the requests of a client to one of its endpoints.
#[derive(Clone)]
pub(super) struct Connector {
    client: Weak<ClientState>,
    endpoint: usize,
}

impl Connector {
    pub(super) fn new(client: &Arc<ClientState>, endpoint: &Endpoint) -> Self {
        Self { client: Arc::downgrade(client), endpoint: endpoint.index }
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connector({})", self.endpoint)
    }
}

/// A failure that is passed through the SDK.
#[derive(Debug)]
pub(super) struct SdkFailure(pub(super) Failure);

impl std::fmt::Display for SdkFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for SdkFailure {}

impl HttpClient for Connector {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self { client, endpoint } = self.clone();
        HttpConnectorFuture::new(async move {
            let told = |failure| ConnectorError::io(Box::new(SdkFailure(failure)));
            let gone = || told(Failure::invalid("the client is gone"));
            let client = client.upgrade().ok_or_else(gone)?;
            let answer = send(&client, client.endpoints.get(endpoint), request).await.map_err(told)?;
            let (head, body) = answer.into_parts();
            let answer = http::Response::from_parts(head, SdkBody::from_body_1_x(body));
            HttpResponse::try_from(answer).map_err(|error| told(Failure::invalid(error.to_string())))
        })
    }
}

/// Sends a request; a connection that the server closed while it was idle is replaced.
async fn send(
    client: &Arc<ClientState>,
    endpoint: &Endpoint,
    request: HttpRequest,
) -> Result<http::Response<ResponseBody>, Failure> {
    let mut request = prepared(endpoint, request)?;
    loop {
        let kept = reuse(client, endpoint.index).await;
        let reused = kept.is_some();
        let mut connection = match kept {
            Some(connection) => connection,
            None => open(client, endpoint).await?,
        };
        match connection.try_send_request(request).await {
            Ok(answer) => {
                let mut back =
                    ReturnOnEnd { client: Arc::downgrade(client), endpoint: endpoint.index, connection: None };
                back.connection = Some(connection);
                let (head, body) = answer.into_parts();
                if body.is_end_stream() {
                    back.give();
                }
                return Ok(http::Response::from_parts(head, ResponseBody { body, back }));
            }
            Err(error) => request = retry::unsent(error, reused)?,
        }
    }
}

async fn open(client: &Arc<ClientState>, endpoint: &Endpoint) -> Result<Connection, Failure> {
    let limit = client.config.connect_timeout;
    let opened = async {
        match connect::stream(client, endpoint).await? {
            Stream::Plain(socket) => connect::drive(TokioIo::new(socket)).await,
            Stream::Tls(stream) => connect::drive(TokioIo::new(*stream)).await,
            Stream::Nested(stream) => connect::drive(TokioIo::new(*stream)).await,
        }
    };
    let opened = tokio::time::timeout(limit, opened).await;
    opened.unwrap_or_else(|_| Err(Failure::timeout("no connection was made", limit)))
}

/// Returns an idle connection that is still open.
async fn reuse(client: &Arc<ClientState>, endpoint: usize) -> Option<Connection> {
    loop {
        let mut connection = idle(client, endpoint, Vec::pop)?;
        if connection.is_closed() {
            continue;
        }
        if connection.is_ready() || matches!(tokio::time::timeout(SETTLE, connection.ready()).await, Ok(Ok(()))) {
            return Some(connection);
        }
    }
}

/// Adds what the connection to the endpoint requires to the SDK's request.
fn prepared(endpoint: &Endpoint, request: HttpRequest) -> Result<Request<SdkBody>, Failure> {
    let mut request = request.try_into_http1x().map_err(|error| Failure::invalid(error.to_string()))?;
    request.headers_mut().insert(header::HOST, endpoint.authority.clone());
    if let Some(authorization) = &endpoint.proxy_authorization {
        request.headers_mut().insert(header::PROXY_AUTHORIZATION, authorization.clone());
    }
    // Only a proxy accepts absolute URLs.
    if endpoint.origin == 0
        && let Some(path) = request.uri().path_and_query()
    {
        *request.uri_mut() = Uri::from(path.clone());
    }
    Ok(request)
}

/// A connection that returns to the pool when its response has ended.
struct ReturnOnEnd {
    client: Weak<ClientState>,
    endpoint: usize,
    connection: Option<Connection>,
}

impl ReturnOnEnd {
    fn give(&mut self) {
        if let (Some(client), Some(connection)) = (self.client.upgrade(), self.connection.take())
            && !connection.is_closed()
        {
            idle(&client, self.endpoint, |idle| idle.push(connection));
        }
    }
}

/// The body of a response.
pub(super) struct ResponseBody {
    body: Incoming,
    back: ReturnOnEnd,
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        // A reader that knows the length does not poll for the end.
        if frame.is_none() || self.body.is_end_stream() {
            self.back.give();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Resolves all requests of an SDK client to one endpoint, with the bucket where the other client would put it.
#[derive(Debug)]
pub(super) struct FixedEndpoint(String);

impl FixedEndpoint {
    pub(super) fn new(endpoint: &Endpoint) -> Self {
        let scheme = if endpoint.tls { "https" } else { "http" };
        Self(format!("{scheme}://{}{}", endpoint.host_header(), &endpoint.base[endpoint.origin..]))
    }
}

impl ResolveEndpoint for FixedEndpoint {
    fn resolve_endpoint<'a>(&'a self, _: &'a Params) -> EndpointFuture<'a> {
        EndpointFuture::ready(Ok(Resolved::builder().url(self.0.clone()).build()))
    }
}
