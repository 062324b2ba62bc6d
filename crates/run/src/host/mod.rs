//! Facts about this host that DLIO writes into its output files; counters, page cache, profilers and the wall clock.

pub(crate) mod counters;
pub mod page_cache;
pub(crate) mod profiler;
pub mod wall_clock;

use dlio_analyze::outputs::proc_pairs;

/// CPU and memory of the host of a rank.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct HostFacts {
    /// Host name.
    pub hostname: String,
    /// Number of logical processors.
    pub cpu_count: u64,
    /// Memory size in bytes.
    pub memory_bytes: u64,
    /// Content of `/proc/cpuinfo`, parsed; `None` if it does not exist.
    pub cpuinfo: Option<Vec<(String, String)>>,
    /// Content of `/proc/meminfo`, parsed; `None` if it does not exist.
    pub meminfo: Option<Vec<(String, String)>>,
}

impl HostFacts {
    /// Reads the facts from `/proc`.
    pub fn read(hostname: &str) -> Self {
        let cpu_text = std::fs::read_to_string("/proc/cpuinfo").ok();
        let meminfo = std::fs::read_to_string("/proc/meminfo").ok().map(|text| proc_pairs(&text));
        let processors = |text: &String| text.lines().filter(|line| line.starts_with("processor")).count();
        Self {
            hostname: hostname.to_owned(),
            cpu_count: cpu_text.as_ref().map_or(0, processors) as u64,
            memory_bytes: meminfo.as_deref().map_or(0, memory_bytes),
            cpuinfo: cpu_text.map(|text| proc_pairs(&text)),
            meminfo,
        }
    }

    /// Memory size in GiB.
    #[must_use]
    pub fn memory_gib(&self) -> f64 {
        self.memory_bytes as f64 / f64::from(1u32 << 30)
    }

    /// Model name of the processor.
    #[must_use]
    pub fn processor(&self) -> &str {
        let pairs = self.cpuinfo.as_deref().unwrap_or_default();
        pairs.iter().find(|(key, _)| key == "model name").map_or("", |(_, value)| value.as_str())
    }
}

fn memory_bytes(meminfo: &[(String, String)]) -> u64 {
    let total =
        meminfo.iter().find(|(key, _)| key == "MemTotal").and_then(|(_, value)| value.split_whitespace().next());
    total.and_then(|kib| kib.parse::<u64>().ok()).map_or(0, |kib| kib.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_kib() {
        assert_eq!(memory_bytes(&[("MemTotal".to_owned(), "123 kB".to_owned())]), 123 * 1024);
        assert_eq!(memory_bytes(&[]), 0);
    }
}
