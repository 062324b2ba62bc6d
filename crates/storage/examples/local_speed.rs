//! Bytes per CPU-second of local reads and writes, by chunk size: `local_speed FOLDER [MIB] [direct]`.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]
#![expect(clippy::disallowed_methods, reason = "measures the wall clock")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dlio_event::{Nanos, TimeSource};
use dlio_storage::local::{Local, LocalOptions};
use dlio_storage::{ByteRange, ChunkSource, Storage};

struct Wall(Instant);

impl TimeSource for Wall {
    fn now(&self) -> Nanos {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A source that leaves the buffer unchanged, so that only the storage costs time.
struct Nothing(u64);

impl ChunkSource for Nothing {
    fn len(&self) -> u64 {
        self.0
    }

    fn fill(&mut self, buffer: &mut [u8]) -> usize {
        buffer.len()
    }
}

/// Returns the user and system CPU time of this process.
fn cpu() -> (Duration, Duration) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let mut ticks = fields.skip(11).filter_map(|field| field.parse::<u64>().ok());
    let mut next = || Duration::from_millis(ticks.next().unwrap_or_default() * 10);
    (next(), next())
}

/// Runs `work`, which transfers `bytes` bytes, and prints its cost.
async fn measure<T>(name: &str, bytes: u64, work: impl Future<Output = T>) -> T {
    let (user, system, start) = (cpu().0, cpu().1, Instant::now());
    let result = work.await;
    let wall = start.elapsed();
    let (user, system) = (cpu().0.saturating_sub(user), cpu().1.saturating_sub(system));
    let gigabytes = bytes as f64 / 1e9;
    println!(
        "{name:24} {:6.2} GB/s, {:6.2} GB per CPU-second (user {user:?}, system {system:?})",
        gigabytes / wall.as_secs_f64(),
        gigabytes / (user + system).as_secs_f64()
    );
    result
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), dlio_storage::Error> {
    let mut arguments = std::env::args().skip(1);
    let root = PathBuf::from(arguments.next().unwrap_or_else(|| "/dev/shm/local_speed".to_owned()));
    let size = arguments.next().and_then(|mib| mib.parse::<u64>().ok()).unwrap_or(256) << 20;
    let direct = arguments.next().is_some();
    for chunk in [128 << 10, 256 << 10, 512 << 10, 1 << 20, 4 << 20] {
        let options = LocalOptions { odirect_read: direct, odirect_write: direct, chunk, ..LocalOptions::default() };
        let storage = Local::new(root.clone(), Arc::new(Wall(Instant::now())), options);
        storage.create_root().await?;
        measure(&format!("write, {} KiB chunks", chunk >> 10), 8 * size, async {
            for number in 0..8 {
                storage.write(&format!("file{number}"), &mut Nothing(size)).await?;
            }
            Ok::<_, dlio_storage::Error>(())
        })
        .await?;
        measure(&format!("read, {} KiB chunks", chunk >> 10), 8 * size, async {
            for number in 0..8 {
                storage.open(&format!("file{number}")).await?.read(ByteRange::ALL, &mut |_: &[u8]| Ok(())).await?;
            }
            Ok::<_, dlio_storage::Error>(())
        })
        .await?;
        for number in 0..8 {
            storage.delete(&format!("file{number}")).await?;
        }
    }
    Ok(())
}
