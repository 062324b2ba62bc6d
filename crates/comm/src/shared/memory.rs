//! Memory that several processes map: an anonymous file of the kernel, which disappears with its last user.
#![expect(unsafe_code, reason = "memory shared between processes has no safe wrapper")]

use std::fs::File;
use std::io::{self, Error};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::MetadataExt;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

/// A mapping of the memory into this process.
#[derive(Debug)]
pub(crate) struct Memory {
    file: File,
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: plain memory; the protocol of its users regulates access, within this process and between processes.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Creates a zeroed file of `bytes` bytes; pages are allocated when they are first touched.
    pub(super) fn create(bytes: usize) -> io::Result<Self> {
        // SAFETY: the name is a C string; the descriptor is owned by the file from here on.
        let file = unsafe {
            let descriptor = libc::memfd_create(c"dlio-rs-lists".as_ptr(), libc::MFD_CLOEXEC);
            if descriptor < 0 {
                return Err(Error::last_os_error());
            }
            File::from_raw_fd(descriptor)
        };
        file.set_len(bytes as u64)?;
        Self::map(file, bytes)
    }

    /// Maps a file that another process created.
    pub(super) fn map(file: File, bytes: usize) -> io::Result<Self> {
        if file.metadata()?.len() != bytes as u64 {
            return Err(Error::other("the file is not as long as it must be"));
        }
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: a new mapping wherever the kernel likes it.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| Error::other("mmap gave no address"))?;
        Ok(Self { file, start, bytes })
    }

    /// Returns the descriptor number, under which `/proc/<pid>/fd` shows the file to other processes.
    pub(super) fn descriptor(&self) -> i32 {
        self.file.as_raw_fd()
    }

    /// Returns device and inode, which identify the file on this machine.
    pub(super) fn identity(file: &File) -> io::Result<(u64, u64)> {
        file.metadata().map(|metadata| (metadata.dev(), metadata.ino()))
    }

    /// Returns the underlying file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Allocates memory for a part of the file. Without this, a process on a machine without free memory would be
    /// killed when it first touches a page.
    pub(super) fn reserve(&self, from: usize, bytes: usize) -> io::Result<()> {
        self.allocate(0, from, bytes)?;
        // Mapping all pages at once is cheaper than one by one; if the kernel cannot, the pages are touched one by
        // one.
        let part = self.part(from, bytes);
        // SAFETY: the part lies within the mapping (`part` checks it); the content does not change.
        unsafe { libc::madvise(part.as_ptr().cast(), bytes, libc::MADV_POPULATE_WRITE) };
        Ok(())
    }

    /// Releases the memory of a part, which then reads as zeroes.
    pub(super) fn release(&self, from: usize, bytes: usize) -> io::Result<()> {
        self.allocate(libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, from, bytes)
    }

    fn allocate(&self, mode: i32, from: usize, bytes: usize) -> io::Result<()> {
        let offset = |value: usize| libc::off_t::try_from(value).map_err(Error::other);
        let (from, bytes) = (offset(from)?, offset(bytes)?);
        loop {
            // SAFETY: only the file is concerned.
            let code = unsafe { libc::fallocate(self.file.as_raw_fd(), mode, from, bytes) };
            if code == 0 {
                return Ok(());
            }
            let error = Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    /// Returns the address of a part that lies within the mapping.
    fn part(&self, from: usize, bytes: usize) -> NonNull<u8> {
        assert!(from.checked_add(bytes).is_some_and(|end| end <= self.bytes), "a part beyond the shared memory");
        // SAFETY: within the mapping.
        unsafe { self.start.add(from) }
    }

    /// Returns the address of a value that consists of atomic words only.
    pub(crate) fn at<T>(&self, from: usize) -> NonNull<T> {
        let part = self.part(from, size_of::<T>()).cast::<T>();
        assert!(part.is_aligned());
        part
    }

    /// Returns a word that is only accessed atomically; `at` is a multiple of 4.
    pub(super) fn word(&self, at: usize) -> &AtomicU32 {
        let part = self.part(at, size_of::<AtomicU32>()).cast::<AtomicU32>();
        assert!(part.is_aligned());
        // SAFETY: inside the mapping, which lives as long as `self`; all access to words is atomic.
        unsafe { part.as_ref() }
    }

    /// Returns numbers that nobody changes while they are read.
    ///
    /// # Safety
    /// No process writes to these numbers while the slice lives.
    pub(super) unsafe fn numbers(&self, from: usize, len: usize) -> &[u32] {
        let part = self.part(from, len * size_of::<u32>()).cast::<u32>();
        assert!(part.is_aligned());
        // SAFETY: inside the mapping; any bytes are numbers; the caller keeps writers away.
        unsafe { std::slice::from_raw_parts(part.as_ptr(), len) }
    }

    /// Returns numbers that nobody else accesses.
    ///
    /// # Safety
    /// No other process or thread reads or writes these numbers while the slice lives.
    #[expect(clippy::mut_from_ref, reason = "the caller vouches for being alone")]
    pub(super) unsafe fn numbers_mut(&self, from: usize, len: usize) -> &mut [u32] {
        let part = self.part(from, len * size_of::<u32>()).cast::<u32>();
        assert!(part.is_aligned());
        // SAFETY: inside the mapping; any bytes are numbers; the caller has exclusive access.
        unsafe { std::slice::from_raw_parts_mut(part.as_ptr(), len) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: our own mapping, unmapped once; nothing that borrows from it outlives it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// Returns whether a process with this id may still exist.
pub(super) fn is_alive(process: u32) -> bool {
    let Ok(process) = libc::pid_t::try_from(process) else { return true };
    // SAFETY: signal 0 only checks for existence.
    let code = unsafe { libc::kill(process, 0) };
    code == 0 || Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}
