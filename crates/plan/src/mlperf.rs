//! Reading behavior of the loaders of the MLPerf Storage fork: the class of the dataset, the depth of its windows, and
//! the part of a file that is read.
//!
//! The fork keeps the bytes of everything that it has read ahead. This program does not keep records, so its windows
//! only count operations. Two artifacts of the fork's client are not copied. First, batches of libraries other than
//! s3dlio wait for whole chunks of files; here, the window slides, as deep as the fork's and at most one chunk ahead.
//! Second, the fork's workers keep the file list of the first epoch.

use std::sync::Arc;
use std::time::Duration;

use dlio_config::time::TimeSpec;
use dlio_config::vocabulary::{DataLoader, Dialect, Format, RowGroupDecode, Shuffle, StorageLibrary, StorageType};
use dlio_config::{RowGroupReader, Workload};

use crate::counts::{Counts, LoaderKind};
use crate::shards::Shards;
use crate::{Error, PermutationStore, World};

/// Batches that a torch worker of an iterable dataset may begin before the training loop takes a batch.
pub(crate) const TORCH_BATCHES: u32 = 2;

/// Read-ahead of the lanes of an iterable dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pipeline {
    /// Pieces of a lane that are in flight at the same time.
    pub in_flight: u32,
    /// Pieces of a lane that are in flight, or that have arrived and are not part of a batch yet.
    pub begun: u32,
    /// While the lane waits for a piece, it begins one piece more than `begun`.
    pub eager: bool,
    /// Pieces become batches in the order of the plan; otherwise, in the order of their arrival.
    pub ordered: bool,
    /// Pieces are row groups, which are found in the footers of their files; `None` if pieces are files.
    pub footers: Option<Footers>,
}

/// Time at which a lane reads the footers of its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Footers {
    /// All footers are read before the first row group.
    First {
        /// Footers that are read at a time. The next ones are requested when all of these have arrived.
        at_a_time: u32,
        /// Footers are kept for the following epochs.
        kept: bool,
    },
    /// The footer of each file is read before the row groups of the preceding file, in every epoch again.
    Ahead,
}

/// Reading behavior that is specific to the mlperf dialect.
#[derive(Debug, Clone)]
pub(crate) struct MlperfReading {
    pub(crate) shards: Shards,
    pub(crate) pipeline: Option<Pipeline>,
    /// Files are read as a whole and not parsed.
    pub(crate) whole: bool,
    /// Samples per piece of an iterable dataset.
    pub(crate) piece: u64,
    /// Lane k delays the start of every epoch by k times this duration.
    pub(crate) stagger: Duration,
}

impl MlperfReading {
    pub(crate) fn new(
        workload: &Workload,
        (kind, world): (LoaderKind, World),
        counts: [&Counts; 2],
        lists: &Arc<dyn PermutationStore>,
    ) -> Result<Self, Error> {
        let Workload { reader, dataset, train, storage, .. } = workload;
        let reshuffle = reader.file_shuffle != Shuffle::Off && kind != LoaderKind::Blank;
        let mut files = [0, 0];
        for ((files, counts), what) in files.iter_mut().zip(counts).zip(["the training files", "the evaluation files"])
        {
            let fits = u32::try_from(counts.files).ok().filter(|_| reshuffle);
            if reshuffle && fits.is_none() {
                return Err(Error::TooManyToShuffle { what, count: counts.files });
            }
            *files = fits.unwrap_or_default() / world.size;
        }
        let pipeline = (kind == LoaderKind::Iterable).then(|| pipeline(workload));
        let staggered = kind == LoaderKind::Iterable
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

/// Returns the kind of dataset class that pytorch uses for the format on this storage.
pub(crate) fn kind(workload: &Workload) -> LoaderKind {
    let objects = !matches!(workload.stored_on(), StorageType::LocalFs | StorageType::ParallelFs);
    match workload.dataset.format {
        Format::Npz | Format::Npy | Format::Jpeg | Format::Png if objects => LoaderKind::Iterable,
        // With direct_fs, the fork reads Parquet sample by sample, and every lane reads the row groups of all lanes;
        // this is not copied.
        Format::Parquet => LoaderKind::Iterable,
        _ => LoaderKind::Index,
    }
}

/// Returns the maximum number of reads that a rank has in flight if its lanes stream files or row groups; 1 otherwise.
#[must_use]
pub fn reads_in_flight(workload: &Workload) -> u32 {
    let Workload { reader, dlio_rs, .. } = workload;
    let streams = dlio_rs.dialect == Dialect::Mlperf && reader.data_loader == DataLoader::Pytorch;
    if streams && kind(workload) == LoaderKind::Iterable {
        reader.read_threads.max(1).saturating_mul(pipeline(workload).in_flight)
    } else {
        1
    }
}

/// Returns how the lanes of an iterable dataset read ahead.
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
            // Arrived files wait in a queue that is as long as the window.
            files(in_flight, in_flight.saturating_mul(2), false)
        }
    }
}

/// Returns the windows of the fork's Parquet readers. The reader of s3dlio begins a request when one is consumed. The
/// others begin the next request and then wait for the one that they need; their threads limit the number of requests
/// in flight.
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

/// Returns whether files are read as a whole, without being parsed.
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

/// Returns the number of samples per piece. A piece is a file, or the row groups of one request with the configured row
/// group size.
fn piece(workload: &Workload) -> u64 {
    let file = workload.dataset.num_samples_per_file;
    let request = || workload.dataset.parquet.row_group_size.saturating_mul(workload.coalesce_rgs());
    workload.row_group_reader().map_or(file, |_| request().clamp(1, file.max(1)))
}

fn mean(time: &TimeSpec) -> Duration {
    let seconds = match *time {
        TimeSpec::Constant { mean } | TimeSpec::Normal { mean, .. } => mean,
        // The fork reads the mean of the specification, or 0 if it has none.
        _ => 0.0,
    };
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
