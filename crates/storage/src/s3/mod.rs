//! S3: signed HTTP/1.1 requests over connections of the calling thread, spread over any number of endpoints.
//!
//! Invariant: the server is measured, not the client. A read passes frames on as they arrive from the socket, and a
//! write makes frames while it sends; neither holds a whole object. A request costs a few microseconds in addition to
//! its system calls.

mod aws;
mod body;
mod bucket;
pub mod chain;
mod client;
mod client_state;
mod clock;
mod config;
mod connect;
mod content_range;
mod credentials;
mod encode;
mod endpoints;
mod examine;
mod failure;
mod get;
mod health;
mod multipart;
mod preflight;
mod proxy;
mod put;
mod reading;
mod reason;
mod renewal;
mod request;
mod request_spec;
mod resolve;
mod retry;
mod retry_loop;
mod scheme;
#[cfg(feature = "sdk")]
pub mod sdk;
mod sign;
mod tls;
mod tunnel;
mod uploads;
mod xml;

pub use client::{EndpointProblems, S3};
pub use config::{Addressing, LoadBalance, Mapping, S3Config, assign};
pub use credentials::{Credentials, Temporary};
pub use examine::{Examination, LOOKUP_REFUSED, Step, UnsignedResponse};
pub use health::{EndpointNotice, NoticeSink, Outage};
pub use preflight::Preflight;
pub use proxy::{PROXY_VARIABLES, Proxies};
pub use renewal::{CredentialSource, Renewal};
pub use retry::RetryPolicy;
pub use uploads::Unfinished;
