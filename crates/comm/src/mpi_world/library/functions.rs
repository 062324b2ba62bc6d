//! The functions of an MPI library as addresses, called with the handles of its ABI.
#![expect(unsafe_code, reason = "calls functions of a library that is opened at run time")]

use std::ffi::{c_char, c_int, c_void};

use super::abi::Handle;

/// Buffer size for the longest version or error text of any library, in bytes (MPICH: 8192).
const TEXT: usize = 8192;

/// Form in which a library passes handles.
pub(super) trait Width: Copy + 'static {
    /// Converts a handle to the library's form.
    fn of(handle: Handle) -> Self;
    /// Converts the library's form to a handle.
    fn handle(self) -> Handle;
}

impl Width for Handle {
    fn of(handle: Handle) -> Self {
        handle
    }

    fn handle(self) -> Handle {
        self
    }
}

impl Width for c_int {
    #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "the handle came from 32 bits")]
    fn of(handle: Handle) -> Self {
        handle as u32 as c_int
    }

    fn handle(self) -> Handle {
        self.cast_unsigned() as Handle
    }
}

/// Defines names, fields and types of the functions in one place.
macro_rules! functions {
    ($($field:ident = $name:literal: ($($argument:ty),*);)*) => {
        /// The functions of a library whose handles are `H`.
        pub(super) struct Functions<H> {
            $($field: unsafe extern "C" fn($($argument),*) -> c_int,)*
        }

        impl<H: Width> Functions<H> {
            /// Looks up the address of each function.
            ///
            /// # Safety
            /// The addresses are those of MPI functions of a library whose handles are `H`.
            pub(super) unsafe fn load(
                address: &dyn Fn(&'static str) -> Result<usize, String>,
            ) -> Result<Self, String> {
                // SAFETY: guaranteed by the caller; every MPI has these functions with these arguments.
                unsafe {
                    Ok(Self {
                        $($field: std::mem::transmute::<usize, unsafe extern "C" fn($($argument),*) -> c_int>(
                            address($name)?,
                        ),)*
                    })
                }
            }
        }
    };
}

functions! {
    init_thread = "MPI_Init_thread": (*mut c_int, *mut *mut *mut c_char, c_int, *mut c_int);
    initialized = "MPI_Initialized": (*mut c_int);
    finalized = "MPI_Finalized": (*mut c_int);
    finalize = "MPI_Finalize": ();
    abort = "MPI_Abort": (H, c_int);
    error_string = "MPI_Error_string": (c_int, *mut c_char, *mut c_int);
    comm_set_errhandler = "MPI_Comm_set_errhandler": (H, H);
    comm_dup = "MPI_Comm_dup": (H, *mut H);
    comm_split = "MPI_Comm_split": (H, c_int, c_int, *mut H);
    comm_split_type = "MPI_Comm_split_type": (H, c_int, c_int, H, *mut H);
    comm_free = "MPI_Comm_free": (*mut H);
    comm_rank = "MPI_Comm_rank": (H, *mut c_int);
    comm_size = "MPI_Comm_size": (H, *mut c_int);
    iprobe = "MPI_Iprobe": (c_int, c_int, H, *mut c_int, *mut c_void);
    isend = "MPI_Isend": (*const c_void, c_int, H, c_int, c_int, H, *mut H);
    recv = "MPI_Recv": (*mut c_void, c_int, H, c_int, c_int, H, *mut c_void);
    test = "MPI_Test": (*mut H, *mut c_int, *mut c_void);
    ibarrier = "MPI_Ibarrier": (H, *mut H);
    ibcast = "MPI_Ibcast": (*mut c_void, c_int, H, c_int, H, *mut H);
    iallgather = "MPI_Iallgather": (*const c_void, c_int, H, *mut c_void, c_int, H, H, *mut H);
    iallgatherv = "MPI_Iallgatherv":
        (*const c_void, c_int, H, *mut c_void, *const c_int, *const c_int, H, H, *mut H);
}

/// Returns the text that a call writes.
pub(super) fn text(call: impl FnOnce(*mut c_char, *mut c_int) -> c_int) -> String {
    let mut bytes = vec![0u8; TEXT + 1];
    let mut len: c_int = 0;
    call(bytes.as_mut_ptr().cast(), &raw mut len);
    bytes.truncate(usize::try_from(len).unwrap_or(0).min(TEXT));
    String::from_utf8_lossy(&bytes).trim_end_matches(['\0', '\n']).to_owned()
}

/// MPI's functions for handles of one width. Each returns MPI's error code.
///
/// # Safety
/// For all unsafe methods: the handles are valid and belong to this library, the library is initialized, and pointers
/// are valid for the call or, for nonblocking calls, until their request is done.
pub(crate) trait Calls: Send + Sync {
    /// Returns the error code and the thread level that the library provides.
    unsafe fn init(&self, level: c_int) -> (c_int, c_int);
    /// Returns whether MPI is initialized and not finalized; may be called at any time from any thread.
    fn is_active(&self) -> bool;
    unsafe fn finalize(&self) -> c_int;
    unsafe fn abort(&self, comm: Handle, exit_code: c_int) -> c_int;
    fn error(&self, code: c_int) -> String;
    unsafe fn set_errhandler(&self, comm: Handle, handler: Handle) -> c_int;
    unsafe fn dup(&self, comm: Handle, new: &mut Handle) -> c_int;
    unsafe fn split(&self, comm: Handle, color: c_int, key: c_int, new: &mut Handle) -> c_int;
    /// `key`: order of the ranks, and hints.
    unsafe fn split_type(&self, comm: Handle, kind: c_int, key: (c_int, Handle), new: &mut Handle) -> c_int;
    unsafe fn free(&self, comm: Handle) -> c_int;
    unsafe fn rank(&self, comm: Handle, rank: &mut c_int) -> c_int;
    unsafe fn size(&self, comm: Handle, size: &mut c_int) -> c_int;
    /// `from`: source and tag.
    unsafe fn iprobe(&self, from: (c_int, c_int), comm: Handle, flag: &mut c_int, status: usize) -> c_int;
    unsafe fn isend(&self, part: Part, to: c_int, comm: Handle, request: &mut Handle) -> c_int;
    unsafe fn recv(&self, part: Part, source: c_int, comm: Handle, status: usize) -> c_int;
    unsafe fn test(&self, request: &mut Handle, flag: &mut c_int, status: usize) -> c_int;
    unsafe fn ibarrier(&self, comm: Handle, request: &mut Handle) -> c_int;
    unsafe fn ibcast(&self, part: Part, root: c_int, comm: Handle, request: &mut Handle) -> c_int;
    /// Every rank passes the same number of elements.
    unsafe fn iallgather(&self, part: Part, all: *mut c_void, comm: Handle, request: &mut Handle) -> c_int;
    unsafe fn iallgatherv(&self, part: Part, all: Parts, comm: Handle, request: &mut Handle) -> c_int;
}

/// Elements of a type at an address.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    pub(crate) at: *mut c_void,
    pub(crate) count: c_int,
    pub(crate) kind: Handle,
}

/// Destination of each rank's elements: counts and offsets.
#[derive(Clone, Copy)]
pub(crate) struct Parts {
    pub(crate) at: *mut c_void,
    pub(crate) counts: *const c_int,
    pub(crate) offsets: *const c_int,
}

/// Lets a call write a handle of the library's width.
fn written<H: Width>(handle: &mut Handle, call: impl FnOnce(*mut H) -> c_int) -> c_int {
    let mut narrow = H::of(*handle);
    let code = call(&raw mut narrow);
    *handle = narrow.handle();
    code
}

/// Converts an address that MPI defines as a constant.
fn status_at(status: usize) -> *mut c_void {
    std::ptr::without_provenance_mut(status)
}

impl<H: Width> Calls for Functions<H> {
    unsafe fn init(&self, level: c_int) -> (c_int, c_int) {
        let mut provided = 0;
        // SAFETY: the program's arguments are not passed, which MPI 2 allows.
        let code = unsafe { (self.init_thread)(std::ptr::null_mut(), std::ptr::null_mut(), level, &raw mut provided) };
        (code, provided)
    }

    fn is_active(&self) -> bool {
        let (mut started, mut ended): (c_int, c_int) = (0, 0);
        // SAFETY: both calls are allowed at any time.
        unsafe {
            (self.initialized)(&raw mut started);
            (self.finalized)(&raw mut ended);
        }
        started != 0 && ended == 0
    }

    unsafe fn finalize(&self) -> c_int {
        // SAFETY: as the trait says.
        unsafe { (self.finalize)() }
    }

    unsafe fn abort(&self, comm: Handle, exit_code: c_int) -> c_int {
        // SAFETY: as the trait says.
        unsafe { (self.abort)(H::of(comm), exit_code) }
    }

    fn error(&self, code: c_int) -> String {
        // SAFETY: the buffer has room for the longest text.
        text(|bytes, len| unsafe { (self.error_string)(code, bytes, len) })
    }

    unsafe fn set_errhandler(&self, comm: Handle, handler: Handle) -> c_int {
        // SAFETY: as the trait says.
        unsafe { (self.comm_set_errhandler)(H::of(comm), H::of(handler)) }
    }

    unsafe fn dup(&self, comm: Handle, new: &mut Handle) -> c_int {
        // SAFETY: as the trait says.
        written(new, |new| unsafe { (self.comm_dup)(H::of(comm), new) })
    }

    unsafe fn split(&self, comm: Handle, color: c_int, key: c_int, new: &mut Handle) -> c_int {
        // SAFETY: as the trait says.
        written(new, |new| unsafe { (self.comm_split)(H::of(comm), color, key, new) })
    }

    unsafe fn split_type(&self, comm: Handle, kind: c_int, (key, info): (c_int, Handle), new: &mut Handle) -> c_int {
        // SAFETY: as the trait says.
        written(new, |new| unsafe { (self.comm_split_type)(H::of(comm), kind, key, H::of(info), new) })
    }

    unsafe fn free(&self, comm: Handle) -> c_int {
        let mut comm = comm;
        // SAFETY: as the trait says.
        written::<H>(&mut comm, |comm| unsafe { (self.comm_free)(comm) })
    }

    unsafe fn rank(&self, comm: Handle, rank: &mut c_int) -> c_int {
        // SAFETY: as the trait says.
        unsafe { (self.comm_rank)(H::of(comm), rank) }
    }

    unsafe fn size(&self, comm: Handle, size: &mut c_int) -> c_int {
        // SAFETY: as the trait says.
        unsafe { (self.comm_size)(H::of(comm), size) }
    }

    unsafe fn iprobe(&self, (source, tag): (c_int, c_int), comm: Handle, flag: &mut c_int, status: usize) -> c_int {
        // SAFETY: as the trait says.
        unsafe { (self.iprobe)(source, tag, H::of(comm), flag, status_at(status)) }
    }

    unsafe fn isend(&self, part: Part, to: c_int, comm: Handle, request: &mut Handle) -> c_int {
        let Part { at, count, kind } = part;
        // SAFETY: as the trait says.
        written(request, |request| unsafe { (self.isend)(at, count, H::of(kind), to, 0, H::of(comm), request) })
    }

    unsafe fn recv(&self, part: Part, source: c_int, comm: Handle, status: usize) -> c_int {
        let Part { at, count, kind } = part;
        // SAFETY: as the trait says.
        unsafe { (self.recv)(at, count, H::of(kind), source, 0, H::of(comm), status_at(status)) }
    }

    unsafe fn test(&self, request: &mut Handle, flag: &mut c_int, status: usize) -> c_int {
        // SAFETY: as the trait says.
        written::<H>(request, |request| unsafe { (self.test)(request, flag, status_at(status)) })
    }

    unsafe fn ibarrier(&self, comm: Handle, request: &mut Handle) -> c_int {
        // SAFETY: as the trait says.
        written(request, |request| unsafe { (self.ibarrier)(H::of(comm), request) })
    }

    unsafe fn ibcast(&self, part: Part, root: c_int, comm: Handle, request: &mut Handle) -> c_int {
        let Part { at, count, kind } = part;
        // SAFETY: as the trait says.
        written(request, |request| unsafe { (self.ibcast)(at, count, H::of(kind), root, H::of(comm), request) })
    }

    unsafe fn iallgather(&self, part: Part, all: *mut c_void, comm: Handle, request: &mut Handle) -> c_int {
        let Part { at, count, kind } = part;
        let kind = H::of(kind);
        // SAFETY: as the trait says.
        written(request, |request| unsafe {
            (self.iallgather)(at, count, kind, all, count, kind, H::of(comm), request)
        })
    }

    unsafe fn iallgatherv(&self, part: Part, all: Parts, comm: Handle, request: &mut Handle) -> c_int {
        let Part { at, count, kind } = part;
        let Parts { at: to, counts, offsets } = all;
        let kind = H::of(kind);
        // SAFETY: as the trait says.
        written(request, |request| unsafe {
            (self.iallgatherv)(at, count, kind, to, counts, offsets, kind, H::of(comm), request)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_of_32_bits_come_back_as_they_were() {
        for handle in [0x4400_0000, 0x4c00_010d, 0x8400_0001, 0xffff_ffff, 0] {
            assert_eq!(c_int::of(handle).handle(), handle);
        }
        assert_eq!(Handle::of(usize::MAX).handle(), usize::MAX);
    }
}
