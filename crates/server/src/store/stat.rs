//! Size, modification time and entity tag of an object.

use std::time::SystemTime;

use super::tag::Tag;

/// The properties of an object that listings show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) size: u64,
    pub(crate) modified: SystemTime,
    pub(crate) tag: Tag,
}
