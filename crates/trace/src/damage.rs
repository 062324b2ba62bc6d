//! Decoding of bytes that may be damaged.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::{Arc, Once, OnceLock};

use crate::error::Error;

/// What was found to be damaged: the library's errors do not say in which group and column.
pub(crate) type Damage = Arc<OnceLock<String>>;

/// Decodes a part of a file; the damage that was found on the way says more than the library's error.
pub(crate) fn decoded<T>(path: &Path, damage: &Damage, work: impl FnOnce() -> Result<T, String>) -> Result<T, Error> {
    whole(work)
        .map_err(|reason| Error::Damaged { path: path.to_owned(), reason: damage.get().map_or(reason, Clone::clone) })
}

thread_local! {
    /// Whether a panic of this thread says nothing but that a file is damaged.
    static DECODING: Cell<bool> = const { Cell::new(false) };
}

/// Decodes; some flipped bytes make the Parquet library panic, which says nothing but that the file is damaged.
pub(crate) fn whole<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let said = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !DECODING.get() {
                said(info);
            }
        }));
    });
    let before = DECODING.replace(true);
    let done = std::panic::catch_unwind(AssertUnwindSafe(work));
    DECODING.set(before);
    done.unwrap_or_else(|_| Err("its values cannot be decoded".to_owned()))
}
