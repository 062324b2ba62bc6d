//! The monotonic clock of a process.

/// Time in nanoseconds on the monotonic clock of the process.
pub type Nanos = u64;

/// Reads the monotonic clock of the process. The engine has the production clock and the virtual clock of simulations.
pub trait TimeSource: Send + Sync {
    /// Returns the nanoseconds since an origin that is fixed for the lifetime of the process.
    fn now(&self) -> Nanos;
}
