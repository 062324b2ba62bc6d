//! Files that a run will write to local folders: dataset, checkpoints, trace.

use std::path::{Path, PathBuf};

use dlio_comm::Place;
use dlio_config::Workload;
use dlio_format::Layout;
use dlio_format::checkpoint::Container;
use dlio_plan::{CheckpointPlan, FileSet, GeneratePlan, Split, World};

use super::{FileSystem, Need, check};
use crate::backend::location::Target;
use crate::collective::gather;
use crate::failure::Failure;
use crate::prepared::Prepared;
use crate::session::Session;
use crate::sizes::{CheckpointSizes, DataSizes, amount, rank_objects};
use crate::work::Work;

/// Size of a trace in bytes per event, and number of events per operation on a sample.
const EVENT_BYTES: u64 = 10;
const EVENTS: u64 = 5;

/// Refuses a run whose dataset or checkpoints do not fit, and warns of a trace that may not. Every rank calls this
/// function.
///
/// # Errors
/// The missing space, the same on all ranks.
pub(crate) async fn of_run(session: &Session, prepared: &Prepared, work: Work) -> Result<(), Failure> {
    let workload = &session.loaded.workload;
    let data = prepared.data.as_ref().filter(|_| work.generate);
    let training = prepared.plan.as_ref().map(|plan| (plan.epochs(), plan.steps(Split::Train)));
    let (plan, place) = (prepared.checkpoint_plan(), session.comm.place());
    let writes = Writes { workload, place, data: data.map(|data| (&data.files, &data.layout)), plan, training };
    let sizes = if workload.dlio_rs.space_check { session.agree(writes.sizes()).await? } else { None };
    let first = session.agree(writes.needs(sizes.as_ref(), false)).await?;
    check(session, first, async || writes.needs(sizes.as_ref(), true)).await?;
    look_at_trace(session, prepared, work);
    Ok(())
}

/// Files that a run writes on this rank.
pub struct Writes<'a> {
    /// Workload of the run.
    pub workload: &'a Workload,
    /// Rank and its node.
    pub place: &'a Place,
    /// The dataset, if it is generated.
    pub data: Option<(&'a FileSet, &'a Layout)>,
    /// The checkpoints, if any are taken.
    pub plan: Option<&'a CheckpointPlan>,
    /// Number of epochs and of steps per epoch, in a run that trains.
    pub training: Option<(u32, u64)>,
}

impl Writes<'_> {
    /// Returns the sizes of the dataset if it is written to a local folder.
    ///
    /// # Errors
    /// If the location of the dataset is invalid or the sizes are unknown.
    pub fn sizes(&self) -> Result<Option<DataSizes>, Failure> {
        match (self.data, Target::of(self.workload)?) {
            (Some((files, layout)), Target::Local { .. }) => DataSizes::new(self.workload, files, layout).map(Some),
            _ => Ok(None),
        }
    }

    /// Returns the needs of this rank. With `there`, existing files are subtracted.
    ///
    /// # Errors
    /// If the location of the dataset or of the checkpoints is invalid.
    pub fn needs(&self, sizes: Option<&DataSizes>, there: bool) -> Result<Vec<Need>, Failure> {
        let mut needs = Vec::new();
        if let (Some(sizes), Some((files, _)), Target::Local { root }) = (sizes, self.data, Target::of(self.workload)?)
        {
            needs.push(self.dataset(files, sizes, (root, there)));
        }
        if let Some(plan) = self.plan {
            needs.extend(self.checkpoints(plan, there)?);
        }
        Ok(needs)
    }

    /// Returns the need for this rank's files of the dataset.
    fn dataset(&self, files: &FileSet, sizes: &DataSizes, (root, there): (PathBuf, bool)) -> Need {
        let Place { rank, size, .. } = *self.place;
        let block = FileSystem::of(&root).map_or(1, |system| system.block);
        let of_rank = share(files.total(), rank, size);
        let of_train = share(files.len(Split::Train), rank, size);
        let bytes = sizes.train.allocated(of_train, block) + sizes.eval.allocated(of_rank - of_train, block);
        let folders = if rank == 0 { files.folders().len() as u64 + 1 } else { 0 };
        let mut need = Need {
            what: "the dataset".to_owned(),
            key: "dataset.data_folder".to_owned(),
            folder: root,
            bytes,
            inodes: (1 + files.format().index_files().len() as u64).saturating_mul(of_rank) + folders,
            is_exact: sizes.is_exact(),
        };
        if there {
            let paths = GeneratePlan::new(files, World { size }).files(rank).flat_map(|number| {
                let file = files.file(number);
                let indexes: Vec<String> = file.index_keys().into_iter().map(|(_, key)| key).collect();
                std::iter::once(file.key).chain(indexes)
            });
            need.take_off(paths, block);
        }
        need
    }

    /// Returns the need for this rank's files of all checkpoints that the run keeps, if they are written to a local
    /// folder.
    fn checkpoints(&self, plan: &CheckpointPlan, there: bool) -> Result<Option<Need>, Failure> {
        let (workload, rank) = (self.workload, self.place.rank);
        let Target::Local { root } = Target::of_checkpoints(workload)? else { return Ok(None) };
        let taken = CheckpointSizes::writes(plan, self.training);
        if taken == 0 {
            return Ok(None);
        }
        let block = FileSystem::of(&root).map_or(1, |system| system.block);
        let objects = rank_objects(Container::new(workload.dlio_rs.dialect, workload.framework), plan, rank)?;
        let one = objects.iter().fold(0_u64, |sum, (_, bytes)| sum.saturating_add(blocks(*bytes, block)));
        let folders = if rank == 0 { taken } else { 0 };
        let mut need = Need {
            what: "the checkpoints".to_owned(),
            key: "checkpoint.checkpoint_folder".to_owned(),
            folder: root,
            bytes: one.saturating_mul(taken),
            inodes: taken.saturating_mul(objects.len() as u64).saturating_add(folders),
            is_exact: true,
        };
        if there {
            let folders: Vec<String> = CheckpointSizes::folders(plan, self.training).collect();
            let paths =
                folders.iter().flat_map(|folder| objects.iter().map(move |(name, _)| format!("{folder}/{name}")));
            need.take_off(paths, block);
        }
        Ok(Some(need))
    }
}

/// Warns if a replayed trace writes more bytes to a folder than are free there. It may write the same bytes repeatedly,
/// so this is no reason to refuse. Every rank calls this function.
///
/// # Errors
/// If the collective operation fails.
pub(crate) async fn of_replay(session: &Session, bytes: u64) -> Result<(), Failure> {
    let all: Vec<u64> = gather(&*session.comm, &bytes).await?;
    let bytes = all.into_iter().fold(0, u64::saturating_add);
    let workload = &session.loaded.workload;
    let Ok(Target::Local { root }) = Target::of(workload) else { return Ok(()) };
    let Ok(system) = FileSystem::of(&root) else { return Ok(()) };
    if workload.dlio_rs.space_check && bytes > system.free {
        session.warn(&format!(
            "a pass writes {} to {}, and {} are free on {}: it fits only if it writes the same objects again",
            amount(bytes),
            root.display(),
            amount(system.free),
            system.mount.display()
        ));
    }
    Ok(())
}

/// Warns if the trace may not fit beside the other files.
fn look_at_trace(session: &Session, prepared: &Prepared, work: Work) {
    let keys = &session.loaded.workload.dlio_rs;
    if session.rank() > 0 || !keys.trace || !keys.space_check {
        return;
    }
    let reads = prepared.plan.as_ref().map_or(0, |plan| {
        let of_rank = plan.steps(Split::Train).saturating_mul(plan.batch_size(Split::Train));
        of_rank.saturating_mul(u64::from(plan.epochs()))
    });
    let size = u64::from(session.comm.place().size);
    let files = prepared.data.as_ref().filter(|_| work.generate || work.verify).map_or(0, |data| data.files.total());
    let bytes = reads.saturating_mul(size).saturating_add(files).saturating_mul(EVENTS * EVENT_BYTES);
    let Ok(system) = FileSystem::of(&session.request.output) else { return };
    if bytes > system.free {
        session.warn(&format!(
            "the trace may take about {} and {} are free on {} for the output folder {}: choose another one with --output, or set \
             dlio_rs.trace=false",
            amount(bytes),
            amount(system.free),
            system.mount.display(),
            session.request.output.display()
        ));
    }
}

impl Need {
    /// Subtracts existing files at these paths, relative to the folder: they are kept, or their space becomes free when
    /// they are replaced.
    pub fn take_off(&mut self, paths: impl Iterator<Item = String>, block: u64) {
        for path in paths {
            if let Ok(found) = std::fs::metadata(self.folder.join(Path::new(&path))) {
                self.bytes = self.bytes.saturating_sub(blocks(found.len(), block));
                self.inodes = self.inodes.saturating_sub(1);
            }
        }
    }
}

/// Returns the number of files of a rank when `total` files are assigned round-robin.
fn share(files: u64, rank: u32, size: u32) -> u64 {
    files.saturating_sub(u64::from(rank)).div_ceil(u64::from(size.max(1)))
}

/// Rounds bytes up to whole blocks.
#[must_use]
pub fn blocks(bytes: u64, block: u64) -> u64 {
    bytes.checked_next_multiple_of(block.max(1)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_all_ranks_are_all_files() {
        for files in [0, 1, 7, 8, 100] {
            assert_eq!((0..3).map(|rank| share(files, rank, 3)).sum::<u64>(), files);
        }
    }

    #[test]
    fn what_is_there_is_not_needed_again() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), [0; 5000]).unwrap();
        let mut need = Need {
            what: String::new(),
            key: String::new(),
            folder: folder.path().to_owned(),
            bytes: 16_384,
            inodes: 2,
            is_exact: true,
        };
        need.take_off(["a", "b"].into_iter().map(str::to_owned), 4096);
        assert_eq!((need.bytes, need.inodes), (8192, 1));
    }
}
