//! Buffers of imported rows, one per rank. Ranks, lanes and names of the source become numbers here.
//!
//! Memory: events stay in compact form until their rank has a full row group or all ranks together hold [`BUFFERED_EVENTS_MAX`] events. When
//! the names take more than [`NAME_BYTES_MAX`] bytes, all events are written and the names are dropped.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use dlio_event::{EndpointId, Event, Lane, Nanos, TagId};
use foldhash::fast::RandomState;

use super::dlio_loop::Loops;
use super::import_writer::{Files, GROUP_ROWS, ImportWriter, RowGroup};
use super::interner::Interner;
use super::labels::Labels;
use super::options::{Imported, Options};
use super::warnings::Warnings;
use crate::error::Error;
use crate::header::{ClockAnchor, Header};
use crate::names::NameTables;
use crate::packed_events::PackedEvents;

/// Maximum number of buffered events of all ranks.
const BUFFERED_EVENTS_MAX: usize = 4 * GROUP_ROWS;
/// Number of rows whose names are looked up at a time.
const LOOKUP_ROWS: usize = 128;
/// Maximum size of the stored names, bytes.
const NAME_BYTES_MAX: usize = 64 << 20;
/// Maximum number of ranks, each of which has a file.
const RANKS_MAX: usize = 4096;
/// Ranks in sources that contain ranks must be below this.
const RANK_LIMIT: u32 = 1 << 20;
/// Times below this value, which is in 1973, are relative to the start of the source.
const EARLIEST_UNIX_NS: Nanos = 100_000_000_000_000_000;
/// Maximum number of names for which unknown operations are counted separately.
const SKIPPED_NAMES_MAX: usize = 1000;

/// The process or client that issued an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Process<'a> {
    /// Rank given by the source.
    Rank(u32),
    /// Name of a process or client. Names get ranks in the order of their first rows.
    Named(&'a str),
}

/// The thread that issued an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thread<'a> {
    /// Training loop.
    Main,
    /// Name of a thread. Names get lanes in the order of their first rows.
    Named(&'a str),
    /// Lane given by the source.
    Lane(Lane),
}

impl<'a> From<Option<&'a str>> for Thread<'a> {
    fn from(name: Option<&'a str>) -> Self {
        name.map_or(Self::Main, Self::Named)
    }
}

/// Names that belong to an event.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RowNames<'a> {
    pub(super) object: Option<&'a str>,
    pub(super) endpoint: Option<&'a str>,
    pub(super) tag: Option<&'a str>,
}

/// Buffered rows of all ranks.
pub(super) struct RankBuffers {
    options: Options,
    /// Ranks of named processes.
    named: Labels,
    /// Index into `all` for each rank.
    indices: HashMap<u32, usize, RandomState>,
    all: Vec<RankBuffer>,
    /// Rank of the last row and its index into `all`.
    last: Option<(u32, usize)>,
    names: Arc<NameTables>,
    /// The newest rows, whose names have not been looked up, with their indices into `all`.
    newest: Vec<(usize, Event)>,
    objects: Interner,
    endpoints: Labels,
    tags: Labels,
    waiting: usize,
    rows: u64,
    writer: ImportWriter,
    failed: Option<Error>,
    /// Whether times are relative to the start of the source rather than to 1970.
    relative: bool,
    /// Number of operations without an equivalent, by reason and name.
    skipped: BTreeMap<&'static str, BTreeMap<String, u64>>,
    /// Training loops of the ranks, which the files of their loader workers refer to.
    pub(super) loops: Loops,
    pub(super) warnings: Warnings,
    /// Warning about the first file in a folder that was left out.
    pub(super) left_out: Option<String>,
}

struct RankBuffer {
    rank: u32,
    host: Option<String>,
    events: Vec<PackedEvents>,
    /// Number of rows in `events`.
    waiting: usize,
    /// Number of rows so far, including those written.
    rows: u64,
    lanes: Labels,
}

impl RankBuffers {
    /// Creates the buffers and the target folder.
    ///
    /// # Errors
    /// [`Error::ImportTarget`] if the folder cannot be written.
    pub(super) fn create(folder: &Path, options: &Options) -> Result<Self, Error> {
        Ok(Self {
            options: options.clone(),
            named: Labels::default(),
            indices: HashMap::default(),
            all: Vec::new(),
            last: None,
            names: Arc::new(NameTables::new()),
            newest: Vec::with_capacity(LOOKUP_ROWS),
            objects: Interner::default(),
            endpoints: Labels::default(),
            tags: Labels::default(),
            waiting: 0,
            rows: 0,
            writer: ImportWriter::start(folder)?,
            failed: None,
            relative: false,
            skipped: BTreeMap::new(),
            loops: Loops::default(),
            warnings: Warnings::default(),
            left_out: None,
        })
    }

    /// Marks the times of this source as relative to its start.
    pub(super) fn times_are_relative(&mut self) {
        self.relative = true;
    }

    /// Decides from the first time whether times are relative to the start of the source.
    pub(super) fn times_begin(&mut self, first: Nanos) {
        self.relative |= self.rows == 0 && first < EARLIEST_UNIX_NS;
    }

    /// Sets the host name of a rank unless it has one.
    pub(super) fn host(&mut self, rank: u32, host: &str) -> Result<(), String> {
        let at = self.buffer_index(rank)?;
        let known = self.all.get_mut(at).map(|buffer| &mut buffer.host);
        if let Some(known @ None) = known {
            *known = Some(host.to_owned());
        }
        Ok(())
    }

    /// Returns the rank of a process, assigning one to a new name.
    pub(super) fn rank(&mut self, who: Process<'_>) -> u32 {
        match who {
            Process::Rank(rank) => rank,
            Process::Named(name) => {
                let next = |count| Ok::<_, ()>(u32::try_from(count).unwrap_or(u32::MAX));
                self.named.get(name, next).unwrap_or(u32::MAX)
            }
        }
    }

    /// Counts an operation without an equivalent. The reason `why` may be empty.
    pub(super) fn skip(&mut self, name: &str, why: &'static str) {
        let names = self.skipped.entry(why).or_default();
        let name = if names.len() >= SKIPPED_NAMES_MAX && !names.contains_key(name) { "others" } else { name };
        match names.get_mut(name) {
            Some(count) => *count += 1,
            None => {
                names.insert(name.to_owned(), 1);
            }
        }
    }

    /// Returns the first rank after all known ranks.
    pub(super) fn next_rank(&self) -> u32 {
        self.all.iter().map(|buffer| buffer.rank.saturating_add(1)).max().unwrap_or(0)
    }

    /// Adds a row.
    pub(super) fn row<'a>(
        &mut self,
        who: Process<'_>,
        thread: impl Into<Thread<'a>>,
        event: Event,
        names: RowNames<'_>,
    ) -> Result<(), String> {
        let rank = self.rank(who);
        let at = self.buffer_index(rank)?;
        let mut event = event;
        if let Some(name) = names.endpoint {
            let label = |name: &str| self.names.endpoints.intern(name);
            event.endpoint = EndpointId(number(&mut self.endpoints, name, label, "endpoints")?);
        }
        if let Some(name) = names.tag {
            let label = |name: &str| self.names.tags.intern(name);
            event.tag = TagId(number(&mut self.tags, name, label, "labels")?);
        }
        let Some(buffer) = self.all.get_mut(at) else { return Ok(()) };
        event.lane = match thread.into() {
            Thread::Main => Lane::MAIN,
            Thread::Named(thread) => buffer.lane(thread)?,
            Thread::Lane(lane) => lane,
        };
        buffer.rows += 1;
        self.rows += 1;
        self.warnings.seen(event.start, event.end);
        if let Some(name) = names.object {
            self.objects.add(name, self.newest.len());
        }
        self.newest.push((at, event));
        if self.newest.len() >= LOOKUP_ROWS {
            self.store_newest();
        }
        Ok(())
    }

    /// Looks up the names of the newest rows and moves the rows into the buffers of their ranks. Full buffers are written.
    fn store_newest(&mut self) {
        let mut newest = std::mem::take(&mut self.newest);
        let number = |name: &str| self.names.objects.intern(name);
        self.objects.resolve(number, |row, object| {
            if let Some((_, event)) = newest.get_mut(row) {
                event.object = object;
            }
        });
        for (at, event) in &newest {
            let Some(buffer) = self.all.get_mut(*at) else { continue };
            buffer.push(event, &self.writer);
            self.waiting += 1;
            let full = buffer.waiting >= GROUP_ROWS;
            if full || self.waiting >= BUFFERED_EVENTS_MAX {
                let largest = || (0..self.all.len()).max_by_key(|at| self.all[*at].waiting);
                let which = if full { Some(*at) } else { largest() };
                self.hand_over(which.unwrap_or(*at));
            }
        }
        newest.clear();
        self.newest = newest;
        self.reset_names();
    }

    /// Returns the index of a rank's buffer, which is created if necessary.
    fn buffer_index(&mut self, rank: u32) -> Result<usize, String> {
        if let Some((last, at)) = self.last
            && last == rank
        {
            return Ok(at);
        }
        let at = match self.indices.get(&rank) {
            Some(at) => *at,
            None if rank >= RANK_LIMIT => {
                return Err(format!("the rank is {rank}; expected less than {RANK_LIMIT}"));
            }
            None if self.all.len() >= RANKS_MAX => {
                return Err(format!("more than {RANKS_MAX} processes; split the source"));
            }
            None => {
                let lanes = Labels::default();
                let buffer = RankBuffer { rank, host: None, events: Vec::new(), waiting: 0, rows: 0, lanes };
                self.all.push(buffer);
                self.indices.insert(rank, self.all.len() - 1);
                self.all.len() - 1
            }
        };
        self.last = Some((rank, at));
        Ok(at)
    }

    /// Passes the events of one buffer to the writer.
    fn hand_over(&mut self, at: usize) {
        let Some(buffer) = self.all.get_mut(at).filter(|buffer| buffer.waiting > 0) else { return };
        self.waiting -= buffer.waiting;
        let (rank, events) = (buffer.rank, std::mem::take(&mut buffer.events));
        buffer.waiting = 0;
        let row_group = RowGroup { rank, events, names: Arc::clone(&self.names) };
        if let Err(error) = self.writer.write(row_group) {
            self.failed = Some(error);
        }
    }

    /// Writes all buffered events and starts new name tables if the names have become too large.
    fn reset_names(&mut self) {
        if self.objects.bytes() < NAME_BYTES_MAX {
            return;
        }
        for at in 0..self.all.len() {
            self.hand_over(at);
        }
        self.names = Arc::new(NameTables::new());
        self.objects = Interner::default();
        self.endpoints.clear();
        self.tags.clear();
    }

    /// Returns the error of the writer, if any.
    pub(super) fn take_error(&mut self) -> Result<(), Error> {
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Returns the number of rows so far.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Returns the number of operations without an equivalent by name, with the reason in parentheses.
    pub(super) fn skipped(&mut self) -> BTreeMap<String, u64> {
        let named = |(why, names): (&'static str, BTreeMap<String, u64>)| {
            names
                .into_iter()
                .map(move |(name, count)| (if why.is_empty() { name } else { format!("{name} ({why})") }, count))
        };
        std::mem::take(&mut self.skipped).into_iter().flat_map(named).collect()
    }

    /// Writes all rows and footers. Returns the number of ranks and the files, which still have temporary names.
    pub(super) fn finish(mut self, done: &Imported) -> Result<(u32, Files), Error> {
        self.store_newest();
        for at in 0..self.all.len() {
            self.hand_over(at);
        }
        self.take_error()?;
        let used = self.all.iter().filter(|buffer| buffer.rows > 0);
        let world = used.map(|buffer| buffer.rank.saturating_add(1)).max().unwrap_or(0);
        let config = serde_json::json!({
            "imported": {
                "formats": done.formats,
                "lines": done.lines,
                "malformed": done.malformed,
                "skipped": done.skipped,
                "warnings": done.warnings,
                "unfinished": done.unfinished,
                "times": if self.relative { "since the start of the source" } else { "since 1970" },
            }
        });
        let config = config.to_string();
        let hosts: HashMap<u32, String> =
            self.all.into_iter().filter_map(|buffer| buffer.host.map(|host| (buffer.rank, host))).collect();
        // Times since 1970 serve as the monotonic clock, so its offset from the wall clock is 0.
        let header = |rank| Header {
            rank,
            world,
            host: hosts.get(&rank).unwrap_or(&self.options.host).clone(),
            clock: ClockAnchor::default(),
            argv: self.options.argv.clone(),
            config_json: config.clone(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Header::default()
        };
        Ok((world, self.writer.finish(header)?))
    }
}

/// Returns the number of an endpoint or a label, assigning one to a new name.
fn number(known: &mut Labels, name: &str, label: impl Fn(&str) -> u16, what: &str) -> Result<u16, String> {
    let number = known.get(name, |count| {
        let room = count < usize::from(u16::MAX);
        room.then(|| u32::from(label(name))).ok_or_else(|| format!("more than {} {what}; split the source", u16::MAX))
    });
    number.map(|number| u16::try_from(number).unwrap_or(u16::MAX))
}

impl RankBuffer {
    fn push(&mut self, event: &Event, writer: &ImportWriter) {
        if self.events.last().is_none_or(PackedEvents::is_full) {
            self.events.push(writer.spare());
        }
        if let Some(last) = self.events.last_mut() {
            last.push(event);
            self.waiting += 1;
        }
    }

    fn lane(&mut self, thread: &str) -> Result<Lane, String> {
        let number = self.lanes.get(thread, |count| {
            let lane = u16::try_from(count).ok().filter(|lane| *lane != u16::MAX);
            lane.map(u32::from).ok_or_else(|| format!("more than {} threads in one process", u16::MAX))
        });
        number.map(|number| Lane(u16::try_from(number).unwrap_or(u16::MAX)))
    }
}
