//! Samples once a second what this process and its host consume: CPU, memory, network, disks.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use dlio_event::TimeSource;
use dlio_trace::tables::CounterRow;

/// Interval between two samples.
const INTERVAL: Duration = Duration::from_secs(1);
/// Nanoseconds per tick of `/proc/self/stat`: Linux reports 100 ticks per second to programs, whatever its internal
/// rate.
const TICK_NS: i64 = 10_000_000;
/// Bytes per sector in `/proc/diskstats`, whatever the disk's own sector size.
const SECTOR: i64 = 512;

/// Takes samples on its own thread until it is stopped.
pub(crate) struct Sampler {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<Vec<CounterRow>>>,
}

impl Sampler {
    /// Starts the thread. `offset_ns` is the offset that turns this rank's clock into rank 0's.
    pub(crate) fn start(time: Arc<dyn TimeSource>, rank: u32, offset_ns: i64) -> Self {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let seen = Arc::clone(&stop);
        let work = move || sample_until(&seen, &*time, rank, offset_ns);
        let thread = std::thread::Builder::new().name("counters".to_owned()).spawn(work);
        if let Err(error) = &thread {
            tracing::warn!("CPU, memory, network and disks are not sampled: {error}");
        }
        Self { stop, thread: thread.ok() }
    }

    /// Takes a last sample, stops, and returns all samples.
    pub(crate) fn stop(mut self) -> Vec<CounterRow> {
        let (stopped, wake) = &*self.stop;
        *stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        wake.notify_one();
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

fn sample_until(stop: &(Mutex<bool>, Condvar), time: &dyn TimeSource, rank: u32, offset_ns: i64) -> Vec<CounterRow> {
    let (stopped, wake) = stop;
    let mut rows = Vec::new();
    loop {
        let t_ns = i64::try_from(time.now()).unwrap_or(i64::MAX).saturating_add(offset_ns);
        rows.push(CounterRow { rank: i64::from(rank), t_ns, ..read() });
        let guard = stopped.lock().unwrap_or_else(PoisonError::into_inner);
        if *guard {
            return rows;
        }
        drop(wake.wait_timeout(guard, INTERVAL));
    }
}

/// Takes one sample. Counters that the system does not have are 0.
fn read() -> CounterRow {
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (cpu_user_ns, cpu_system_ns) = cpu(&text("/proc/self/stat"));
    let (net_received_bytes, net_sent_bytes) = network(&text("/proc/net/dev"));
    let whole = |disk: &str| std::path::Path::new("/sys/block").join(disk.replace('/', "!")).exists();
    let (disk_read_bytes, disk_written_bytes) = disks(&text("/proc/diskstats"), whole);
    CounterRow {
        cpu_user_ns,
        cpu_system_ns,
        rss_bytes: resident(&text("/proc/self/status")),
        net_received_bytes,
        net_sent_bytes,
        disk_read_bytes,
        disk_written_bytes,
        ..CounterRow::default()
    }
}

/// Returns fields 14 and 15, user and system time in ticks. Field 2, the program's name, may contain spaces.
fn cpu(stat: &str) -> (i64, i64) {
    let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = behind_name.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|field| field.parse::<i64>().ok()).unwrap_or(0);
    (ticks() * TICK_NS, ticks() * TICK_NS)
}

fn resident(status: &str) -> i64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_ascii_whitespace().next()).and_then(|kib| kib.parse::<i64>().ok());
    kib.map_or(0, |kib| kib * 1024)
}

/// Returns the bytes received and sent by all interfaces except loopback.
fn network(dev: &str) -> (i64, i64) {
    let mut sums = (0, 0);
    for (name, values) in dev.lines().filter_map(|line| line.split_once(':')) {
        let values: Vec<i64> = values.split_ascii_whitespace().filter_map(|value| value.parse().ok()).collect();
        if name.trim() != "lo" && values.len() > 8 {
            sums = (sums.0 + values[0], sums.1 + values[8]);
        }
    }
    sums
}

/// Returns the bytes read and written by all whole disks. Stacked devices would be counted twice, and memory devices
/// are no disks.
fn disks(diskstats: &str, whole: impl Fn(&str) -> bool) -> (i64, i64) {
    let mut sums = (0, 0);
    for line in diskstats.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let sectors = |at: usize| fields.get(at).and_then(|field| field.parse::<i64>().ok()).unwrap_or(0);
        let stacked = ["loop", "ram", "zram", "dm-", "md"];
        if fields.get(2).is_some_and(|disk| whole(disk) && !stacked.iter().any(|kind| disk.starts_with(kind))) {
            sums = (sums.0 + sectors(5) * SECTOR, sums.1 + sectors(9) * SECTOR);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_a_name_with_spaces_and_brackets() {
        let stat = "42 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 31 0 0 20";
        assert_eq!(cpu(stat), (2_500_000_000, 310_000_000));
        assert_eq!(cpu(""), (0, 0));
    }

    #[test]
    fn memory_is_told_in_kib() {
        assert_eq!(resident("VmPeak:\t 9 kB\nVmRSS:\t  1234 kB\n"), 1234 * 1024);
    }

    #[test]
    fn the_loopback_is_no_network() {
        let dev = "Inter-| Receive\n face |bytes\n    lo: 100 1 0 0 0 0 0 0 100 1\n  eth0: 70 1 0 0 0 0 0 0 30 1\n\
                   ib0:7 1 0 0 0 0 0 0 3 1\n";
        assert_eq!(network(dev), (77, 33));
    }

    #[test]
    fn partitions_and_stacked_devices_are_not_counted_again() {
        let stats = "8 0 sda 1 0 100 0 1 0 50 0\n8 1 sda1 1 0 90 0 1 0 50 0\n253 0 dm-0 1 0 90 0 1 0 50 0\n\
                     259 0 nvme0n1 1 0 8 0 1 0 2 0\n";
        assert_eq!(disks(stats, |disk| disk != "sda1"), (108 * 512, 52 * 512));
    }

    #[test]
    fn a_sampler_that_is_stopped_at_once_has_sampled() {
        let rows = Sampler::start(Arc::new(dlio_engine::MonotonicClock), 3, 1_000_000).stop();
        assert!(!rows.is_empty(), "a thread that starts late still samples once");
        assert!(rows.iter().all(|row| row.rank == 3 && row.t_ns > 1_000_000 && row.rss_bytes > 0));
    }
}
