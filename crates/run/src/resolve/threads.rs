//! Thread counts that follow from the size of the node, in the dialect of the MLPerf fork.
//!
//! The fork also rejects numbers of workers whose pinned memory exceeds that of the node. Here nothing is pinned and readers
//! hold chunks instead of records, so there is no such limit.

use dlio_comm::Communicator;
use dlio_config::Workload;
use dlio_config::dialect::ThreadSizing;
use dlio_config::vocabulary::StorageType;
use serde::{Deserialize, Serialize};

use crate::collective::gather;
use crate::failure::Failure;

/// Threads of one rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Threads {
    read: u32,
    write: u32,
}

/// Processors and ranks of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Node {
    processors: u32,
    ranks: u32,
}

/// Replaces thread counts of 1, which stand for a number that follows from the node, and returns a remark about it. All ranks use the
/// numbers of the smallest node, because a plan has one number of lanes.
///
/// # Errors
/// The communication between ranks fails.
pub async fn apply(
    comm: &dyn Communicator,
    processors: u64,
    workload: &mut Workload,
) -> Result<Option<String>, Failure> {
    let Some(sizing) = workload.dlio_rs.dialect.rules().thread_sizing else { return Ok(None) };
    let node = Node {
        processors: u32::try_from(processors).unwrap_or(u32::MAX).max(1),
        ranks: comm.place().local_size.max(1),
    };
    let mine = threads(workload, node, sizing);
    let all: Vec<Threads> = gather(comm, &mine).await?;
    let least = |pick: fn(&Threads) -> u32| all.iter().map(pick).min().unwrap_or(1);
    let sized = Threads { read: least(|threads| threads.read), write: least(|threads| threads.write) };
    let said = (workload.reader.read_threads, workload.reader.write_threads);
    workload.reader.read_threads = sized.read;
    workload.reader.write_threads = Some(sized.write);
    if said == (sized.read, Some(sized.write)) {
        return Ok(None);
    }
    let uneven = if all.iter().all(|other| *other == mine) { "" } else { "; nodes differ, the smallest counts" };
    Ok(Some(format!(
        "reader.read_threads is {} and reader.write_threads {} with {} processor(s) for {} rank(s) of a node, as the \
         fork sizes them where they are 1{uneven}",
        sized.read, sized.write, node.processors, node.ranks
    )))
}

fn threads(workload: &Workload, node: Node, sizing: ThreadSizing) -> Threads {
    let cap = workload.dlio_rs.max_auto_threads;
    let share = (node.processors / node.ranks).max(1);
    let waits = matches!(workload.storage.storage_type, StorageType::S3 | StorageType::DirectFs);
    let read = match workload.reader.read_threads {
        1 => share.min(cap.unwrap_or(sizing.read_max)),
        said => said,
    };
    let write = match workload.reader.write_threads {
        None | Some(1) if waits => {
            share.saturating_mul(2).min(cap.unwrap_or(sizing.write_max)).max(sizing.waiting_write_min)
        }
        None | Some(1) => share.min(cap.unwrap_or(sizing.write_max)),
        Some(said) => said.max(1),
    };
    Threads { read, write }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(overrides: &[&str]) -> Workload {
        let mut all = vec!["++reader.read_threads=1"];
        all.extend(overrides);
        let overrides: Vec<_> = all.iter().map(|text| dlio_config::Override::parse(text).unwrap()).collect();
        let yaml = dlio_config::bundled::yaml("mlperf-v3/unet3d_b200").unwrap();
        let source = dlio_config::Source { name: "test.yaml", yaml };
        dlio_config::load(&source, &overrides, &std::collections::BTreeMap::new(), None).unwrap().workload
    }

    fn sized(overrides: &[&str], processors: u32, ranks: u32) -> (u32, u32) {
        let workload = workload(overrides);
        let Threads { read, write } =
            threads(&workload, Node { processors, ranks }, workload.dlio_rs.dialect.rules().thread_sizing.unwrap());
        (read, write)
    }

    const S3: &[&str] = &["++storage.storage_type=s3", "++storage.storage_root=bucket"];

    #[test]
    fn one_thread_stands_for_what_the_machine_has() {
        // The fork's own examples: 16 processors for 4 ranks, 28 for 8, 28 for 1, 256 for 8.
        assert_eq!(sized(&[], 16, 4), (4, 4));
        assert_eq!(sized(S3, 16, 4), (4, 8));
        assert_eq!(sized(S3, 28, 8), (3, 8));
        assert_eq!(sized(S3, 28, 1), (8, 32));
        assert_eq!(sized(S3, 256, 8), (8, 32));
        assert_eq!(sized(&[], 256, 8), (8, 32));
        assert_eq!(sized(&[], 2, 8), (1, 1));
    }

    #[test]
    fn what_is_said_stays_and_the_cap_is_that_of_both() {
        assert_eq!(sized(&["++reader.read_threads=3", "++reader.write_threads=5"], 64, 1), (3, 5));
        assert_eq!(sized(&["++reader.read_threads=0"], 64, 1).0, 0);
        assert_eq!(sized(&["++dlio_rs.max_auto_threads=2"], 64, 1), (2, 2));
        assert_eq!(sized(&[S3[0], S3[1], "++dlio_rs.max_auto_threads=2"], 64, 1), (2, 8));
    }
}
