//! Delays and failures of storage for tests.

use std::sync::Arc;
use std::time::Duration;

use dlio_engine::VirtualClock;
use dlio_storage::delay::{Delay, Delayed, Delays};
use dlio_storage::faults::{Faulty, Operation, When};
use dlio_storage::memory::Memory;
use dlio_storage::{ErrorKind, Storage};

/// Delays and failures of storage.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Delay of every read.
    pub read: Duration,
    /// Delay of every object that is written or staged.
    pub stage: Duration,
    /// A key, and the delay of its reads and writes.
    pub slow: Option<(String, Duration)>,
    /// A key that can be neither opened nor written.
    pub broken: Option<String>,
    /// An object, and the number of bytes to which it is cut.
    pub truncated: Option<(String, usize)>,
    /// An object, and the offset of a byte with one inverted bit.
    pub flipped: Option<(String, usize)>,
    /// An object that is deleted.
    pub missing: Option<String>,
}

impl Faults {
    /// Damages the dataset before the run.
    pub async fn damage(&self, memory: &Memory) {
        if let Some((key, bytes)) = &self.truncated {
            let content = memory.get(key).unwrap();
            memory.put(key, content.slice(..*bytes));
        }
        if let Some((key, at)) = &self.flipped {
            let mut content: Vec<u8> = memory.get(key).unwrap().to_vec();
            content[*at] ^= 1;
            memory.put(key, bytes::Bytes::from(content));
        }
        if let Some(key) = &self.missing {
            memory.delete(key).await.unwrap();
        }
    }

    /// Returns the objects of `memory` with the delays and failures.
    pub fn storage(&self, memory: &Memory, clock: &Arc<VirtualClock>) -> Arc<dyn Storage> {
        let delays = |read, write| {
            let (read, write) = (Delay::latency(read), Delay::latency(write));
            Delays { read, write, ..Delays::default() }
        };
        let mut delayed = Delayed::on_tokio(memory.clone(), delays(self.read, self.stage), clock.clone());
        if let Some((key, delay)) = &self.slow {
            delayed = delayed.with_key(key, delays(*delay, *delay));
        }
        let mut faulty = Faulty::new(delayed, clock.clone());
        if let Some(key) = &self.broken {
            for operation in [Operation::Open, Operation::Write] {
                faulty = faulty.fail(operation, When::Key(key.clone()), ErrorKind::Io);
            }
        }
        Arc::new(faulty)
    }
}
