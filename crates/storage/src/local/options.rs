//! How files are opened, read and written.

use super::buffer::ALIGN;

/// How files are accessed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent ways of opening and closing a file")]
pub struct LocalOptions {
    /// Read with `O_DIRECT`, past the page cache (`reader.odirect`). A file system that cannot is an error.
    pub odirect_read: bool,
    /// Write with `O_DIRECT`. A file system that cannot is an error.
    pub odirect_write: bool,
    /// `fsync` each file before it gets its final name, and its folder after.
    pub durable: bool,
    /// Give pages that were read or written back to the kernel (`posix_fadvise(DONTNEED)`), so that what is written now
    /// is not read from memory later.
    pub drop_cache: bool,
    /// Bytes per `pread` and `pwrite`, hence the size of each thread's buffer: it should stay in cache. Direct I/O takes at least 1 MiB: there
    /// every call goes to the device, and nothing is gained from a buffer that stays in cache.
    pub chunk: usize,
    /// Bytes per `pread` of direct I/O, a multiple of 4096; `None`: as above.
    pub direct_chunk: Option<usize>,
    /// Most bytes of the buffer of a read, for many threads that read at a time; what a chunk has if that is less.
    pub read_buffer: usize,
}

impl Default for LocalOptions {
    fn default() -> Self {
        Self {
            odirect_read: false,
            odirect_write: false,
            durable: false,
            drop_cache: false,
            chunk: 512 << 10,
            direct_chunk: None,
            read_buffer: usize::MAX,
        }
    }
}

/// Smallest chunk of direct I/O: at 256 KiB a pass costs twice the CPU time and reads a quarter slower.
const DIRECT_CHUNK: usize = 1 << 20;

impl LocalOptions {
    /// Bytes per call where `direct` tells whether it goes past the page cache.
    pub(super) fn chunk(&self, direct: bool) -> usize {
        let chunk = self.chunk.max(1).next_multiple_of(ALIGN);
        match self.direct_chunk {
            Some(bytes) if direct => bytes.max(1).next_multiple_of(ALIGN),
            None if direct => chunk.max(DIRECT_CHUNK),
            _ => chunk,
        }
    }
}
