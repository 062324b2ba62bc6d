//! The monotonic clock of a process.

/// Nanoseconds of the process's monotonic clock.
pub type Nanos = u64;

/// Reads the process's monotonic clock; the production clock and the virtual clock of simulations are in the engine.
pub trait TimeSource: Send + Sync {
    /// Nanoseconds since an origin that is fixed for the life of the process.
    fn now(&self) -> Nanos;
}
