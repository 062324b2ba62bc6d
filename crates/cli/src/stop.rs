//! The stop handle of this process.

use std::sync::OnceLock;

use dlio_run::stop::StopHandle;

/// The handle that signals, panics and the end of this process go through.
pub(crate) fn stop() -> &'static StopHandle {
    static STOP: OnceLock<StopHandle> = OnceLock::new();
    STOP.get_or_init(StopHandle::default)
}
