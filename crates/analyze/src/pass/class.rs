//! Classes of operations: kind, size, endpoint, and whether they ended well.

use dlio_event::{OpKind, Outcome};

/// Upper bounds of the size classes of operations, bytes.
pub(crate) const SIZE_BOUNDS: &[u64] = &[0, 4 << 10, 64 << 10, 1 << 20, 16 << 20, 256 << 20];

/// Returns the size class of an operation from its bytes; class 0 is for operations without bytes.
pub(crate) fn size_class(bytes: u64) -> usize {
    SIZE_BOUNDS.partition_point(|bound| *bound < bytes)
}

/// Returns kind and size class as one number.
pub(crate) fn group_key(kind: OpKind, class: usize) -> usize {
    (kind as usize) << 3 | class
}

/// Returns the kind and size class of a number from [`group_key`].
pub(crate) fn group_of(key: usize) -> Option<(OpKind, usize)> {
    OpKind::ALL.get(key >> 3).map(|kind| (*kind, key & 7))
}

/// Number of possible groups.
pub(crate) const GROUPS: usize = OpKind::ALL.len() << 3;

/// Operations that are counted together: same endpoint, kind, size class and success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class {
    pub(crate) endpoint: u16,
    pub(crate) group: u16,
    pub(crate) ok: bool,
}

impl Class {
    pub(crate) fn kind(self) -> Option<OpKind> {
        group_of(usize::from(self.group)).map(|(kind, _)| kind)
    }
}

/// Returns whether an operation ended well. A query for an object ends well if there is no such object.
pub(crate) fn went_well(kind: OpKind, outcome: Outcome) -> bool {
    match outcome {
        Outcome::Ok => true,
        Outcome::NotFound => matches!(kind, OpKind::Stat | OpKind::Head),
        _ => false,
    }
}
