//! Reading of traces: one file per rank, rows in batches.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema};
use dlio_event::Ending;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Encoding;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::{Statistics, ValueStatistics};

use crate::damage::{Damage, decoded};
use crate::error::Error;
use crate::folder::list_dir;
use crate::footer;
use crate::header::{self, Drift, Header};
use crate::name_column::NameColumn;
use crate::record_columns::RecordColumns;
use crate::regular_file;
use crate::rows::{Rows, Selection};
use crate::verified_chunks::{FileContents, VerifiedChunks};

/// Rows in a batch: enough for speed, few enough for the processor's cache.
const BATCH_ROWS: usize = 16 * 1024;

/// Rows in a piece of a row group: values derived from them stay in the core's own cache.
const PIECE_ROWS: usize = 4 * 1024;

/// The trace of one rank: its header and access to its rows.
#[derive(Debug, Clone)]
pub struct RankTrace {
    /// Trace file.
    pub path: PathBuf,
    /// Rank, run and clocks.
    pub header: Header,
    /// Number of rows that can be read.
    pub rows: u64,
    /// Whether this rank did everything that was planned. If not, it ended early, or the events after the last footer are
    /// missing. Traces up to format 1.1 are complete whenever the run wrote a last footer.
    pub complete: bool,
    /// How this rank ended. If `complete` is set, `None` means that the file is an import or has an earlier format. Otherwise
    /// `None` means that the trace stops, because the process was killed or is still running.
    pub ending: Option<Ending>,
    /// Bytes after the last complete footer, which were being written when the process ended.
    pub torn_bytes: u64,
    contents: Arc<FileContents>,
    /// Counter of the rows that have been read.
    read: Arc<AtomicU64>,
}

/// Reads the footer of one trace file. A torn file is read up to its last complete footer.
///
/// # Errors
/// [`Error::Read`], [`Error::NotATrace`], [`Error::TooNew`] or [`Error::Damaged`].
pub fn read_file(path: &Path) -> Result<RankTrace, Error> {
    let file = regular_file::open(path)?;
    let found = footer::find(path, &file)?;
    let pairs = found.metadata.file_metadata().key_value_metadata();
    let pairs = pairs.map_or(&[][..], Vec::as_slice);
    let (header, state) = Header::from_key_values(path, pairs)?;
    let ending = header::ending_of(path, pairs)?.filter(|_| found.torn_bytes == 0);
    let rows = found.metadata.row_groups().iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(0)).sum();
    if rows != state.rows_written {
        return Err(Error::Damaged {
            path: path.to_owned(),
            reason: format!("its row groups hold {rows} rows, and its footer says {}", state.rows_written),
        });
    }
    Ok(RankTrace {
        path: path.to_owned(),
        header,
        rows,
        complete: state.complete && found.torn_bytes == 0,
        ending,
        torn_bytes: found.torn_bytes,
        contents: Arc::new(FileContents::new(found)),
        read: Arc::default(),
    })
}

/// Reads the footers of all traces in a folder, or of the single file at `path`, sorted by rank.
///
/// # Errors
/// As [`read_file`], and [`Error::NoTraces`].
pub fn read_dir(path: &Path) -> Result<Vec<RankTrace>, Error> {
    let read_error = |source| Error::Read { path: path.to_owned(), source };
    if !std::fs::metadata(path).map_err(read_error)?.is_dir() {
        return Ok(vec![read_file(path)?]);
    }
    let files = list_dir(path)?;
    if files.is_empty() {
        return Err(Error::NoTraces { path: path.to_owned() });
    }
    let mut traces = files.iter().map(|file| read_file(file)).collect::<Result<Vec<_>, _>>()?;
    traces.sort_by_key(|trace| trace.header.rank);
    Ok(traces)
}

impl RankTrace {
    /// Returns the first start and the last end of all events on rank 0's clock in nanoseconds, from the statistics in the
    /// footer; `None` without events.
    #[must_use]
    pub fn time_range(&self) -> Option<(i64, i64)> {
        let of = |name: &str, pick: fn(&ValueStatistics<i64>) -> Option<&i64>| {
            let columns = self.contents.metadata.row_groups().iter().flat_map(RowGroupMetaData::columns);
            let statistics = columns.filter(|column| column.column_descr().name() == name);
            let values = statistics.filter_map(|column| match column.statistics() {
                Some(Statistics::Int64(values)) => pick(values).copied(),
                _ => None,
            });
            values.collect::<Vec<i64>>()
        };
        let start = of("t_start_ns", ValueStatistics::min_opt).into_iter().min()?;
        let end = of("t_end_ns", ValueStatistics::max_opt).into_iter().max()?;
        Some((start, end.max(start)))
    }

    /// Adds the number of rows that are read from now on to `rows`.
    pub fn count_rows_in(&mut self, rows: &Arc<AtomicU64>) {
        self.read = Arc::clone(rows);
    }

    /// Returns the number of row groups.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.contents.metadata.num_row_groups()
    }

    /// Returns the number of rows in a row group.
    #[must_use]
    pub fn rows_of(&self, group: usize) -> usize {
        let rows = self.contents.metadata.row_groups().get(group).map_or(0, RowGroupMetaData::num_rows);
        usize::try_from(rows).unwrap_or(0)
    }

    /// Returns the earliest end of a row in the group on rank 0's clock, nanoseconds; `None` if the footer lacks it.
    #[must_use]
    pub fn first_end(&self, group: usize) -> Option<i64> {
        self.first_of(group, "t_end_ns")
    }

    /// Returns the earliest start of a row in the group on rank 0's clock, nanoseconds; `None` if the footer lacks it.
    #[must_use]
    pub fn first_start(&self, group: usize) -> Option<i64> {
        self.first_of(group, "t_start_ns")
    }

    fn first_of(&self, group: usize, name: &str) -> Option<i64> {
        let columns = self.contents.metadata.row_groups().get(group)?.columns();
        let column = columns.iter().find(|column| column.column_descr().name() == name)?;
        let Some(Statistics::Int64(values)) = column.statistics() else { return None };
        let stored = values.min_opt().copied()?;
        Some(self.header.drift().map_or(stored, |drift| stored.saturating_add(drift.at(stored))))
    }

    /// Reads the rows of one row group with the columns that an analysis needs.
    ///
    /// # Errors
    /// As [`RankTrace::batches`].
    pub fn rows(&self, group: usize) -> Result<RowReader, Error> {
        self.reader(Wanted { columns: Selection::Analysis, group: Some(group), row: None }, PIECE_ROWS)
    }

    /// Reads the object name of one row in a row group; `None` if there is no such row or it has no name.
    ///
    /// # Errors
    /// As [`RankTrace::batches`].
    pub fn object_name(&self, group: usize, row: usize) -> Result<Option<String>, Error> {
        let mut reader =
            self.reader(Wanted { columns: Selection::ObjectNames, group: Some(group), row: Some(row) }, 1)?;
        let mut names = NameColumn::none(0);
        let found = reader.next_record(|record, _| RecordColumns { record }.names("uri", &mut names, false))?;
        Ok(found.and_then(|()| names.get(0).map(str::to_owned)))
    }

    /// Reads all rows with all columns.
    ///
    /// # Errors
    /// [`Error::Read`] or [`Error::Damaged`].
    pub fn batches(&self) -> Result<RowReader, Error> {
        self.select(Selection::All)
    }

    /// Reads all rows without object names, which is faster and enough for times and bytes.
    ///
    /// # Errors
    /// As [`RankTrace::batches`].
    pub fn batches_without_names(&self) -> Result<RowReader, Error> {
        self.select(Selection::WithoutNames)
    }

    fn select(&self, selection: Selection) -> Result<RowReader, Error> {
        self.reader(Wanted { columns: selection, group: None, row: None }, BATCH_ROWS)
    }

    fn reader(&self, wanted: Wanted, rows: usize) -> Result<RowReader, Error> {
        let read_error = |source| Error::Read { path: self.path.clone(), source };
        let damage = Damage::default();
        let file = regular_file::open(&self.path)?;
        let chunks = VerifiedChunks::new(file, &self.contents, wanted.group, &damage).map_err(read_error)?;
        let reader = decoded(&self.path, &damage, || {
            open(chunks, &self.contents.metadata, wanted, rows).map_err(|error| error.to_string())
        })?;
        Ok(RowReader {
            path: self.path.clone(),
            reader,
            damage,
            selection: wanted.columns,
            drift: self.header.drift(),
            read: Arc::clone(&self.read),
        })
    }
}

/// Selection of columns, row groups and rows.
#[derive(Clone, Copy)]
struct Wanted {
    columns: Selection,
    /// One row group; `None` for all.
    group: Option<usize>,
    /// One row of the row group; `None` for all.
    row: Option<usize>,
}

fn open(
    chunks: VerifiedChunks,
    metadata: &Arc<ParquetMetaData>,
    wanted: Wanted,
    rows: usize,
) -> Result<ParquetRecordBatchReader, ParquetError> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let inferred = ArrowReaderMetadata::try_new(Arc::clone(metadata), options.clone())?;
    let group = wanted.group.and_then(|group| metadata.row_groups().get(group));
    let fields: Vec<Field> = inferred.schema().fields().iter().map(|field| with_dictionary(field, group)).collect();
    let options = options.with_schema(Arc::new(Schema::new(fields)));
    let metadata = ArrowReaderMetadata::try_new(Arc::clone(metadata), options)?;
    let columns = metadata.parquet_schema().columns().iter().map(|column| column.name());
    let mask = ProjectionMask::columns(metadata.parquet_schema(), columns.filter(|name| wanted.columns.has(name)));
    let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(chunks, metadata)
        .with_projection(mask)
        .with_batch_size(rows);
    if let Some(group) = wanted.group {
        builder = builder.with_row_groups(vec![group]);
    }
    if let Some(row) = wanted.row {
        builder = builder.with_offset(row).with_limit(1);
    }
    builder.build()
}

/// Reads text as keys and a dictionary, so that no string is made per row. Object names that the row group stores without a
/// dictionary, because they differ from row to row, stay strings.
fn with_dictionary(field: &Field, group: Option<&RowGroupMetaData>) -> Field {
    let names = || group?.columns().iter().find(|column| column.column_descr().name() == "uri");
    let dictionary = |column: &ColumnChunkMetaData| {
        column.encodings().any(|encoding| matches!(encoding, Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY))
    };
    match field.data_type() {
        DataType::Utf8 if field.name() == "uri" && names().is_some_and(|column| !dictionary(column)) => field.clone(),
        DataType::Utf8 => {
            let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
            field.clone().with_data_type(dictionary)
        }
        _ => field.clone(),
    }
}

/// Reads the rows of one row group or of a whole trace in batches.
#[derive(Debug)]
pub struct RowReader {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
    damage: Damage,
    selection: Selection,
    drift: Option<Drift>,
    /// Counter of the rows that have been read.
    read: Arc<AtomicU64>,
}

impl RowReader {
    /// Replaces `rows` with the next batch. Returns false when there are no more rows.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn read(&mut self, rows: &mut Rows) -> Result<bool, Error> {
        let selection = self.selection;
        let found = self.next_record(|record, drift| rows.fill(record, selection, drift))?;
        if found.is_some() {
            self.read.fetch_add(rows.len() as u64, Ordering::Relaxed);
        }
        Ok(found.is_some())
    }

    /// Decodes the next record batch and converts it.
    fn next_record<T>(
        &mut self,
        convert: impl FnOnce(&RecordBatch, Option<Drift>) -> Result<T, String>,
    ) -> Result<Option<T>, Error> {
        let (reader, drift) = (&mut self.reader, self.drift);
        decoded(&self.path, &self.damage, || {
            let record = reader.next().transpose().map_err(|error| error.to_string())?;
            record.map(|record| convert(&record, drift)).transpose()
        })
    }
}

impl Iterator for RowReader {
    type Item = Result<Rows, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut rows = Rows::empty();
        match self.read(&mut rows) {
            Ok(false) => None,
            Ok(true) => Some(Ok(rows)),
            Err(error) => Some(Err(error)),
        }
    }
}
