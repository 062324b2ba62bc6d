//! The keys of a payload stream.

/// The two keys of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    pub(super) start: u64,
    pub(super) flip: u64,
}
