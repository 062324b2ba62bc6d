//! Prefetching of items from memory.
#![cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "the instruction has no safe wrapper"))]

/// Prefetches the item at `at` into the cache; does nothing beyond the end.
#[inline]
#[cfg(target_arch = "x86_64")]
pub(super) fn prefetch<T>(items: &[T], at: usize) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    if let Some(item) = items.get(at) {
        // SAFETY: a prefetch is a hint that reads nothing and cannot fault, and the address is within the slice.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(item).cast()) };
    }
}

/// Reads the item at `at` so that it is in the cache.
#[inline]
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn prefetch<T: Copy>(items: &[T], at: usize) {
    std::hint::black_box(items.get(at).copied());
}
