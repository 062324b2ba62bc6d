//! Decoding of bytes that may be damaged.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::{Arc, Once, OnceLock};

use crate::error::Error;

/// Description of the damage that was found first, with its row group and column, which the errors of the Parquet library lack.
pub(crate) type Damage = Arc<OnceLock<String>>;

/// Decodes a part of a file. A description in `damage` replaces the error of the Parquet library.
pub(crate) fn decoded<T>(path: &Path, damage: &Damage, work: impl FnOnce() -> Result<T, String>) -> Result<T, Error> {
    catch_panic(work)
        .map_err(|reason| Error::Damaged { path: path.to_owned(), reason: damage.get().map_or(reason, Clone::clone) })
}

thread_local! {
    /// Whether a panic of this thread means only that a file is damaged.
    static DECODING: Cell<bool> = const { Cell::new(false) };
}

/// Calls `work` and turns a panic into an error: some flipped bytes make the Parquet library panic.
pub(crate) fn catch_panic<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
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
