//! One reusable, page-aligned buffer per thread, so that measured reads and writes allocate nothing and stay in cache.

use std::cell::RefCell;

/// Alignment in bytes of every buffer; no known file system requires more than the alignment of a page.
pub(super) const ALIGN: usize = 4096;

thread_local! {
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with a buffer of `len` bytes, aligned to [`ALIGN`], with unspecified content.
///
/// The buffer is removed from its slot during the call, so a nested call gets another buffer.
pub(super) fn with_buffer<T>(len: usize, work: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut memory = SPARE.take();
    if memory.len() < len + ALIGN {
        memory.resize(len + ALIGN, 0);
    }
    let shift = memory.as_ptr().align_offset(ALIGN).min(ALIGN);
    let result = work(&mut memory[shift..shift + len]);
    SPARE.set(memory);
    result
}

#[cfg(test)]
mod tests {
    use super::{ALIGN, with_buffer};

    #[test]
    fn buffers_are_aligned_and_nested_ones_are_distinct() {
        with_buffer(10_000, |outer| {
            assert_eq!(outer.as_ptr() as usize % ALIGN, 0);
            outer.fill(1);
            with_buffer(20_000, |inner| {
                assert_eq!(inner.as_ptr() as usize % ALIGN, 0);
                inner.fill(2);
            });
            assert!(outer.iter().all(|byte| *byte == 1));
        });
    }
}
