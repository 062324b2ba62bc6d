//! The growing trace file of one rank: it assigns events to row groups, decides when a footer is due and counts dead bytes.
//!
//! After every flush the file ends with a complete footer, written together with its row group in one `write`. The small row
//! groups of a slow run are merged: events stay in memory until they fill a row group, and after [`MAX_SMALL`] flushes they are
//! written again as one group. Invariant: the row groups in the footer hold every flushed event exactly once.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use dlio_event::{Ending, Event};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::writer::TrackedWrite;

use crate::columns::RankContext;
use crate::encoder::{Encoder, Workspace};
use crate::footer::{self, MAGIC};
use crate::header::{Header, State, ending_pair};
use crate::names::NameTables;
use crate::row_group::EncodedGroup;

/// Number of events in a full row group.
pub(crate) const GROUP_ROWS: usize = 128 * 1024;
/// Number of small row groups at which they are merged.
const MAX_SMALL: usize = 16;
/// Dead bytes (superseded footers and merged row groups) that are always allowed. Above this limit they may not exceed the live
/// bytes; until they do not, full row groups are written without a footer.
const DEAD_ALLOWANCE: u64 = 64 << 20;

/// Size and contents of a finished trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Trace file.
    pub path: PathBuf,
    /// Number of events.
    pub rows: u64,
    /// Size of the file, bytes.
    pub file_bytes: u64,
    /// Part of `file_bytes` in superseded footers and row groups, bytes.
    pub dead_bytes: u64,
    /// Number of row groups.
    pub row_groups: usize,
    /// Peak memory in the writer thread's queue, bytes.
    pub queued_bytes_max: u64,
}

/// A trace file that grows.
pub(crate) struct TraceFile {
    path: PathBuf,
    file: File,
    encoder: Encoder,
    workspace: Workspace,
    pairs: Vec<KeyValue>,
    buffer: TrackedWrite<Vec<u8>>,
    /// Full row groups.
    full: Vec<EncodedGroup>,
    /// Row groups that hold `pending[..covered]`.
    small: Vec<EncodedGroup>,
    pending: Vec<Event>,
    covered: usize,
    /// Number of events passed to [`TraceFile::append`].
    taken: u64,
    rows_full: u64,
    rows_written: u64,
    live_bytes: u64,
    small_bytes: u64,
    dead_bytes: u64,
    footer_bytes: u64,
    /// Part of the file that the last footer on disk covers.
    safe: Safe,
}

/// The prefix of the file that ends with its last footer.
#[derive(Default)]
struct Safe {
    bytes: u64,
    groups: Vec<EncodedGroup>,
}

impl TraceFile {
    /// Creates the file with an empty footer, so that a run that dies at once leaves a readable trace.
    pub(crate) fn create(path: &Path, header: &Header) -> std::io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        let place = RankContext { rank: header.rank, offset_to_rank0_ns: header.clock.offset_to_rank0_ns };
        let mut this = Self {
            path: path.to_owned(),
            file,
            encoder: Encoder::new(place).map_err(io_error)?,
            workspace: Workspace::new().map_err(io_error)?,
            pairs: header.to_key_values(),
            buffer: TrackedWrite::new(Vec::new()),
            full: Vec::new(),
            small: Vec::new(),
            pending: Vec::new(),
            covered: 0,
            taken: 0,
            rows_full: 0,
            rows_written: 0,
            live_bytes: 0,
            small_bytes: 0,
            dead_bytes: 0,
            footer_bytes: 0,
            safe: Safe::default(),
        };
        this.buffer.write_all(MAGIC)?;
        this.commit(true, None)?;
        Ok(this)
    }

    /// Returns the number of events that are only in memory.
    pub(crate) fn uncovered(&self) -> usize {
        self.pending.len() - self.covered
    }

    /// Returns the number of rows that the last footer on disk covers.
    pub(crate) fn rows_written(&self) -> u64 {
        self.rows_written
    }

    /// Returns the number of appended events that no footer on disk covers.
    pub(crate) fn unwritten(&self) -> u64 {
        self.taken.saturating_sub(self.rows_written)
    }

    /// Appends events; full row groups are written at once.
    pub(crate) fn append(&mut self, mut events: &[Event], names: &NameTables) -> std::io::Result<()> {
        self.taken += events.len() as u64;
        while !events.is_empty() {
            let (now, later) = events.split_at(events.len().min(GROUP_ROWS - self.pending.len()));
            self.pending.extend_from_slice(now);
            events = later;
            if self.pending.len() == GROUP_ROWS {
                self.merge(names)?;
                let affordable = self.dead_bytes + self.footer_bytes <= self.live_bytes + DEAD_ALLOWANCE;
                self.commit(affordable, None)?;
            }
        }
        Ok(())
    }

    /// Writes the events in memory and a footer. The last footer states how the rank ended.
    pub(crate) fn flush(&mut self, names: &NameTables, ending: Option<&Ending>) -> std::io::Result<()> {
        if ending.is_some() || self.small.len() >= MAX_SMALL {
            if self.uncovered() > 0 || self.small.len() > 1 {
                self.merge(names)?;
            }
        } else if self.uncovered() > 0 {
            let group = self.encode(self.covered, names)?;
            self.small_bytes += bytes_of(&group);
            self.small.push(group);
            self.covered = self.pending.len();
        }
        self.commit(true, ending)
    }

    /// Repairs the file after a failed write: cuts off the bytes after the last complete footer, which also frees their space,
    /// and writes a footer that states how the rank ended.
    pub(crate) fn seal(&mut self, ending: &Ending) -> std::io::Result<()> {
        self.file.set_len(self.safe.bytes)?;
        self.file.seek(SeekFrom::Start(self.safe.bytes))?;
        self.buffer = TrackedWrite::new(Vec::new());
        let bytes = self.footer(self.safe.groups.clone(), self.rows_written, Some(ending))?;
        let written = self.file.write_all(&bytes);
        if written.is_err() {
            // A file that ends with its last complete footer is better than one that ends with half a footer.
            self.file.set_len(self.safe.bytes)?;
        }
        written
    }

    fn footer(&self, groups: Vec<EncodedGroup>, rows: u64, ending: Option<&Ending>) -> std::io::Result<Vec<u8>> {
        let mut pairs = self.pairs.clone();
        let complete = ending.is_some_and(Ending::is_completed);
        pairs.push(State { rows_written: rows, complete }.to_key_value());
        pairs.extend(ending.map(ending_pair));
        footer::encode(self.encoder.schema(), groups, pairs).map_err(io_error)
    }

    /// Sets the header of all further footers.
    pub(crate) fn header_at_end(&mut self, header: &Header) {
        self.pairs = header.to_key_values();
    }

    pub(crate) fn summary(&self, queued_bytes_max: u64) -> Summary {
        Summary {
            path: self.path.clone(),
            rows: self.rows_written,
            file_bytes: self.buffer.bytes_written() as u64,
            dead_bytes: self.dead_bytes,
            row_groups: self.full.len() + self.small.len(),
            queued_bytes_max,
        }
    }

    /// Replaces the small row groups with one for all pending events; the small ones become dead bytes.
    fn merge(&mut self, names: &NameTables) -> std::io::Result<()> {
        let group = self.encode(0, names)?;
        self.dead_bytes += self.small_bytes;
        self.small.clear();
        if self.pending.len() == GROUP_ROWS {
            self.live_bytes += bytes_of(&group);
            self.small_bytes = 0;
            self.rows_full += GROUP_ROWS as u64;
            self.full.push(group);
            self.pending.clear();
            self.covered = 0;
        } else {
            self.small_bytes = bytes_of(&group);
            self.small.push(group);
            self.covered = self.pending.len();
        }
        Ok(())
    }

    fn encode(&mut self, from: usize, names: &NameTables) -> std::io::Result<EncodedGroup> {
        let ordinal = self.full.len() + self.small.len();
        let place = (&mut self.workspace, &mut self.buffer);
        self.encoder.row_group(place, ordinal, &self.pending[from..], names).map_err(io_error)
    }

    /// Writes the newly encoded bytes, and a footer if `with_footer` is set, in one system call.
    fn commit(&mut self, with_footer: bool, ending: Option<&Ending>) -> std::io::Result<()> {
        let rows = self.rows_full + self.covered as u64;
        let groups: Option<Vec<_>> = with_footer.then(|| self.full.iter().chain(&self.small).cloned().collect());
        if let Some(groups) = &groups {
            let bytes = self.footer(groups.clone(), rows, ending)?;
            self.dead_bytes += self.footer_bytes;
            self.footer_bytes = bytes.len() as u64;
            self.buffer.write_all(&bytes)?;
        }
        self.buffer.flush()?;
        let bytes = self.buffer.inner_mut();
        self.file.write_all(bytes)?;
        bytes.clear();
        if let Some(groups) = groups {
            self.rows_written = rows;
            self.safe = Safe { bytes: self.buffer.bytes_written() as u64, groups };
        }
        Ok(())
    }
}

fn bytes_of(group: &EncodedGroup) -> u64 {
    u64::try_from(group.metadata.compressed_size()).unwrap_or(0)
}

/// Converts an encoding error. Encoding writes to memory, so such an error is a defect, and it must still be reported.
fn io_error(error: ParquetError) -> std::io::Error {
    std::io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use dlio_event::{Lane, ObjectId, OpKind, Position};

    use super::*;

    fn span(i: u64) -> Event {
        Event::span(OpKind::Compute, Lane::MAIN, Position::default(), i, i + 1)
    }

    fn names() -> NameTables {
        NameTables::new()
    }

    #[test]
    fn many_small_flushes_leave_few_row_groups_and_bounded_waste() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.parquet");
        let names = names();
        let mut file = TraceFile::create(&path, &Header::default()).unwrap();
        for i in 0..1_000 {
            file.append(&[span(i)], &names).unwrap();
            file.flush(&names, None).unwrap();
            assert!(file.full.len() + file.small.len() <= MAX_SMALL + 1);
            assert_eq!(file.rows_written(), i + 1);
        }
        let waste = file.summary(0).dead_bytes / 1_000;
        assert!(waste < 64 << 10, "{waste} dead bytes per flush");
        file.flush(&names, Some(&Ending::Completed)).unwrap();
        let trace = crate::read_file(&path).unwrap();
        assert_eq!((trace.rows, trace.complete, file.summary(0).row_groups), (1_000, true, 1));
        assert_eq!(std::fs::metadata(&path).unwrap().len(), file.summary(0).file_bytes);
    }

    #[test]
    fn constant_columns_are_read_back_from_every_row_group() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.parquet");
        let names = names();
        let uri = [names.objects.intern("a"), ObjectId::NONE, names.objects.intern("b")];
        let group = |at: usize| {
            // Constant, absent, constant and mixed values; the values change between row groups and return.
            let (epoch, kind) = ([1, 1, 2, 0, 1][at], [OpKind::Read, OpKind::Compute][at / 3]);
            (0..100_u64).map(move |i| {
                let mixed = at == 3 && i % 2 == 0;
                let position = Position { epoch, sample: (mixed || at == 4).then_some(7), ..Position::default() };
                let span = Event::span(kind, Lane(3), position, 1000 * at as u64 + i, 1000 * at as u64 + i + 5);
                Event { object: uri[[0, 0, 1, 2, 0][at]], requested: mixed.then_some(i), ..span }
            })
        };
        let mut file = TraceFile::create(&path, &Header::default()).unwrap();
        for at in 0..5 {
            file.append(&group(at).collect::<Vec<_>>(), &names).unwrap();
            file.flush(&names, None).unwrap();
        }
        assert_eq!(file.summary(0).row_groups, 5);
        let name = |object: ObjectId| {
            let mut text = Vec::new();
            names.objects.append(object, &mut text).then(|| String::from_utf8(text).unwrap())
        };
        let expected: Vec<_> = (0..5).flat_map(group).map(|event| (name(event.object), event)).collect();
        let mut read = Vec::new();
        for batch in crate::read_file(&path).unwrap().batches().unwrap() {
            let batch = batch.unwrap();
            read.extend(batch.views().map(|row| (row.object().map(str::to_owned), row.event())));
        }
        let plain =
            |(name, event): &(Option<String>, Event)| (name.clone(), Event { object: ObjectId::NONE, ..*event });
        assert_eq!(read.iter().map(plain).collect::<Vec<_>>(), expected.iter().map(plain).collect::<Vec<_>>());
    }

    #[test]
    fn rows_without_names_and_rows_of_many_names_and_sizes_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.parquet");
        let names = names();
        let number = |i: u64| (i * 7_919) % 23_456;
        let name = |i: u64| (!i.is_multiple_of(3)).then(|| format!("object-{}", number(i)));
        let events: Vec<Event> = (0..60_000)
            .map(|i| Event {
                object: name(i).map_or(ObjectId::NONE, |name| names.objects.intern(&name)),
                endpoint: dlio_event::EndpointId(names.endpoints.intern(["a", "b", "c"][(i / 50 % 3) as usize])),
                offset: number(i) << 40,
                requested: (i % 5 == 0).then_some(number(i)),
                bytes: i,
                first_byte: (i % 2 == 0).then_some(i * i),
                ..span(i)
            })
            .collect();
        let mut file = TraceFile::create(&path, &Header::default()).unwrap();
        file.append(&events, &names).unwrap();
        file.flush(&names, Some(&Ending::Completed)).unwrap();
        let mut read = 0;
        for batch in crate::read_file(&path).unwrap().batches().unwrap() {
            let batch = batch.unwrap();
            for (row, i) in batch.views().zip(read..) {
                assert_eq!(row.object(), name(i).as_deref());
                assert_eq!(row.endpoint(), Some(["a", "b", "c"][(i / 50 % 3) as usize]));
                assert_eq!((row.offset(), row.bytes(), row.start()), (number(i) << 40, i, i.cast_signed()));
                assert_eq!(row.requested(), (i % 5 == 0).then_some(number(i)));
                assert_eq!(row.first_byte(), (i % 2 == 0).then_some((i * i).cast_signed()));
            }
            read += batch.len() as u64;
        }
        assert_eq!(read, 60_000);
    }

    #[test]
    fn names_that_nearly_all_differ_need_no_dictionary_and_are_found_by_their_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.parquet");
        let names = names();
        // One row without a name, two with the same name and eight with different names.
        let name = |i: u64| (!i.is_multiple_of(10)).then(|| format!("o{}", if i % 10 == 9 { i - 1 } else { i }));
        let object = |i| name(i).map_or(ObjectId::NONE, |name| names.objects.intern(&name));
        let events: Vec<Event> = (0..10_000).map(|i| Event { object: object(i), ..span(i) }).collect();
        let mut file = TraceFile::create(&path, &Header::default()).unwrap();
        for half in events.chunks(5_000) {
            file.append(half, &names).unwrap();
            file.flush(&names, None).unwrap();
        }
        let encodings: Vec<bool> =
            file.small.iter().map(|group| group.metadata.column(9).dictionary_page_offset().is_some()).collect();
        assert_eq!(encodings, [false, false]);
        let trace = crate::read_file(&path).unwrap();
        let mut at = 0;
        for group in 0..2 {
            let (mut reader, mut rows) = (trace.rows(group).unwrap(), crate::Rows::empty());
            while reader.read(&mut rows).unwrap() {
                for row in 0..rows.len() {
                    assert_eq!(rows.object.get(row), name(at).as_deref());
                    at += 1;
                }
            }
        }
        assert_eq!(at, 10_000);
        for i in [0, 1, 9, 4_999, 5_000, 5_009, 9_999] {
            assert_eq!(trace.object_name(i / 5_000, i % 5_000).unwrap(), name(i as u64));
        }
        assert_eq!(trace.object_name(1, 5_000).unwrap(), None);
    }

    #[test]
    fn the_file_is_readable_after_every_single_flush() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.parquet");
        let names = names();
        let mut file = TraceFile::create(&path, &Header::default()).unwrap();
        let events: Vec<Event> = (0..5_000).map(span).collect();
        let mut expected = 0;
        for round in 0..60 {
            file.append(&events, &names).unwrap();
            file.flush(&names, None).unwrap();
            expected += 5_000;
            let trace = crate::read_file(&path).unwrap();
            assert_eq!((trace.rows, trace.torn_bytes), (expected, 0), "round {round}");
        }
    }

    #[test]
    fn a_failed_write_counts_what_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.parquet");
        let names = names();
        let mut file = TraceFile::create(&path, &Header::default()).unwrap();
        file.append(&[span(1), span(2)], &names).unwrap();
        file.flush(&names, None).unwrap();
        file.append(&[span(3)], &names).unwrap();
        // A read-only descriptor stands for a full disk.
        file.file = File::open(&path).unwrap();
        file.flush(&names, None).unwrap_err();
        assert_eq!((file.rows_written(), file.unwritten()), (2, 1));
        assert_eq!(crate::read_file(&path).unwrap().rows, 2);
    }

    #[test]
    fn a_file_that_is_sealed_after_a_torn_write_ends_with_a_footer_that_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.parquet");
        let names = names();
        let mut file = TraceFile::create(&path, &Header::default()).unwrap();
        file.append(&[span(1), span(2)], &names).unwrap();
        file.flush(&names, None).unwrap();
        file.append(&[span(3)], &names).unwrap();
        let writable = std::mem::replace(&mut file.file, File::open(&path).unwrap());
        file.flush(&names, None).unwrap_err();
        file.file = writable;
        // The failed write left a part of its bytes.
        file.file.write_all(b"torn").unwrap();
        let ending = Ending::failed("no space left");
        file.seal(&ending).unwrap();
        let trace = crate::read_file(&path).unwrap();
        assert_eq!((trace.rows, trace.torn_bytes, trace.complete, trace.ending), (2, 0, false, Some(ending)));
    }
}
