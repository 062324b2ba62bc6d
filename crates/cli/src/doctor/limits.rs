//! Checks of the limits of the process: open files and threads.

use dlio_config::Workload;
use dlio_plan::{CheckpointPlan, Handles, Split, TrainingPlan};

use super::verdict::Verdict;

/// Number of files that are open for every workload: standard streams, log, trace, MPI.
const ALWAYS: u64 = 64;
/// Number of files of a lane's own runtime: polling, timers, wake-ups.
const PER_LANE: u64 = 4;
/// Number of threads in addition to the lanes: main, signals, sampler, trace writers.
const BESIDE: u64 = 12;

/// Resources that one rank needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Needed {
    /// Number of open files and connections.
    pub(crate) files: u64,
    /// Threads.
    pub(crate) threads: u64,
}

/// Returns the resources that a rank needs for a workload; `endpoints` is the number of endpoints that it uses, 0 for local files.
pub(crate) fn needed(
    workload: &Workload,
    training: Option<&TrainingPlan>,
    checkpoints: Option<&CheckpointPlan>,
    endpoints: u64,
) -> Needed {
    let keys = &workload.dlio_rs;
    let per_request = endpoints.max(1);
    let writers = u64::from(workload.reader.write_threads.unwrap_or(keys.generate_inflight).max(1));
    let (mut files, mut threads) = (0, 0);
    if workload.workflow.generate_data {
        // Connections for uploads stay open at each endpoint that has been used.
        let parts = if endpoints > 0 { u64::from(keys.multipart_concurrency).saturating_mul(per_request) } else { 1 };
        (files, threads) = (writers.saturating_mul(parts), writers);
    }
    if let Some(plan) = training {
        let lanes = u64::from(plan.lanes().max(1));
        let reads = u64::from(dlio_plan::reads_in_flight(workload).max(1)).max(lanes);
        let open = match plan.handles() {
            // A lane keeps every file open that it has read, and may read all of them.
            Handles::Cached if endpoints == 0 => {
                let steps = plan.steps(Split::Train).saturating_mul(plan.batch_size(Split::Train));
                let samples = steps.saturating_mul(u64::from(plan.epochs())).div_ceil(lanes);
                plan.files().len(Split::Train).min(samples).saturating_mul(lanes)
            }
            Handles::PerFile if endpoints == 0 => reads.saturating_add(lanes),
            _ => reads.saturating_mul(per_request),
        };
        files = files.max(open.saturating_add(lanes.saturating_mul(PER_LANE)));
        threads = threads.max(lanes.saturating_add(reads));
    }
    if checkpoints.is_some() {
        let blocks = u64::from(keys.checkpoint_read_blocks.unwrap_or(4));
        let parts = if endpoints > 0 { u64::from(keys.multipart_concurrency).max(16) } else { 1 };
        files = files.max(blocks.max(parts).saturating_mul(per_request));
        threads = threads.max(blocks);
    }
    Needed { files: files.saturating_add(ALWAYS), threads: threads.saturating_add(BESIDE) }
}

/// Checks the limit of open files of a process.
pub(crate) fn files(needed: u64, (soft, hard): (Option<u64>, Option<u64>)) -> Verdict {
    let Some(soft) = soft else { return Verdict::pass(format!("unlimited, about {needed} are needed")) };
    if needed <= soft {
        return Verdict::pass(format!("{soft} are allowed, about {needed} are needed"));
    }
    let remedy = match hard {
        Some(hard) if hard < needed => {
            format!(
                "let the administrator raise the hard limit from {hard} to {needed} (limits.conf, LimitNOFILE), or use fewer readers"
            )
        }
        _ => format!("run `ulimit -n {needed}` before the start, on every node"),
    };
    Verdict::fail(format!("a rank may open {soft} files and needs about {needed} (readers, connections)"), remedy)
}

/// Checks the limit of threads, which applies to the user on a node with `ranks` ranks. `None`: unlimited, as for root.
pub(crate) fn threads(needed: u64, ranks: u64, limit: Option<u64>) -> Verdict {
    let all = needed.saturating_mul(ranks);
    match limit {
        None => Verdict::pass(format!("unlimited; the ranks of this node need about {all}")),
        Some(limit) if all <= limit => {
            Verdict::pass(format!("{limit} are allowed to this user, the ranks of this node need about {all}"))
        }
        Some(limit) => Verdict::fail(
            format!("this user may have {limit} threads on this node, and its {ranks} ranks need about {all}"),
            format!(
                "raise the limit (`ulimit -u {all}`, pids.max of the container), or use fewer readers or ranks per node"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_too_low_says_how_to_raise_it() {
        assert_eq!(files(100, (Some(100), Some(100))).word(), "pass");
        assert_eq!(files(100, (None, None)).word(), "pass");
        let soft = files(300, (Some(256), Some(4096)));
        assert!(matches!(&soft, Verdict::Fail { remedy, .. } if remedy.contains("ulimit -n 300")), "{soft:?}");
        let hard = files(300, (Some(256), Some(256)));
        assert!(matches!(&hard, Verdict::Fail { remedy, .. } if remedy.contains("hard limit from 256")), "{hard:?}");
    }

    #[test]
    fn threads_of_all_ranks_of_a_node_count_together() {
        assert_eq!(threads(20, 4, None).word(), "pass");
        assert_eq!(threads(20, 4, Some(80)).word(), "pass");
        assert_eq!(threads(20, 4, Some(79)).word(), "fail");
    }
}
