//! Side tables of a trace folder: the files of the dataset, and the resources that processes and hosts consumed.
//!
//! Rank 0 writes `files.parquet` once. Each rank samples its counters into a table of its own, `counters-00000.parquet`. At the
//! end of a run rank 0 joins them into `counters.parquet`, row group by row group. Traces can be read without either table.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::writer::TrackedWrite;

use crate::damage::{Damage, decoded};
use crate::encoder::{Cell, Cells, TableEncoder};
use crate::error::Error;
use crate::folder::files_named;
use crate::footer::{self, MAGIC};
use crate::header;
use crate::regular_file;
use crate::replacement_file::ReplacementFile;
use crate::row_group::EncodedGroup;
use crate::verified_chunks::{FileContents, VerifiedChunks};

/// Name of the table of dataset files in a trace folder.
pub const FILES: &str = "files.parquet";
/// Name of the joined table of counters.
pub const COUNTERS: &str = "counters.parquet";
/// Rows in a row group.
const GROUP_ROWS: usize = 64 * 1024;

/// Returns the name of one rank's table of counters: `counters-00012.parquet`.
#[must_use]
pub fn counters_name(rank: u32) -> String {
    format!("counters-{rank:05}.parquet")
}

/// One file of the dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRow {
    /// File index: the training files first, then the evaluation files.
    pub index: u64,
    /// `train` or `valid`.
    pub split: &'static str,
    /// Full name, as in column `uri` of the traces.
    pub uri: String,
    /// Size in bytes; `None` if it is known only after generation.
    pub size: Option<u64>,
    /// Number of samples in the file.
    pub samples: u64,
    /// Seed of the file's payload.
    pub payload_seed: u64,
}

/// Writes `files.parquet` into a trace folder.
///
/// # Errors
/// [`Error::Table`].
pub fn write_files(folder: &Path, rows: impl IntoIterator<Item = FileRow>) -> Result<(), Error> {
    let path = folder.join(FILES);
    let failed = |source: ParquetError| Error::Table { path: path.clone(), source: Box::new(source) };
    let mut table = Table::create(&path, &FILE_COLUMNS).map_err(failed)?;
    let mut group = Vec::with_capacity(1024);
    for row in rows {
        group.push(row);
        if group.len() == GROUP_ROWS {
            table.write(group.len(), &files_columns(&group)).map_err(failed)?;
            group.clear();
        }
    }
    table.write(group.len(), &files_columns(&group)).map_err(failed)?;
    table.finish().map_err(failed)
}

const FILE_COLUMNS: [(&str, Cell); 6] = [
    ("file_idx", Cell::Int64),
    ("split", Cell::Text),
    ("uri", Cell::Text),
    ("size", Cell::OptionalInt64),
    ("samples", Cell::Int64),
    ("payload_seed", Cell::UInt64),
];

fn files_columns(rows: &[FileRow]) -> [Cells<'_>; 6] {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    [
        Cells::Numbers(rows.iter().map(|row| Some(number(row.index))).collect()),
        Cells::Texts(rows.iter().map(|row| row.split).collect()),
        Cells::Texts(rows.iter().map(|row| row.uri.as_str()).collect()),
        Cells::Numbers(rows.iter().map(|row| row.size.map(number)).collect()),
        Cells::Numbers(rows.iter().map(|row| Some(number(row.samples))).collect()),
        Cells::Numbers(rows.iter().map(|row| Some(row.payload_seed.cast_signed())).collect()),
    ]
}

/// Resources that one process and its host had consumed at one moment. Each counter starts at an arbitrary value, so only
/// differences are meaningful.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CounterRow {
    /// MPI rank.
    pub rank: i64,
    /// Time on rank 0's monotonic clock, nanoseconds.
    pub t_ns: i64,
    /// CPU time of the process in user mode, nanoseconds.
    pub cpu_user_ns: i64,
    /// CPU time of the process in the kernel, nanoseconds.
    pub cpu_system_ns: i64,
    /// Resident memory of the process, bytes.
    pub rss_bytes: i64,
    /// Bytes received on all network interfaces of the host except loopback.
    pub net_received_bytes: i64,
    /// Bytes sent on all network interfaces of the host except loopback.
    pub net_sent_bytes: i64,
    /// Bytes read from the host's disks.
    pub disk_read_bytes: i64,
    /// Bytes written to the host's disks.
    pub disk_written_bytes: i64,
}

/// Name of a column of counters, and the function that returns its value.
type CounterColumn = (&'static str, fn(&CounterRow) -> i64);

/// Columns of the table of counters, in its order.
const COUNTER_COLUMNS: [CounterColumn; 9] = [
    ("rank", |row| row.rank),
    ("t_ns", |row| row.t_ns),
    ("cpu_user_ns", |row| row.cpu_user_ns),
    ("cpu_system_ns", |row| row.cpu_system_ns),
    ("rss_bytes", |row| row.rss_bytes),
    ("net_received_bytes", |row| row.net_received_bytes),
    ("net_sent_bytes", |row| row.net_sent_bytes),
    ("disk_read_bytes", |row| row.disk_read_bytes),
    ("disk_written_bytes", |row| row.disk_written_bytes),
];

/// Writes one rank's counters into a trace folder.
///
/// # Errors
/// [`Error::Table`].
pub fn write_counters(folder: &Path, rank: u32, rows: &[CounterRow]) -> Result<(), Error> {
    let path = folder.join(counters_name(rank));
    let failed = |source: ParquetError| Error::Table { path: path.clone(), source: Box::new(source) };
    let mut table = Table::create(&path, &counter_columns()).map_err(failed)?;
    table.counters(rows).map_err(failed)?;
    table.finish().map_err(failed)
}

fn counter_columns() -> [(&'static str, Cell); 9] {
    COUNTER_COLUMNS.map(|(name, _)| (name, Cell::Int64))
}

/// Joins the counters of the first `world` ranks into one table, removes the tables of the ranks and returns the number of tables
/// found. If any is missing, because it lies in the folder of another host, nothing is changed.
///
/// # Errors
/// [`Error::Table`].
pub fn join_counters(folder: &Path, world: u32) -> Result<u32, Error> {
    let parts: Vec<PathBuf> = (0..world).map(|rank| folder.join(counters_name(rank))).collect();
    let found = parts.iter().filter(|part| part.is_file()).count();
    if found < parts.len() || parts.is_empty() {
        return Ok(u32::try_from(found).unwrap_or(u32::MAX));
    }
    let path = folder.join(COUNTERS);
    join(&path, &parts)?;
    for part in &parts {
        fs::remove_file(part).map_err(|source| Error::Table { path: part.clone(), source: Box::new(source) })?;
    }
    Ok(world)
}

fn join(path: &Path, parts: &[PathBuf]) -> Result<(), Error> {
    let failed = |source: ParquetError| Error::Table { path: path.to_owned(), source: Box::new(source) };
    let mut table = Table::create(path, &counter_columns()).map_err(failed)?;
    let mut rows = Vec::new();
    for part in parts {
        rows.clear();
        read_into(part, &mut rows)?;
        table.counters(&rows).map_err(failed)?;
    }
    table.finish().map_err(failed)
}

/// Returns the side tables of a folder, joined or not, sorted by name.
///
/// # Errors
/// [`Error::Read`].
pub fn list_dir(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    files_named(folder, |name| name == FILES || holds_counters(name))
}

fn holds_counters(name: &str) -> bool {
    name == COUNTERS || (name.starts_with("counters-") && name.ends_with(".parquet"))
}

/// Reads the counters of a trace folder, joined or not. Returns no rows if there are none.
///
/// # Errors
/// [`Error::Read`] or [`Error::Table`].
pub fn read_counters(folder: &Path) -> Result<Vec<CounterRow>, Error> {
    let mut rows = Vec::new();
    for path in files_named(folder, holds_counters)? {
        read_into(&path, &mut rows)?;
    }
    rows.sort_unstable_by_key(|row| (row.rank, row.t_ns));
    Ok(rows)
}

/// Appends the rows of a table of counters to `rows`.
fn read_into(path: &Path, rows: &mut Vec<CounterRow>) -> Result<(), Error> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Table { path: path.to_owned(), source };
    let file = regular_file::open(path).map_err(|error| failed(reason(error)))?;
    let found = footer::find(path, &file).map_err(|error| failed(reason(error)))?;
    if found.torn_bytes > 0 {
        return Err(failed(format!("{} bytes lie behind its footer", found.torn_bytes).into()));
    }
    let damage = Damage::default();
    let contents = Arc::new(FileContents::new(found));
    let chunks = VerifiedChunks::new(file, &contents, None, &damage).map_err(|error| failed(error.into()))?;
    let read = decoded(path, &damage, || take_rows(chunks, &contents, rows).map_err(|error| error.to_string()));
    read.map_err(|error| failed(reason(error)))
}

/// Returns the cause of an error without the name of the table.
fn reason(error: Error) -> Box<dyn std::error::Error + Send + Sync> {
    match error {
        Error::Damaged { reason, .. } | Error::NotATrace { reason, .. } => reason.into(),
        Error::Read { source, .. } => source.into(),
        other => other.into(),
    }
}

fn take_rows(chunks: VerifiedChunks, contents: &FileContents, rows: &mut Vec<CounterRow>) -> Result<(), ParquetError> {
    let metadata = ArrowReaderMetadata::try_new(Arc::clone(&contents.metadata), ArrowReaderOptions::new())?;
    for batch in ParquetRecordBatchReaderBuilder::new_with_metadata(chunks, metadata).build()? {
        let batch = batch?;
        let column = |name: &str| {
            let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>());
            column.ok_or_else(|| ParquetError::General(format!("it has no column {name} of 64-bit integers")))
        };
        let columns = COUNTER_COLUMNS.iter().map(|(name, _)| column(name)).collect::<Result<Vec<_>, ParquetError>>()?;
        for row in 0..batch.num_rows() {
            let value = |at: usize| if columns[at].is_null(row) { 0 } else { columns[at].value(row) };
            rows.push(CounterRow {
                rank: value(0),
                t_ns: value(1),
                cpu_user_ns: value(2),
                cpu_system_ns: value(3),
                rss_bytes: value(4),
                net_received_bytes: value(5),
                net_sent_bytes: value(6),
                disk_read_bytes: value(7),
                disk_written_bytes: value(8),
            });
        }
    }
    Ok(())
}

/// A table that is written under a temporary name.
struct Table {
    file: ReplacementFile,
    encoder: TableEncoder,
    /// Bytes to be written next. Its count is the size of the file.
    buffer: TrackedWrite<Vec<u8>>,
    groups: Vec<EncodedGroup>,
}

impl Table {
    fn create(path: &Path, columns: &[(&str, Cell)]) -> Result<Self, ParquetError> {
        let file = ReplacementFile::create(path, ".tmp")?;
        let mut buffer = TrackedWrite::new(Vec::new());
        buffer.write_all(MAGIC)?;
        let encoder = TableEncoder::new(columns)?;
        Ok(Self { file, encoder, buffer, groups: Vec::new() })
    }

    /// Appends a row group if there are rows.
    fn write(&mut self, rows: usize, columns: &[Cells<'_>]) -> Result<(), ParquetError> {
        if rows > 0 {
            self.groups.push(self.encoder.row_group(&mut self.buffer, self.groups.len(), rows, columns)?);
        }
        self.commit()
    }

    fn counters(&mut self, rows: &[CounterRow]) -> Result<(), ParquetError> {
        for group in rows.chunks(GROUP_ROWS) {
            let column =
                |value: fn(&CounterRow) -> i64| Cells::Numbers(group.iter().map(|row| Some(value(row))).collect());
            self.write(group.len(), &COUNTER_COLUMNS.map(|(_, value)| column(value)))?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), ParquetError> {
        let pairs = vec![header::table_version()];
        let footer = footer::encode(self.encoder.schema(), std::mem::take(&mut self.groups), pairs)?;
        self.buffer.write_all(&footer)?;
        self.commit()?;
        Ok(self.file.publish()?)
    }

    fn commit(&mut self) -> Result<(), ParquetError> {
        self.buffer.flush()?;
        let bytes = self.buffer.inner_mut();
        self.file.file.write_all(bytes)?;
        bytes.clear();
        Ok(())
    }
}
