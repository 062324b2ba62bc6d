//! What a decoder asks its caller for.

/// What a decoder wants read next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A range of the file.
    Bytes {
        /// First byte.
        offset: u64,
        /// Number of bytes; `None`: to the end of the file.
        len: Option<u64>,
    },
    /// The size of the file ([`Decoder::size`](crate::Decoder::size)): its end must be read first, and the storage did not tell where that is.
    Size,
    /// Nothing: the sample aimed at has been read.
    Done,
}
