//! Types that describe objects and multipart uploads between the stores and the protocol.

use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::attributes::{Attributes, StoredChecksum};
use super::condition::Condition;
use super::stat::Stat;

/// Identifies a multipart upload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Upload {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) id: String,
}

/// Destination of a write.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Object { bucket: String, key: String, attributes: Arc<Attributes>, condition: Condition },
    Part { upload: Upload, number: u16, checksum: Option<StoredChecksum> },
}

/// A part of a multipart upload in progress.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) number: u16,
    pub(crate) stat: Stat,
    pub(crate) checksum: Option<StoredChecksum>,
}

/// A multipart upload in progress.
#[derive(Debug, Clone)]
pub(crate) struct UploadInProgress {
    pub(crate) upload: Upload,
    pub(crate) started: SystemTime,
    pub(crate) attributes: Arc<Attributes>,
}

/// Describes the object that an upload becomes.
#[derive(Debug, Clone)]
pub(crate) struct Completion {
    /// Numbers and entity tags of the parts, in the order in which they are concatenated.
    pub(crate) parts: Vec<(u16, String)>,
    /// Metadata of the object.
    pub(crate) attributes: Attributes,
    /// Precondition on the object that is replaced.
    pub(crate) condition: Condition,
}
