//! The announcement of one endpoint, as its file in the registry holds it.

use serde::{Deserialize, Serialize};

pub(super) const EXTENSION: &str = ".json";
/// Version of the announcements that this program writes. Version 1 had no job, no count and no start time.
pub(super) const FORMAT: u32 = 2;

/// What a server tells about one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Version of the format.
    #[serde(default = "first_format")]
    pub format: u32,
    /// URL, `http://host:port`.
    pub endpoint: String,
    /// The job that serves it: the same on all of its ranks, different in every start.
    #[serde(default)]
    pub job: String,
    /// Rank within the job.
    #[serde(default)]
    pub rank: u32,
    /// Ranks of the job.
    #[serde(default)]
    pub ranks: u32,
    /// Endpoints of the whole job; 0: unknown.
    #[serde(default)]
    pub of: usize,
    /// Hosts of the job's ranks, in rank order; empty except in rank 0's announcements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Process that serves it.
    pub pid: u32,
    /// Start of that process in clock ticks since the boot.
    #[serde(default)]
    pub start_ticks: Option<u64>,
    /// Host that the process runs on.
    pub host: String,
    /// Id of the host's boot.
    #[serde(default)]
    pub boot: String,
    /// Process namespace in which `pid` means something.
    #[serde(default)]
    pub pid_namespace: String,
    /// Time of the announcement, in seconds since 1970.
    pub started: u64,
    /// Name of the file that it was read from or is written to.
    #[serde(skip)]
    pub file_name: String,
}

fn first_format() -> u32 {
    1
}

impl Announcement {
    /// Who serves the endpoint, for messages.
    pub(super) fn owner(&self) -> String {
        format!("{}, process {} on {}", self.endpoint, self.pid, self.host)
    }
}

/// Name of an endpoint without job and extension: of its announcement and, where each endpoint has a store of its own, of
/// its data directory.
#[must_use]
pub fn stem(rank: u32, index: usize) -> String {
    format!("endpoint-{rank:05}-{index:03}")
}
