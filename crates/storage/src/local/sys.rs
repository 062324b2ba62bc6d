//! System calls that the standard library does not wrap.
#![expect(
    unsafe_code,
    reason = "close(2) with its error, fstatfs(2), statx(2) and posix_fadvise(2) have no safe wrapper in std"
)]

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, IntoRawFd};

/// Closes a file and reports the error that `File`'s `Drop` swallows: NFS and quota errors surface here.
pub(super) fn close(file: File) -> io::Result<()> {
    // SAFETY: `into_raw_fd` gave up ownership, so the descriptor is open and closed exactly once.
    match unsafe { libc::close(file.into_raw_fd()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Tells the kernel that a range of a file will not be needed again. This is only advice: a file system without a page
/// cache may refuse it, which has no effect on the data.
pub(super) fn drop_cache(file: &File, offset: u64, len: u64) {
    let as_offset = |value: u64| libc::off_t::try_from(value).unwrap_or(libc::off_t::MAX);
    // SAFETY: the descriptor is open for the call, which touches no memory of this process.
    let _ =
        unsafe { libc::posix_fadvise(file.as_raw_fd(), as_offset(offset), as_offset(len), libc::POSIX_FADV_DONTNEED) };
}

/// Alignment that `O_DIRECT` requires on a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direct {
    /// Offsets and lengths must be multiples of this many bytes.
    Aligned(usize),
    /// The file system ignores the flag and uses the page cache, or does not support direct I/O on this file.
    Unsupported,
    /// The kernel does not report the alignment.
    Unknown,
}

/// Returns the alignment that the kernel reports for direct I/O on this file.
pub(super) fn direct_alignment(file: &File) -> io::Result<Direct> {
    if lives_in_memory(file)? {
        return Ok(Direct::Unsupported);
    }
    let mut stat = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the path is an empty C string, which AT_EMPTY_PATH allows, and `stat` is writable for the call.
    let result = unsafe {
        libc::statx(file.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH, libc::STATX_DIOALIGN, stat.as_mut_ptr())
    };
    if result != 0 {
        return Ok(Direct::Unknown);
    }
    // SAFETY: an all-zero statx is valid, and the kernel has filled in the available fields.
    let stat = unsafe { stat.assume_init() };
    if stat.stx_mask & libc::STATX_DIOALIGN == 0 {
        return Ok(Direct::Unknown);
    }
    let align = stat.stx_dio_offset_align.max(stat.stx_dio_mem_align);
    Ok(if align == 0 { Direct::Unsupported } else { Direct::Aligned(align as usize) })
}

/// Returns whether the file is on tmpfs or ramfs, on which newer kernels accept `O_DIRECT` although there is no device.
fn lives_in_memory(file: &File) -> io::Result<bool> {
    const RAMFS_MAGIC: i64 = 0x8584_58f6;
    let mut stat = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the descriptor is open and `stat` is writable for the call.
    if unsafe { libc::fstatfs(file.as_raw_fd(), stat.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all-zero is a valid statfs, and the call succeeded.
    let kind = unsafe { stat.assume_init() }.f_type;
    Ok(kind == libc::TMPFS_MAGIC || kind == RAMFS_MAGIC)
}
