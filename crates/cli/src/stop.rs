//! The stop handle of this process.

use std::sync::OnceLock;

use dlio_run::stop::StopHandle;

/// Returns the handle that signals, panics and the exit of this process use.
pub(crate) fn stop() -> &'static StopHandle {
    static STOP: OnceLock<StopHandle> = OnceLock::new();
    STOP.get_or_init(StopHandle::default)
}
