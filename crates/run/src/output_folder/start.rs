//! Locking of the output folder at the start of a run.

use std::path::Path;
use std::sync::Arc;

use dlio_comm::Communicator;
use dlio_config::Workload;

use super::{Claim, FolderRequest, Planned, Section};
use crate::collective::gather;
use crate::failure::{Code, Failure};
use crate::front_end::FrontEnd;
use crate::options::Options;
use crate::ranks::Ranks;
use crate::resolve::resolved_run::ResolvedRun;

/// Kind of files that a run writes into the output folder.
#[derive(Debug, Clone, Copy)]
pub enum Writes<'a> {
    /// Log and trace of a generation.
    Generate,
    /// Files of a training loop or of checkpoints.
    Replay,
    /// Files of a generation or a training, depending on `workflow.*`.
    Workflow,
    /// Log and trace of a verification.
    Verify,
    /// Files of the replay of a trace.
    Trace {
        /// The trace that is replayed.
        read: &'a Path,
        /// Nothing is replayed; only the log is written.
        dry_run: bool,
    },
    /// Files of `dlio_benchmark`, which takes its folder as it is.
    AsReference,
}

impl Writes<'_> {
    fn section(self, workload: &Workload) -> Section {
        let workflow = workload.workflow;
        match self {
            Self::Generate => Section::Generate,
            Self::Workflow if workflow.generate_data && !workflow.train && !workflow.checkpoint => Section::Generate,
            Self::Verify => Section::Verify,
            Self::Trace { dry_run: true, .. } => Section::DryRun,
            Self::Replay | Self::Workflow | Self::Trace { .. } | Self::AsReference => Section::Replay,
        }
    }
}

/// Claims the output folder of a run. If nobody named a folder, a new one is created and set in the request. `None`:
/// the folder is taken as it is. Only rank 0 calls this function.
///
/// # Errors
/// If another run has the folder, or it cannot be used.
pub fn claim(
    request: &mut ResolvedRun,
    (writes, target): (Writes<'_>, &Options),
    front: &FrontEnd,
    ranks: u32,
) -> Result<Option<Arc<Claim>>, Failure> {
    if matches!(writes, Writes::AsReference) {
        return Ok(None);
    }
    let loaded = request.load()?;
    if request.output_named_here {
        request.output = super::create_new(&request.output)?;
    }
    let section = writes.section(&loaded.workload);
    let (reads, is_trace) = match writes {
        Writes::Trace { read, .. } => (Some(read.to_owned()), true),
        _ => (None, false),
    };
    let wish = FolderRequest {
        section,
        planned: Planned::of_run(section, &loaded.workload, ranks, is_trace),
        overwrite: target.overwrites_output(),
        reads,
        command: request.argv.clone(),
        started: request.anchor.stamp(request.anchor.monotonic),
        job: super::job(&front.environment),
        ranks,
    };
    let claim = Claim::take(&request.output, wish, &front.stop)?;
    claim.token().clone_into(&mut request.output_token);
    Ok(Some(claim))
}

/// Returns the request of a run as `dlio_benchmark` for a trace folder.
#[must_use]
pub fn traces_as_reference(request: &ResolvedRun, ranks: u32) -> FolderRequest {
    FolderRequest {
        section: Section::Replay,
        planned: Planned::default().and_traces("", ranks),
        overwrite: false,
        reads: None,
        command: request.argv.clone(),
        started: request.anchor.stamp(request.anchor.monotonic),
        job: None,
        ranks,
    }
}

/// Ends all ranks if other nodes do not see rank 0's output folder, as with node-local disks: traces and results would
/// be scattered.
///
/// # Errors
/// If a node does not see rank 0's lock file; the same failure on every rank.
pub async fn check_shared(comm: &Ranks, request: &ResolvedRun) -> Result<(), Failure> {
    let place = comm.place();
    if place.nodes == 1 || request.output_token.is_empty() {
        return Ok(());
    }
    let sees = place.local_rank > 0 || super::sees(&request.output, &request.output_token);
    let all: Vec<(bool, String)> = gather(comm, &(sees, place.host.clone())).await?;
    match not_shared(&request.output, &all) {
        None => Ok(()),
        Some(failure) => crate::collective::agree(comm, if place.rank == 0 { Err(failure) } else { Ok(()) }).await,
    }
}

/// Returns the failure for hosts that do not see the folder; the first entry is rank 0's.
fn not_shared(folder: &Path, all: &[(bool, String)]) -> Option<Failure> {
    let blind: Vec<&str> = all.iter().filter(|(sees, _)| !sees).map(|(_, host)| host.as_str()).collect();
    let first = all.first().map_or("", |(_, host)| host.as_str());
    (!blind.is_empty()).then(|| {
        Failure::new(
            Code::Storage,
            format_args!(
                "the output folder {} of host {first} is not the same folder on host(s) {}: all ranks write into one folder, give one on a \
                 file system that these hosts share with --output",
                folder.display(),
                blind.join(", ")
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_with_a_folder_of_their_own_are_named() {
        let all = [(true, "a"), (false, "b"), (true, "b"), (false, "c")].map(|(sees, host)| (sees, host.to_owned()));
        let failure = not_shared(Path::new("/out"), &all).unwrap();
        assert_eq!(failure.code, Code::Storage);
        for part in ["/out of host a", "host(s) b, c", "--output"] {
            assert!(failure.message.contains(part), "{failure}");
        }
        assert!(not_shared(Path::new("/out"), &all[..1]).is_none());
    }
}
