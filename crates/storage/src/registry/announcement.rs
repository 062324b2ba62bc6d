//! The announcement of an endpoint, as stored in its registry file.

use serde::{Deserialize, Serialize};

pub(super) const EXTENSION: &str = ".json";
/// Version of the announcements that this program writes. Version 1 had no job, no count and no start time.
pub(super) const FORMAT: u32 = 2;

/// A server's announcement of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Version of the format.
    #[serde(default = "first_format")]
    pub format: u32,
    /// URL, `http://host:port`.
    pub endpoint: String,
    /// Job that serves the endpoint: the same on all of its ranks, and different for every start.
    #[serde(default)]
    pub job: String,
    /// Rank within the job.
    #[serde(default)]
    pub rank: u32,
    /// Number of ranks of the job.
    #[serde(default)]
    pub ranks: u32,
    /// Number of endpoints of the whole job; 0: unknown.
    #[serde(default)]
    pub of: usize,
    /// Hosts of the job's ranks, in rank order; empty except in rank 0's announcements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Process that serves the endpoint.
    pub pid: u32,
    /// Start time of that process in clock ticks since boot.
    #[serde(default)]
    pub start_ticks: Option<u64>,
    /// Host on which the process runs.
    pub host: String,
    /// Id of the host's boot.
    #[serde(default)]
    pub boot: String,
    /// Process namespace of `pid`.
    #[serde(default)]
    pub pid_namespace: String,
    /// Time of the announcement, in seconds since 1970.
    pub started: u64,
    /// Name of the file from which it was read or to which it is written.
    #[serde(skip)]
    pub file_name: String,
}

fn first_format() -> u32 {
    1
}

impl Announcement {
    /// Describes the server for messages.
    pub(super) fn owner(&self) -> String {
        format!("{}, process {} on {}", self.endpoint, self.pid, self.host)
    }
}

/// Returns the name of an endpoint without job and extension. The name is used for its announcement and, if each
/// endpoint has its own store, for its data directory.
#[must_use]
pub fn stem(rank: u32, index: usize) -> String {
    format!("endpoint-{rank:05}-{index:03}")
}
