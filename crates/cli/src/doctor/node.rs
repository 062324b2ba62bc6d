//! Checks that the first rank of every node runs: the node itself and the endpoints that the workload uses.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dlio_config::Workload;
use dlio_plan::{CheckpointPlan, FileSet, TrainingPlan};
use rustix::process::{Resource, getrlimit};

use super::endpoints::Use;
use super::verdict::{Checks, Verdict};
use super::{Subject, endpoints, folders, limits};
use dlio_run::backend::client_of_all;
use dlio_run::backend::location::Target;
use dlio_run::failure::Failure;
use dlio_run::host::page_cache;
use dlio_run::host::wall_clock::Anchor;
use dlio_run::sizes::CheckpointSizes;

/// Time limit of one step.
const STEP: Duration = Duration::from_secs(3);

/// The plans of a workload.
pub(crate) struct Plans {
    /// The dataset, if one is read or generated.
    pub(crate) files: Option<FileSet>,
    /// The training, if there is one.
    pub(crate) training: Option<TrainingPlan>,
    /// The checkpoints, if there are any.
    pub(crate) checkpoints: Option<CheckpointPlan>,
}

impl Plans {
    /// Returns the number of epochs and the number of steps per epoch.
    pub(crate) fn schedule(&self) -> Option<(u32, u64)> {
        self.training.as_ref().map(|plan| (plan.epochs(), plan.steps(dlio_plan::Split::Train)))
    }
}

/// Runs all checks of a node.
pub(crate) async fn check(subject: &Subject<'_>, plans: &Plans) -> Checks {
    let mut checks = Checks::new(&subject.place.host);
    let workload = subject.workload;
    if let Some(files) = &plans.files {
        let generates = workload.workflow.generate_data;
        let of = Use {
            reads: !generates,
            writes: generates,
            lists: workload.dlio_rs.dialect.rules().checks_dataset && !workload.dataset.skip_listing,
        };
        place(&mut checks, subject, (Target::of(workload), of), Some(files)).await;
    }
    if let Some(plan) = &plans.checkpoints {
        let writes = CheckpointSizes::writes(plan, plans.schedule()) > 0;
        let of = Use { reads: false, writes, lists: true };
        place(&mut checks, subject, (Target::of_checkpoints(workload), of), None).await;
    }
    let output = &subject.request.output;
    let free = dlio_run::output_folder::unused(output).map(|()| folders::writable(output));
    let free = free.unwrap_or_else(|failure| {
        Verdict::fail_as(failure.code, failure.message, "wait for that run, or give another folder with --output")
    });
    checks.add("output.write", output.display().to_string(), free);
    limits(&mut checks, subject, plans);
    if workload.dlio_rs.drop_caches && plans.training.is_some() {
        let verdict = match page_cache::rights(STEP).await {
            Ok(evidence) => Verdict::pass(evidence),
            Err(why) => Verdict::fail(
                why,
                "run as root, allow `sudo -n sh -c 'echo 3 > /proc/sys/vm/drop_caches'`, or set dlio_rs.drop_caches: false",
            ),
        };
        checks.add("page_cache", subject.place.host.clone(), verdict);
    }
    checks
}

/// Checks a location that files are read from or written to.
async fn place(
    checks: &mut Checks,
    subject: &Subject<'_>,
    (target, of): (Result<Target, Failure>, Use),
    files: Option<&FileSet>,
) {
    let target = match target {
        Ok(target) => target,
        Err(failure) => {
            let verdict = Verdict::fail_as(failure.code, failure.message, "correct the configuration");
            return checks.add("configuration", "storage", verdict);
        }
    };
    let name = target.name();
    match target {
        Target::Local { root } => folder(checks, &root, of, files),
        Target::S3 { bucket, prefix } => {
            let time: Arc<dyn dlio_event::TimeSource> = Arc::new(dlio_engine::MonotonicClock);
            let client = client_of_all(subject.workload, subject.request, (bucket, prefix), time.clone());
            let client = match client {
                Ok(client) => client,
                Err(failure) => {
                    let verdict = Verdict::fail_as(failure.code, failure.message, "correct the endpoints");
                    return checks.add("endpoint.client", name, verdict);
                }
            };
            let first = files.filter(|_| of.reads).map(|files| files.name(0));
            let found = client.examine(first.as_deref(), STEP).await;
            let now = Anchor::now(&*time).unix_nanos / 1_000_000_000;
            for found in found {
                endpoints::judge(checks, &found, &name, of, now);
            }
        }
    }
}

fn folder(checks: &mut Checks, root: &Path, of: Use, files: Option<&FileSet>) {
    let name = root.display().to_string();
    if let Some(files) = files.filter(|_| of.reads) {
        checks.add("data.first_file", name.clone(), folders::first_file(root, files));
    }
    if of.writes {
        checks.add("folder.write", name, folders::writable(root));
    }
}

fn limits(checks: &mut Checks, subject: &Subject<'_>, plans: &Plans) {
    let needed = limits::needed(
        subject.workload,
        plans.training.as_ref(),
        plans.checkpoints.as_ref(),
        endpoints_of(subject.workload, subject.request.endpoints.len()),
    );
    let open = getrlimit(Resource::Nofile);
    let host = subject.place.host.clone();
    checks.add("limit.files", host.clone(), limits::files(needed.files, (open.current, open.maximum)));
    let own = getrlimit(Resource::Nproc).current.filter(|_| !rustix::process::geteuid().is_root());
    let limit = own.into_iter().chain(container_limit()).min();
    checks.add("limit.threads", host, limits::threads(needed.threads, u64::from(subject.place.local_size), limit));
}

/// Returns the number of endpoints that the data come from; 0 for folders.
fn endpoints_of(workload: &Workload, endpoints: usize) -> u64 {
    let is_remote = |target| matches!(target, Ok(Target::S3 { .. }));
    let remote = is_remote(Target::of(workload)) || is_remote(Target::of_checkpoints(workload));
    if remote { endpoints.max(1) as u64 } else { 0 }
}

/// Returns the number of processes and threads that the container may still start.
fn container_limit() -> Option<u64> {
    let read = |name: &str| {
        let text = std::fs::read_to_string(Path::new("/sys/fs/cgroup").join(name)).ok()?;
        text.trim().parse::<u64>().ok()
    };
    Some(read("pids.max")?.saturating_sub(read("pids.current")?))
}
