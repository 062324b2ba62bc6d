//! The requests of a decoder to its caller.

/// What a decoder needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A range of the file.
    Bytes {
        /// Offset of the first byte.
        offset: u64,
        /// Number of bytes, or `None` for the rest of the file.
        len: Option<u64>,
    },
    /// The size of the file ([`Decoder::size`](crate::Decoder::size)): the decoder reads the end of the file first,
    /// and the storage has not reported the size.
    Size,
    /// Nothing: the selected sample has been read.
    Done,
}
