//! Asking memory for an item before it is needed.
#![cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "the instruction has no safe wrapper"))]

/// Has the item at `at` on its way to the cache; does nothing beyond the end.
#[inline]
#[cfg(target_arch = "x86_64")]
pub(super) fn prefetch<T>(items: &[T], at: usize) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    if let Some(item) = items.get(at) {
        // SAFETY: a hint; it reads nothing and cannot fault, and the address is one of ours.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(item).cast()) };
    }
}

/// Has the item at `at` in the cache: looks at it, which later looks need not wait for.
#[inline]
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn prefetch<T: Copy>(items: &[T], at: usize) {
    std::hint::black_box(items.get(at).copied());
}
