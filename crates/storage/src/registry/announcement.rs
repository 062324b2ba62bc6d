//! The announcement of one endpoint, as stored in its registry file.

use serde::{Deserialize, Serialize};

pub(super) const EXTENSION: &str = ".json";
/// Version of the announcements that this program writes. Version 1 had no job, count and start time.
pub(super) const FORMAT: u32 = 2;

/// The announcement of one endpoint by a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Version of the format.
    #[serde(default = "first_format")]
    pub format: u32,
    /// URL, `http://host:port`.
    pub endpoint: String,
    /// Job that serves the endpoint; the same on all of its ranks, different in every start.
    #[serde(default)]
    pub job: String,
    /// Rank within the job.
    #[serde(default)]
    pub rank: u32,
    /// Number of ranks of the job.
    #[serde(default)]
    pub ranks: u32,
    /// Number of endpoints of the whole job; 0 if unknown.
    #[serde(default)]
    pub of: usize,
    /// Hosts of the job's ranks in rank order; empty except in rank 0's announcements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Id of the process that serves the endpoint.
    pub pid: u32,
    /// Start time of that process in clock ticks since boot.
    #[serde(default)]
    pub start_ticks: Option<u64>,
    /// Host that the process runs on.
    pub host: String,
    /// Id of the host's boot.
    #[serde(default)]
    pub boot: String,
    /// Process namespace in which `pid` is meaningful.
    #[serde(default)]
    pub pid_namespace: String,
    /// Time of the announcement, in seconds since 1970.
    pub started: u64,
    /// Name of the registry file.
    #[serde(skip)]
    pub file_name: String,
}

fn first_format() -> u32 {
    1
}

impl Announcement {
    /// Returns a description of the server of the endpoint, for messages.
    pub(super) fn owner(&self) -> String {
        format!("{}, process {} on {}", self.endpoint, self.pid, self.host)
    }
}

/// Returns the name of an endpoint without job and extension, which names its announcement and, if each endpoint has its own store, its
/// data directory.
#[must_use]
pub fn stem(rank: u32, index: usize) -> String {
    format!("endpoint-{rank:05}-{index:03}")
}
