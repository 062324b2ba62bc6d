//! How the loaders of the MLPerf Storage fork read: which data set class, how deep its windows are, how much of a file.
//!
//! The fork keeps the bytes of everything that it has read ahead; here nobody holds a record, so windows are numbers of
//! operations only. Two of its client artefacts are not copied: that batches of the libraries other than s3dlio wait for
//! whole chunks of files (the window slides instead, as deep as the fork's and no further ahead than its chunk), and
//! that its workers keep the file list of the first epoch.

use std::sync::Arc;
use std::time::Duration;

use dlio_config::time::TimeSpec;
use dlio_config::vocabulary::{DataLoader, Dialect, Format, RowGroupDecode, Shuffle, StorageLibrary, StorageType};
use dlio_config::{RowGroupReader, Workload};

use crate::counts::{Counts, Kind};
use crate::shards::Shards;
use crate::{Error, Lists, Split, World};

/// Operations that torch lets a worker of an iterable data set begin before the loop takes a batch.
pub(crate) const TORCH_BATCHES: u32 = 2;

/// How the lanes of an iterable data set read ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pipeline {
    /// Pieces of a lane in flight at the same time.
    pub in_flight: u32,
    /// Pieces of a lane that are in flight or have arrived without being part of a batch yet.
    pub begun: u32,
    /// While one is waited for, one more than that is begun.
    pub eager: bool,
    /// Pieces become batches in the order of the plan; otherwise in the order in which they arrive.
    pub ordered: bool,
    /// Pieces are row groups, which the footers of their files tell; `None`: they are files.
    pub footers: Option<Footers>,
}

/// When the footers of the files of a lane are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Footers {
    /// Those of all files before the first row group.
    First {
        /// So many at a time; the next ones follow when all of these have come.
        at_a_time: u32,
        /// Those of one epoch are known in the next.
        kept: bool,
    },
    /// That of each file before the row groups of the file before it, anew in every epoch.
    Ahead,
}

/// What of the reading is the fork's own.
#[derive(Debug, Clone)]
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
    pub(crate) fn new(
        workload: &Workload,
        (kind, world): (Kind, World),
        counts: [&Counts; 2],
        lists: &Arc<dyn Lists>,
    ) -> Result<Self, Error> {
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
            && workload.client_library() != StorageLibrary::S3dlio
            && storage.windows.stagger_workers;
        Ok(Self {
            shards: Shards::new(world.size, (train.seed, train.seed_change_epoch), reshuffle, files, Arc::clone(lists)),
            pipeline,
            whole: whole(workload),
            piece: piece(workload),
            stagger: if staggered { mean(&train.computation_time) } else { Duration::ZERO },
        })
    }
}

/// The kind of data set that reads a format from a storage under pytorch.
pub(crate) fn kind(workload: &Workload) -> Kind {
    let objects = !matches!(workload.stored_on(), StorageType::LocalFs | StorageType::ParallelFs);
    match workload.dataset.format {
        Format::Npz | Format::Npy | Format::Jpeg | Format::Png if objects => Kind::Iterable,
        // The fork reads Parquet with direct_fs sample by sample, every lane the row groups of all; that is not copied.
        Format::Parquet => Kind::Iterable,
        _ => Kind::Index,
    }
}

/// Reads that a rank has in flight at most where its lanes stream files or row groups; 1 where they do not.
#[must_use]
pub fn reads_in_flight(workload: &Workload) -> u32 {
    let Workload { reader, dlio_rs, .. } = workload;
    let streams = dlio_rs.dialect == Dialect::Mlperf && reader.data_loader == DataLoader::Pytorch;
    if streams && kind(workload) == Kind::Iterable {
        reader.read_threads.max(1).saturating_mul(pipeline(workload).in_flight)
    } else {
        1
    }
}

/// How deep the lanes of an iterable data set read ahead.
fn pipeline(workload: &Workload) -> Pipeline {
    if let Some(reader) = workload.row_group_reader() {
        return row_groups(workload, reader);
    }
    let windows = &workload.storage.windows;
    let chunk = windows.prefetch_window.unwrap_or(256).max(1);
    let files = |in_flight, begun, ordered| Pipeline { in_flight, begun, eager: false, ordered, footers: None };
    let chunked = |in_flight: u32| files(in_flight.min(chunk), chunk, true);
    match (workload.stored_on(), workload.client_library()) {
        (StorageType::DirectFs, _) => chunked(64),
        (_, StorageLibrary::Minio) => chunked(16),
        (_, StorageLibrary::S3TorchConnector) => chunked(1),
        _ => {
            let in_flight = windows.prefetch_window.unwrap_or(64).max(1);
            // What has arrived waits in a queue as long as the window.
            files(in_flight, in_flight.saturating_mul(2), false)
        }
    }
}

/// The windows of the fork's readers of Parquet. s3dlio begins a request when one is used up; the others begin the next
/// and then wait for the one they need, their threads being the limit of what is in flight.
fn row_groups(workload: &Workload, reader: RowGroupReader) -> Pipeline {
    let windows = &workload.storage.windows;
    let window = windows.prefetch_window.unwrap_or(64).max(1);
    let cap = match windows.decode {
        RowGroupDecode::Raw => 1024,
        RowGroupDecode::Arrow => 512,
    };
    let (in_flight, begun, footers) = match reader {
        RowGroupReader::Index => {
            let begun = windows.prefetch_workers.unwrap_or(32).min(windows.max_outstanding.unwrap_or(cap)).max(1);
            (begun, begun, Footers::First { at_a_time: windows.footer_batch_size.max(1), kept: true })
        }
        RowGroupReader::Ranges => {
            let threads = windows.prefetch_workers.unwrap_or(64).max(1);
            (threads.min(window.saturating_add(1)), window, Footers::First { at_a_time: 1, kept: false })
        }
        RowGroupReader::Serial => (1, 1, Footers::Ahead),
    };
    Pipeline { in_flight, begun, eager: reader == RowGroupReader::Ranges, ordered: true, footers: Some(footers) }
}

/// Whether files are read whole, without a look into them.
fn whole(workload: &Workload) -> bool {
    let Workload { reader, dataset, .. } = workload;
    let objects = matches!(workload.stored_on(), StorageType::S3 | StorageType::Aistore);
    match dataset.format {
        Format::Npz | Format::Npy => !reader.odirect,
        Format::Jpeg | Format::Png => true,
        Format::Hdf5 | Format::Csv => objects,
        Format::TfRecord => reader.data_loader == DataLoader::Pytorch,
        _ => false,
    }
}

/// Samples of one piece: a file, or the row groups of one request, as long as the configuration has them.
fn piece(workload: &Workload) -> u64 {
    let file = workload.dataset.num_samples_per_file;
    let request = || workload.dataset.parquet.row_group_size.saturating_mul(workload.coalesce_rgs());
    workload.row_group_reader().map_or(file, |_| request().clamp(1, file.max(1)))
}

fn mean(time: &TimeSpec) -> Duration {
    let seconds = match *time {
        TimeSpec::Constant { mean } | TimeSpec::Normal { mean, .. } => mean,
        // The fork looks for a mean, and takes 0 where there is none.
        _ => 0.0,
    };
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
