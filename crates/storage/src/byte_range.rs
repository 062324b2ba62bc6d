//! The range of bytes that a read asks for.

/// A contiguous range of the bytes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub offset: u64,
    /// Number of bytes; `None` means up to the end of the object.
    pub len: Option<u64>,
}

impl ByteRange {
    /// The whole object.
    pub const ALL: ByteRange = ByteRange { offset: 0, len: None };

    /// Returns the range of `len` bytes from `offset`.
    #[must_use]
    pub fn new(offset: u64, len: u64) -> Self {
        Self { offset, len: Some(len) }
    }
}
