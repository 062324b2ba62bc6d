//! CPU time of the client itself, for the report.

use std::time::Duration;

use crate::syscalls;

/// CPU time and bytes read of one rank in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Wall-clock time from the first operation to the last.
    pub wall: Duration,
    /// User and system CPU time of the whole process during that time.
    pub cpu: Duration,
    /// Number of bytes that this rank read.
    pub bytes: u64,
}

impl Cost {
    /// Returns CPU seconds per GiB read; `None` when nothing was read.
    #[must_use]
    pub fn cpu_seconds_per_gib(&self) -> Option<f64> {
        const GIB: f64 = 1_073_741_824.0;
        (self.bytes > 0).then(|| self.cpu.as_secs_f64() / (self.bytes as f64 / GIB))
    }

    /// Returns the average number of busy processor cores.
    #[must_use]
    pub fn cores(&self) -> f64 {
        if self.wall.is_zero() { 0.0 } else { self.cpu.as_secs_f64() / self.wall.as_secs_f64() }
    }
}

/// Measures the CPU time of the process since its start.
pub(crate) struct CpuMeter {
    start: Duration,
}

impl CpuMeter {
    pub(crate) fn start() -> Self {
        Self { start: syscalls::process_cpu() }
    }

    pub(crate) fn read(&self) -> Duration {
        syscalls::process_cpu().saturating_sub(self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_is_told_per_gib_and_in_cores() {
        let cost = Cost { wall: Duration::from_secs(4), cpu: Duration::from_secs(2), bytes: 1 << 31 };
        assert_eq!(cost.cpu_seconds_per_gib(), Some(1.0));
        assert!((cost.cores() - 0.5).abs() < 1e-12);
        assert_eq!(Cost::default().cpu_seconds_per_gib(), None);
    }
}
