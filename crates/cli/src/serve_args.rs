//! The flags of `serve`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::location::local_path;

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("store").required(true))]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of a command line")]
pub(crate) struct ServeArgs {
    /// Keep objects in memory; they are gone when the server ends.
    #[arg(long, group = "store")]
    pub(crate) memory: bool,
    /// Keep objects in this directory; when its disk is full, writes are answered with 507.
    #[arg(long, value_name = "DIR", group = "store", value_parser = local_path())]
    pub(crate) data: Option<PathBuf>,
    /// Memory that objects may take in each process, such as `8GiB` or `50%` of what the node has available for its
    /// ranks together; what does not fit is answered with 507. Default: 80% of what is available at the start.
    #[arg(long, value_name = "SIZE", requires = "memory", value_parser = crate::quantity::size)]
    pub(crate) memory_limit: Option<crate::quantity::Size>,
    /// Announce the endpoints in this directory, where clients find them with `--registry`. It is refused while
    /// another running server has it.
    #[arg(long, value_name = "DIR", value_parser = local_path())]
    pub(crate) registry: Option<PathBuf>,
    /// Announce the endpoints beside those of other running servers; clients use all of them together.
    #[arg(long, requires = "registry")]
    pub(crate) add: bool,
    /// Address to listen on (also `--bind`); port 0 picks a free one; with `--endpoints N` the next N−1 ports follow.
    #[arg(long, alias = "bind", value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    pub(crate) listen: String,
    /// Host name or address that clients are told; default: the listening address.
    #[arg(long, value_name = "HOST")]
    pub(crate) advertise: Option<String>,
    /// Domain whose subdomains are buckets (`BUCKET.DOMAIN`), beside `localhost`, for clients that do not name buckets in the
    /// path. Repeatable.
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) domain: Vec<String>,
    /// Ports per process.
    #[arg(long, value_name = "N", default_value = "1", value_parser = crate::quantity::count::<u16>)]
    pub(crate) endpoints: u16,
    /// Give each endpoint a store of its own.
    #[arg(long)]
    pub(crate) separate: bool,
    /// Access key; default: `AWS_ACCESS_KEY_ID`, else the registry's, else a new pair is made: it is left in the registry,
    /// readable by its owner alone, or printed after the endpoints where there is no registry.
    #[arg(long, value_name = "KEY", requires = "secret_key")]
    pub(crate) access_key: Option<String>,
    /// Secret key; default: `AWS_SECRET_ACCESS_KEY`.
    #[arg(long, value_name = "SECRET", requires = "access_key")]
    pub(crate) secret_key: Option<String>,
    /// Further users, each with buckets of their own: a file in the form of the AWS CLI's `credentials`, whose sections
    /// name users and hold their key pairs. A section `dlio-rs` is another key pair of the server's own user.
    #[arg(long, value_name = "FILE", value_parser = local_path())]
    pub(crate) users: Option<PathBuf>,
    /// Time by which every answer is delayed, as a storage of known latency would: `5` and `5ms` are milliseconds.
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = crate::quantity::milliseconds)]
    pub(crate) delay_ms: std::time::Duration,
    /// Trouble for some requests, words with commas: `ms=N` later, bodies that share `bytes=N` per second at each endpoint, `refuse`d with 503, or
    /// the last of their connection (`close`); at `endpoint=N`, GETs number `gets=FROM..TO`, so many seconds after the first GET
    /// (`s=FROM..TO`), the `first` of a connection. Repeatable.
    #[arg(long, value_name = "RULE")]
    pub(crate) trouble: Vec<dlio_server::Trouble>,
    /// Entity tags of objects: `md5` as S3's, which clients may compare with what they sent; `opaque` ones cost no time
    /// and look like no digest, for benchmarks.
    #[arg(long, value_name = "KIND", value_enum, default_value_t = EtagArg::Md5)]
    pub(crate) etag: EtagArg,
    /// Do not force objects to stable storage before they are acknowledged (directory only).
    #[arg(long)]
    pub(crate) no_fsync: bool,
    /// Close a connection on which half a request has come and nothing more for this long.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = crate::quantity::time_above_zero)]
    pub(crate) request_timeout: std::time::Duration,
    /// How endpoints, and a key pair that was made, are printed.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: ServeFormat,
}

/// How a server prints where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ServeFormat {
    /// One URL a line; a key pair as lines for the environment.
    Text,
    /// One JSON object in one line: `endpoints`, and `access_key_id` and `secret_access_key` of a pair that was made.
    Json,
}

/// What entity tags are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum EtagArg {
    /// MD5 of the object, or of its parts' MD5s.
    Md5,
    /// Nothing that is computed of the object.
    Opaque,
}
