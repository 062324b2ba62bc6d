//! Files of a trace folder: this rank's events, its counters, the table of files.

use std::path::PathBuf;
use std::sync::Arc;

use dlio_config::Workload;
use dlio_config::vocabulary::Format;
use dlio_config::workload::Dataset;
use dlio_event::{Ending, EventSink};
use dlio_format::{FileShape, Layout};
use dlio_plan::FileSet;
use dlio_storage::Storage;
use dlio_trace::tables::{self, FileRow};
use dlio_trace::{ClockAnchor, TraceWriter};

use crate::failure::{Code, Failure};
use crate::host::counters::Sampler;

/// Maximum number of files in the table; the names of more files follow from the configuration in the trace footers.
const LISTED: u64 = 1_000_000;
/// Maximum number of different shapes whose file sizes are computed for the table.
const SHAPES: usize = 20_000;

/// The trace of this rank and its counters.
pub(crate) struct RankTraceWriter {
    writer: Arc<TraceWriter>,
    sampler: Sampler,
    folder: PathBuf,
    rank: u32,
}

impl RankTraceWriter {
    pub(crate) fn new(writer: Arc<TraceWriter>, sampler: Sampler, folder: PathBuf, rank: u32) -> Self {
        Self { writer, sampler, folder, rank }
    }

    /// Folder of the traces.
    pub(crate) fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// The sink of events.
    pub(crate) fn events(&self) -> Arc<dyn EventSink> {
        Arc::clone(&self.writer) as Arc<dyn EventSink>
    }

    /// Closes the trace and writes the counters; both are complete even if the run failed.
    ///
    /// # Errors
    /// If the trace or the counters could not be written.
    pub(crate) fn close(self, ending: &Ending, clock: Option<ClockAnchor>) -> Result<(), Failure> {
        self.writer.header_at_end(|header| header.clock_end = clock);
        let finished = self.writer.finish_as(ending.clone()).map(drop);
        let written = tables::write_counters(&self.folder, self.rank, &self.sampler.stop());
        finished.and(written).map_err(|error| Failure::new(Code::Trace, crate::failure::chain(&error)))
    }
}

/// Writes the table of the dataset's files into the trace folder.
///
/// # Errors
/// If the table cannot be written.
pub(crate) fn list_files(
    folder: &std::path::Path,
    workload: &Workload,
    files: &FileSet,
    layout: &Layout,
    storage: &dyn Storage,
) -> Result<(), Failure> {
    if files.total() > LISTED {
        tracing::info!("{} is left out: {} files, more than {LISTED}", tables::FILES, files.total());
        return Ok(());
    }
    let mut sizes = std::collections::HashMap::new();
    let rows = (0..files.total()).map(|number| {
        let file = files.file(number);
        let shape = FileShape { file: number, dims: &file.dims, samples: file.samples };
        let known = sizes.len() < SHAPES || sizes.contains_key(&file.dims);
        let worked_out = || *sizes.entry(file.dims.clone()).or_insert_with(|| size(&workload.dataset, layout, &shape));
        let size = known.then(worked_out);
        FileRow {
            index: number,
            split: file.split.folder(),
            uri: storage.uri(&file.key),
            size: size.flatten(),
            samples: file.samples,
            payload_seed: workload.dlio_rs.payload_seed,
        }
    });
    tables::write_files(folder, rows).map_err(|error| Failure::new(Code::Trace, crate::failure::chain(&error)))
}

/// Returns the size of a file in bytes if its shape alone decides it; otherwise only generating the file would give it.
fn size(dataset: &Dataset, layout: &Layout, shape: &FileShape) -> Option<u64> {
    let shape_decides = match dataset.format {
        Format::Npz | Format::Npy | Format::TfRecord => dataset.compression.is_none(),
        Format::Hdf5 => {
            dataset.compression.is_none() && dataset.hdf5_chunk_dims.is_empty() && dataset.hdf5_max_shape.is_empty()
        }
        _ => false,
    };
    let encoder = shape_decides.then(|| layout.encoder(shape).ok()).flatten();
    encoder.map(|encoder| encoder.len())
}
