//! What a run leaves in its trace folder: this rank's events, the counters, the table of files.

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

/// Files that are listed at most: the names of more are computed from the configuration in the footers.
const LISTED: u64 = 1_000_000;
/// Different shapes whose sizes are worked out; beyond it sizes are left to the traces.
const SHAPES: usize = 20_000;

/// The trace of this rank and what goes with it.
pub struct Recording {
    writer: Arc<TraceWriter>,
    sampler: Sampler,
    folder: PathBuf,
    rank: u32,
}

impl Recording {
    pub fn new(writer: Arc<TraceWriter>, sampler: Sampler, folder: PathBuf, rank: u32) -> Self {
        Self { writer, sampler, folder, rank }
    }

    /// Folder of the traces.
    pub fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// Where events go.
    pub fn events(&self) -> Arc<dyn EventSink> {
        Arc::clone(&self.writer) as Arc<dyn EventSink>
    }

    /// Ends the trace and writes the counters; nothing of either is lost, also when the run failed.
    ///
    /// # Errors
    /// When something could not be written.
    pub fn close(self, ending: &Ending, clock: Option<ClockAnchor>) -> Result<(), Failure> {
        self.writer.header_at_end(|header| header.clock_end = clock);
        let finished = self.writer.finish_as(ending.clone()).map(drop);
        let written = tables::write_counters(&self.folder, self.rank, &self.sampler.stop());
        finished.and(written).map_err(|error| Failure::new(Code::Trace, crate::execute::chain(&error)))
    }
}

/// Lists the files of the data set beside the traces.
///
/// # Errors
/// When the table cannot be written.
pub fn list_files(
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
    tables::write_files(folder, rows).map_err(|error| Failure::new(Code::Trace, crate::execute::chain(&error)))
}

/// Size of a file whose shape alone decides it; where content does, only generating the file tells.
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
