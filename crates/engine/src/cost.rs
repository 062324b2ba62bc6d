//! What the client itself needed: the honest part of every report.

use std::time::Duration;

use crate::kernel;

/// CPU time and bytes of this rank over a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// From the first operation to the last.
    pub wall: Duration,
    /// User and system time of the whole process meanwhile.
    pub cpu: Duration,
    /// Bytes that this rank read.
    pub bytes: u64,
}

impl Cost {
    /// CPU seconds per GiB read; `None` when nothing was read.
    #[must_use]
    pub fn cpu_seconds_per_gib(&self) -> Option<f64> {
        const GIB: f64 = 1_073_741_824.0;
        (self.bytes > 0).then(|| self.cpu.as_secs_f64() / (self.bytes as f64 / GIB))
    }

    /// Processor cores that were busy on average.
    #[must_use]
    pub fn cores(&self) -> f64 {
        if self.wall.is_zero() { 0.0 } else { self.cpu.as_secs_f64() / self.wall.as_secs_f64() }
    }
}

/// CPU time of the process since a moment.
pub(crate) struct CpuMeter {
    start: Duration,
}

impl CpuMeter {
    pub(crate) fn start() -> Self {
        Self { start: kernel::process_cpu() }
    }

    pub(crate) fn read(&self) -> Duration {
        kernel::process_cpu().saturating_sub(self.start)
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
