//! Options for opening, reading and writing files.

use super::buffer::ALIGN;

/// Options for file access.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent ways of opening and closing a file")]
pub struct LocalOptions {
    /// Read with `O_DIRECT`, which bypasses the page cache (`reader.odirect`). Opening fails where the file system does not support it.
    pub odirect_read: bool,
    /// Write with `O_DIRECT`. Opening fails where the file system does not support it.
    pub odirect_write: bool,
    /// Call `fsync` on each file before it gets its final name, and on its folder afterwards.
    pub durable: bool,
    /// Drop pages from the page cache after reads and writes (`posix_fadvise(DONTNEED)`), so that later reads do not come from
    /// memory.
    pub drop_cache: bool,
    /// Bytes per `pread` and `pwrite`, and thus the size of each thread's buffer, which should fit into the CPU cache. Direct I/O uses
    /// at least 1 MiB, because each of its calls goes to the device.
    pub chunk: usize,
    /// Bytes per `pread` of direct I/O, a multiple of 4096; `None` means the larger of `chunk` and 1 MiB.
    pub direct_chunk: Option<usize>,
    /// Upper limit in bytes of the buffer of a read, for runs in which many threads read at the same time.
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

/// Smallest default chunk of direct I/O in bytes: chunks of 256 KiB cost twice the CPU time and read 25 % slower.
const DIRECT_CHUNK: usize = 1 << 20;

impl LocalOptions {
    /// Returns the bytes per system call; `direct` selects direct I/O.
    pub(super) fn chunk(&self, direct: bool) -> usize {
        let chunk = self.chunk.max(1).next_multiple_of(ALIGN);
        match self.direct_chunk {
            Some(bytes) if direct => bytes.max(1).next_multiple_of(ALIGN),
            None if direct => chunk.max(DIRECT_CHUNK),
            _ => chunk,
        }
    }
}
