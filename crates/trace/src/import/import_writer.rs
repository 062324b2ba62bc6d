//! Writer of imported traces: a thread of its own encodes and writes row groups.
//!
//! Invariant: no file has its final name before all files are complete. Until then they are named `rank-00000.parquet.tmp`, and
//! they are removed if the import ends early.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use dlio_event::Event;
use parquet::errors::ParquetError;
use parquet::file::writer::TrackedWrite;
use parquet::schema::types::SchemaDescPtr;

use crate::columns::RankContext;
use crate::encoder::{Encoder, Workspace};
use crate::error::Error;
use crate::folder::file_name;
use crate::footer::{self, MAGIC};
use crate::header::{Header, State};
use crate::names::NameTables;
use crate::packed_events::PackedEvents;
use crate::row_group::EncodedGroup;

/// Number of events in a full row group.
pub(super) const GROUP_ROWS: usize = 64 * 1024;
/// Number of row groups in the queue of the thread.
const QUEUE: usize = 1;
/// Maximum number of encoders in memory; each holds the encoded columns whose rows are equal.
const ENCODERS: usize = 256;

/// Events of one rank that form a row group.
pub(super) struct RowGroup {
    pub(super) rank: u32,
    pub(super) events: Vec<PackedEvents>,
    pub(super) names: Arc<NameTables>,
}

/// Handle of the writer thread.
pub(super) struct ImportWriter {
    folder: PathBuf,
    row_groups: Option<SyncSender<RowGroup>>,
    spare: Receiver<PackedEvents>,
    thread: Option<JoinHandle<Result<Files, Error>>>,
}

impl ImportWriter {
    /// Creates the folder, checks that files can be created in it, and starts the thread.
    pub(super) fn start(folder: &Path) -> Result<Self, Error> {
        let files = Files::prepare(folder)?;
        let (row_groups, incoming) = sync_channel(QUEUE);
        let (emptied, spare) = channel();
        let thread = std::thread::Builder::new()
            .name("trace-import".to_owned())
            .spawn(move || run(files, &incoming, &emptied))
            .map_err(|source| Error::Thread { path: folder.to_owned(), source })?;
        Ok(Self { folder: folder.to_owned(), row_groups: Some(row_groups), spare, thread: Some(thread) })
    }

    /// Returns an empty event buffer, reused if possible.
    pub(super) fn spare(&self) -> PackedEvents {
        self.spare.try_recv().unwrap_or_else(|_| PackedEvents::with_room())
    }

    /// Queues a row group; waits while the queue is full.
    pub(super) fn write(&mut self, row_group: RowGroup) -> Result<(), Error> {
        let sent = self.row_groups.as_ref().is_some_and(|row_groups| row_groups.send(row_group).is_ok());
        // The thread ends early only with an error.
        if sent { Ok(()) } else { self.end().map(drop) }
    }

    /// Writes the footers. The files keep their temporary names.
    pub(super) fn finish(mut self, header: impl Fn(u32) -> Header) -> Result<Files, Error> {
        let mut files = self.end()?;
        files.footers(header)?;
        Ok(files)
    }

    fn end(&mut self) -> Result<Files, Error> {
        self.row_groups = None;
        let ended = self.thread.take().and_then(|thread| thread.join().ok());
        ended.unwrap_or_else(|| {
            let source = std::io::Error::other("the writing thread ended early");
            Err(Error::ImportTarget { folder: self.folder.clone(), source })
        })
    }
}

/// An import that ends early leaves nothing, because dropping the files removes them.
impl Drop for ImportWriter {
    fn drop(&mut self) {
        if self.thread.is_some() {
            drop(self.end());
        }
    }
}

fn run(mut files: Files, row_groups: &Receiver<RowGroup>, emptied: &Sender<PackedEvents>) -> Result<Files, Error> {
    let mut events = Vec::new();
    for RowGroup { rank, events: packed, names } in row_groups {
        events.clear();
        events.reserve_exact(packed.iter().map(|buffer| usize::try_from(buffer.len()).unwrap_or(0)).sum());
        for mut buffer in packed {
            events.extend(buffer.iter());
            buffer.clear();
            // At the end of the import nobody receives the buffer.
            let _ = emptied.send(buffer);
        }
        files.write(rank, &events, &names)?;
    }
    Ok(files)
}

/// All files of the import under their temporary names.
pub(super) struct Files {
    folder: PathBuf,
    /// Whether the import created the folder.
    made: bool,
    by_rank: BTreeMap<u32, RankFile>,
    encoders: BTreeMap<u32, Encoding>,
    workspace: Workspace,
    /// Files that have their final names while others do not yet.
    published: Vec<PathBuf>,
}

/// The encoder of one rank and the name tables to which its cached columns refer.
struct Encoding {
    encoder: Encoder,
    names: Arc<NameTables>,
}

struct RankFile {
    temporary: PathBuf,
    schema: SchemaDescPtr,
    /// Bytes to be written next. Its count is the size of the file.
    buffer: TrackedWrite<Vec<u8>>,
    groups: Vec<EncodedGroup>,
    rows: u64,
}

impl Files {
    fn prepare(folder: &Path) -> Result<Self, Error> {
        let made = !folder.exists();
        let failed = |source| Error::ImportTarget { folder: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let files = Self {
            folder: folder.to_owned(),
            made,
            by_rank: BTreeMap::new(),
            encoders: BTreeMap::new(),
            workspace: Workspace::new().map_err(io_error).map_err(failed)?,
            published: Vec::new(),
        };
        let probe = folder.join(format!("{}.tmp", file_name(0)));
        File::create(&probe).and_then(|_| std::fs::remove_file(&probe)).map_err(failed)?;
        Ok(files)
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::ImportTarget { folder: self.folder.clone(), source }
    }

    fn write(&mut self, rank: u32, events: &[Event], names: &Arc<NameTables>) -> Result<(), Error> {
        self.group(rank, events, names).map_err(|source| self.failed(source))
    }

    fn group(&mut self, rank: u32, events: &[Event], names: &Arc<NameTables>) -> std::io::Result<()> {
        // With new name tables the numbers in the cached columns have other meanings.
        let known = self.encoders.get(&rank).is_some_and(|known| Arc::ptr_eq(&known.names, names));
        if !known && self.encoders.len() >= ENCODERS {
            self.encoders.clear();
        }
        if !known {
            let encoder = Encoder::new(RankContext { rank, offset_to_rank0_ns: 0 }).map_err(io_error)?;
            self.encoders.insert(rank, Encoding { encoder, names: Arc::clone(names) });
        }
        let Some(Encoding { encoder, names }) = self.encoders.get_mut(&rank) else { return Ok(()) };
        if !self.by_rank.contains_key(&rank) {
            let temporary = self.folder.join(format!("{}.tmp", file_name(rank)));
            self.by_rank.insert(rank, RankFile::create(temporary, encoder.schema())?);
        }
        let Some(file) = self.by_rank.get_mut(&rank) else { return Ok(()) };
        file.group((encoder, &mut self.workspace), events, names)
    }

    /// Writes the footers of all files.
    fn footers(&mut self, header: impl Fn(u32) -> Header) -> Result<(), Error> {
        for (rank, mut file) in std::mem::take(&mut self.by_rank) {
            let ended = file.footer(&header(rank));
            self.by_rank.insert(rank, file);
            ended.map_err(|source| self.failed(source))?;
        }
        Ok(())
    }

    /// Gives all files their final names.
    pub(super) fn publish(mut self) -> Result<(), Error> {
        for (rank, file) in &self.by_rank {
            let name = self.folder.join(file_name(*rank));
            std::fs::rename(&file.temporary, &name).map_err(|source| self.failed(source))?;
            self.published.push(name);
        }
        self.by_rank.clear();
        self.published.clear();
        self.made = false;
        Ok(())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // A file that cannot be removed has a name that no reader looks for.
        let temporary = self.by_rank.values().map(|file| &file.temporary);
        for path in temporary.chain(&self.published) {
            let _ = std::fs::remove_file(path);
        }
        if self.made {
            let _ = std::fs::remove_dir(&self.folder);
        }
    }
}

impl RankFile {
    fn create(temporary: PathBuf, schema: SchemaDescPtr) -> std::io::Result<Self> {
        File::create(&temporary)?;
        let mut buffer = TrackedWrite::new(Vec::new());
        buffer.write_all(MAGIC)?;
        Ok(Self { temporary, schema, buffer, groups: Vec::new(), rows: 0 })
    }

    fn group(
        &mut self,
        (encoder, workspace): (&mut Encoder, &mut Workspace),
        events: &[Event],
        names: &NameTables,
    ) -> std::io::Result<()> {
        let place = (workspace, &mut self.buffer);
        let group = encoder.row_group(place, self.groups.len(), events, names).map_err(io_error)?;
        self.groups.push(group);
        self.rows += events.len() as u64;
        self.commit()
    }

    fn footer(&mut self, header: &Header) -> std::io::Result<()> {
        let mut pairs = header.to_key_values();
        pairs.push(State { rows_written: self.rows, complete: true }.to_key_value());
        let bytes =
            footer::encode(Arc::clone(&self.schema), std::mem::take(&mut self.groups), pairs).map_err(io_error)?;
        self.buffer.write_all(&bytes)?;
        self.commit()
    }

    /// Appends the buffered bytes. The file is open only during this call, because there may be more ranks than file descriptors.
    fn commit(&mut self) -> std::io::Result<()> {
        self.buffer.flush()?;
        let bytes = std::mem::take(self.buffer.inner_mut());
        OpenOptions::new().append(true).open(&self.temporary)?.write_all(&bytes)
    }
}

/// Converts an encoding error. Encoding writes to memory, so such an error is a defect, and it must still be reported.
fn io_error(error: ParquetError) -> std::io::Error {
    std::io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use dlio_event::{Lane, OpKind, Position};

    use super::*;

    fn packed(event: &Event, times: usize) -> Vec<PackedEvents> {
        let mut packed = PackedEvents::with_room();
        (0..times).for_each(|_| packed.push(event));
        vec![packed]
    }

    #[test]
    fn a_number_with_another_meaning_in_new_name_tables_is_written_with_that_meaning() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = ImportWriter::start(folder.path()).unwrap();
        for name in ["first", "second"] {
            let names = Arc::new(NameTables::new());
            let object = names.objects.intern("object");
            let endpoint = dlio_event::EndpointId(names.endpoints.intern(name));
            let event = Event::span(OpKind::Get, Lane(0), Position::default(), 1, 2);
            let events = packed(&Event { object, endpoint, ..event }, 100);
            writer.write(RowGroup { rank: 3, events, names }).unwrap();
        }
        writer.finish(|rank| Header { rank, world: 4, ..Header::default() }).unwrap().publish().unwrap();
        let trace = crate::read_file(&folder.path().join(file_name(3))).unwrap();
        let mut found = Vec::new();
        for batch in trace.batches().unwrap() {
            let batch = batch.unwrap();
            found.extend(batch.views().map(|row| row.endpoint().unwrap_or_default().to_owned()));
        }
        assert_eq!(found.iter().filter(|name| *name == "first").count(), 100);
        assert_eq!(found.iter().filter(|name| *name == "second").count(), 100);
    }

    #[test]
    fn an_import_writer_that_is_dropped_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let mut writer = ImportWriter::start(&out).unwrap();
        let event = Event::span(OpKind::Compute, Lane::MAIN, Position::default(), 1, 2);
        writer.write(RowGroup { rank: 0, events: packed(&event, 1), names: Arc::new(NameTables::new()) }).unwrap();
        drop(writer);
        assert!(!out.exists());
    }
}
