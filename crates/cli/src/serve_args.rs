//! The options of `serve`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::location::local_path;

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("store").required(true))]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of a command line")]
pub(crate) struct ServeArgs {
    /// Keep objects in memory; they are lost when the server ends.
    #[arg(long, group = "store")]
    pub(crate) memory: bool,
    /// Keep objects in this directory; when its disk is full, writes are answered with 507.
    #[arg(long, value_name = "DIR", group = "store", value_parser = local_path())]
    pub(crate) data: Option<PathBuf>,
    /// Memory for objects in each process, such as `8GiB`, or `50%` of the memory that is available to all ranks of the
    /// node; writes beyond it are answered with 507. Default: 80% of the memory that is available at the start.
    #[arg(long, value_name = "SIZE", requires = "memory", value_parser = crate::quantity::size)]
    pub(crate) memory_limit: Option<crate::quantity::Size>,
    /// Announce the endpoints in this directory, where clients find them with `--registry`. Refused while another
    /// running server uses the directory.
    #[arg(long, value_name = "DIR", value_parser = local_path())]
    pub(crate) registry: Option<PathBuf>,
    /// Add the endpoints to those of other running servers; clients use all of them.
    #[arg(long, requires = "registry")]
    pub(crate) add: bool,
    /// Address to listen on (also `--bind`); port 0 picks a free port; with `--endpoints N` the next N−1 ports are used as well.
    #[arg(long, alias = "bind", value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    pub(crate) listen: String,
    /// Host name or address in the announced endpoints; default: the listening address.
    #[arg(long, value_name = "HOST")]
    pub(crate) advertise: Option<String>,
    /// Domain whose subdomains are buckets (`BUCKET.DOMAIN`), in addition to `localhost`, for clients with virtual-hosted
    /// requests. Repeatable.
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) domain: Vec<String>,
    /// Ports per process.
    #[arg(long, value_name = "N", default_value = "1", value_parser = crate::quantity::count::<u16>)]
    pub(crate) endpoints: u16,
    /// Give each endpoint its own object store.
    #[arg(long)]
    pub(crate) separate: bool,
    /// Access key; default: `AWS_ACCESS_KEY_ID`, then the registry's key, then a new key pair, which is stored in the
    /// registry (readable by its owner only) or, without a registry, printed after the endpoints.
    #[arg(long, value_name = "KEY", requires = "secret_key")]
    pub(crate) access_key: Option<String>,
    /// Secret key; default: `AWS_SECRET_ACCESS_KEY`.
    #[arg(long, value_name = "SECRET", requires = "access_key")]
    pub(crate) secret_key: Option<String>,
    /// File with further users, each with their own buckets, in the format of the AWS CLI's `credentials`: each section
    /// names a user and holds a key pair. The section `dlio-rs` is another key pair of the server's own user.
    #[arg(long, value_name = "FILE", value_parser = local_path())]
    pub(crate) users: Option<PathBuf>,
    /// Delay of every response, to emulate storage with a known latency; `5` and `5ms` both mean milliseconds.
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = crate::quantity::milliseconds)]
    pub(crate) delay_ms: std::time::Duration,
    /// Inject faults into some responses; a rule is a comma-separated list. Faults: `ms=N` delays, `bytes=N` limits the
    /// bytes per second of all bodies of an endpoint, `refuse` answers 503, `close` closes the connection afterwards.
    /// Conditions: `endpoint=N`, `gets=FROM..TO` (numbers of GET requests), `s=FROM..TO` (seconds after the first GET),
    /// `first` (the first request of a connection). Repeatable.
    #[arg(long, value_name = "RULE")]
    pub(crate) fault: Vec<dlio_server::FaultRule>,
    /// Former name of `--fault`.
    #[arg(long, value_name = "RULE", hide = true)]
    pub(crate) trouble: Vec<dlio_server::FaultRule>,
    /// Entity tags of objects: `md5` like S3, so that clients can compare them with their data, or `opaque`, which takes
    /// no CPU time, for benchmarks.
    #[arg(long, value_name = "KIND", value_enum, default_value_t = EtagArg::Md5)]
    pub(crate) etag: EtagArg,
    /// Acknowledge writes without fsync (with `--data` only).
    #[arg(long)]
    pub(crate) no_fsync: bool,
    /// Close a connection that has sent an incomplete request and then nothing for this long.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = crate::quantity::time_above_zero)]
    pub(crate) request_timeout: std::time::Duration,
    /// Output format of the endpoints and of a new key pair.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: ServeFormat,
}

/// Output format of the server's endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ServeFormat {
    /// One URL per line, and a new key pair as environment variables.
    Text,
    /// One JSON object on one line: `endpoints`, and `access_key_id` and `secret_access_key` of a new key pair.
    Json,
}

/// Content of entity tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum EtagArg {
    /// MD5 of the object, or of the MD5s of its parts.
    Md5,
    /// A value that does not depend on the object's content.
    Opaque,
}
