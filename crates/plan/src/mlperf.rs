//! How the loaders of the MLPerf Storage fork read: which data set class, how deep its windows are, how much of a file.
//!
//! The fork keeps the bytes of everything that it has read ahead; here nobody holds a record, so windows are numbers of
//! operations only. Two of its client artefacts are not copied: that batches of the libraries other than s3dlio wait for
//! whole chunks of files (the window slides instead, as deep as the fork's and no further ahead than its chunk), and
//! that its workers keep the file list of the first epoch.

use std::time::Duration;

use dlio_config::Workload;
use dlio_config::time::TimeSpec;
use dlio_config::vocabulary::{DataLoader, Format, Shuffle, StorageLibrary, StorageType};

use crate::order::Iterable;
use crate::reading::{Counts, Kind, Reading};
use crate::shards::Shards;
use crate::{Error, Split, World};

/// Operations that torch lets a worker of an iterable data set begin before the loop takes a batch.
pub(crate) const TORCH_BATCHES: u32 = 2;

/// How the lanes of an iterable data set read ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pipeline {
    /// Pieces of a lane in flight at the same time.
    pub in_flight: u32,
    /// Pieces of a lane that are in flight or have arrived without being part of a batch yet.
    pub begun: u32,
    /// Pieces become batches in the order of the plan; otherwise in the order in which they arrive.
    pub ordered: bool,
}

/// What of the reading is the fork's own.
#[derive(Debug)]
pub(crate) struct Fork {
    pub(crate) shards: Shards,
    pub(crate) pipeline: Option<Pipeline>,
    /// Files are read whole and not looked into.
    pub(crate) whole: bool,
    /// Samples of one piece of an iterable data set.
    pub(crate) piece: u64,
    /// Lane k begins every epoch after k times this long.
    pub(crate) stagger: Duration,
}

impl Fork {
    pub(crate) fn new(workload: &Workload, kind: Kind, world: World, counts: [&Counts; 2]) -> Result<Self, Error> {
        let Workload { reader, dataset, train, storage, .. } = workload;
        let reshuffle = reader.file_shuffle != Shuffle::Off && kind != Kind::Blank;
        let mut files = [0, 0];
        for ((files, counts), what) in files.iter_mut().zip(counts).zip(["the training files", "the evaluation files"])
        {
            let fits = u32::try_from(counts.files).ok().filter(|_| reshuffle);
            if reshuffle && fits.is_none() {
                return Err(Error::TooManyToShuffle { what, count: counts.files });
            }
            *files = fits.unwrap_or_default() / world.size;
        }
        let pipeline = (kind == Kind::Iterable).then(|| pipeline(workload));
        let staggered = kind == Kind::Iterable
            && dataset.format != Format::Parquet
            && library(workload) != StorageLibrary::S3dlio
            && storage.windows.stagger_workers;
        Ok(Self {
            shards: Shards::new(world.size, (train.seed, train.seed_change_epoch), reshuffle, files),
            pipeline,
            whole: whole(workload),
            piece: piece(workload),
            stagger: if staggered { mean(&train.computation_time) } else { Duration::ZERO },
        })
    }
}

impl Reading {
    /// The streams of an iterable data set.
    pub(crate) fn iterable(&self, fork: &Fork, rank: u32, split: Split, epoch: u32) -> Iterable {
        Iterable { list: fork.shards.list(rank, split, epoch), ..self.shape(fork, split) }
    }

    /// The same without its files, for what depends on their number only.
    pub(crate) fn shape(&self, fork: &Fork, split: Split) -> Iterable {
        let counts = self.counts(split);
        Iterable {
            order: self.global(split, 1),
            list: crate::order::FileList::ALL,
            files: counts.files / u64::from(self.world.size),
            samples_per_file: self.samples_per_file,
            batch_size: counts.batch_size,
            lanes: self.lanes(),
            piece: fork.piece,
        }
    }
}

/// The kind of data set that reads a format from a storage under pytorch.
pub(crate) fn kind(workload: &Workload) -> Kind {
    let objects = !matches!(storage(workload), StorageType::LocalFs | StorageType::ParallelFs);
    match workload.dataset.format {
        Format::Npz | Format::Npy | Format::Jpeg | Format::Png if objects => Kind::Iterable,
        // The fork reads Parquet with direct_fs sample by sample, every lane the row groups of all; that is not copied.
        Format::Parquet => Kind::Iterable,
        _ => Kind::Index,
    }
}

/// Where the data set is: a data folder on S3 is on S3, whatever `storage.storage_type` says.
pub(crate) fn storage(workload: &Workload) -> StorageType {
    if workload.dataset.data_folder.starts_with("s3://") { StorageType::S3 } else { workload.storage.storage_type }
}

/// The library whose way of reading is imitated: s3dlio where none is said and there are objects to read.
fn library(workload: &Workload) -> StorageLibrary {
    let local = storage(workload) == StorageType::LocalFs;
    workload.storage.library.unwrap_or(if local { StorageLibrary::Posix } else { StorageLibrary::S3dlio })
}

fn pipeline(workload: &Workload) -> Pipeline {
    let windows = &workload.storage.windows;
    let library = library(workload);
    if workload.dataset.format == Format::Parquet {
        let window = windows.prefetch_window.unwrap_or(64);
        let workers = windows.prefetch_workers;
        let begun = match library {
            StorageLibrary::S3dlio => workers.unwrap_or(32).min(windows.max_outstanding.unwrap_or(1024)),
            StorageLibrary::Minio => 1,
            _ => window,
        };
        let in_flight = if library == StorageLibrary::S3dlio { begun } else { begun.min(workers.unwrap_or(64)) };
        return Pipeline { in_flight: in_flight.max(1), begun: begun.max(1), ordered: true };
    }
    let chunk = windows.prefetch_window.unwrap_or(256).max(1);
    let chunked = |in_flight: u32| Pipeline { in_flight: in_flight.min(chunk), begun: chunk, ordered: true };
    match (storage(workload), library) {
        (StorageType::DirectFs, _) => chunked(64),
        (_, StorageLibrary::Minio) => chunked(16),
        (_, StorageLibrary::S3TorchConnector) => chunked(1),
        _ => {
            let in_flight = windows.prefetch_window.unwrap_or(64).max(1);
            // What has arrived waits in a queue as long as the window.
            Pipeline { in_flight, begun: in_flight.saturating_mul(2), ordered: false }
        }
    }
}

/// Whether files are read whole, without a look into them.
fn whole(workload: &Workload) -> bool {
    let Workload { reader, dataset, .. } = workload;
    let objects = matches!(storage(workload), StorageType::S3 | StorageType::Aistore);
    match dataset.format {
        Format::Npz | Format::Npy => !reader.odirect,
        Format::Jpeg | Format::Png => true,
        Format::Hdf5 | Format::Csv => objects,
        Format::TfRecord => reader.data_loader == DataLoader::Pytorch,
        _ => false,
    }
}

/// Samples of one piece: a file, or the row groups of one request.
fn piece(workload: &Workload) -> u64 {
    workload.dataset.num_samples_per_file
}

fn mean(time: &TimeSpec) -> Duration {
    let seconds = match *time {
        TimeSpec::Constant { mean } | TimeSpec::Normal { mean, .. } => mean,
        // The fork looks for a mean, and takes 0 where there is none.
        _ => 0.0,
    };
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
