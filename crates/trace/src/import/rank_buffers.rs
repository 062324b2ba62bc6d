//! The rows of an import on their way to the trace files: ranks, lanes and names of the source become numbers.
//!
//! Memory: events wait, packed, until their rank has a full row group or all ranks together have [`WAITING`]; names are forgotten
//! with the events that bear them when they take more than [`NAMES`].

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
use super::remarks::Remarks;
use crate::error::Error;
use crate::header::{ClockAnchor, Header};
use crate::names::NameTables;
use crate::packed::Packed;

/// Events of all ranks that may wait to be written.
const WAITING: usize = 4 * GROUP_ROWS;
/// Rows whose names are looked up at a time.
const TOGETHER: usize = 128;
/// Bytes of names that are kept.
const NAMES: usize = 64 << 20;
/// Ranks at most: each has a file.
const RANKS: usize = 4096;
/// Ranks of a source that says them itself.
const WORLD: u32 = 1 << 20;
/// Times below this, in 1973, do not count from 1970.
const YEARS: Nanos = 100_000_000_000_000_000;
/// Different names of operations without an equivalent that are counted apart.
const SKIPPED: usize = 1000;

/// Who did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Who<'a> {
    /// The source says the rank.
    Rank(u32),
    /// The source has a name for the process or client: ranks are given in the order of first rows.
    Named(&'a str),
}

/// Which thread of somebody did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thread<'a> {
    /// The main loop.
    Main,
    /// The source has a name for it: lanes are given in the order of first rows.
    Named(&'a str),
    /// The source says the lane.
    Lane(Lane),
}

impl<'a> From<Option<&'a str>> for Thread<'a> {
    fn from(name: Option<&'a str>) -> Self {
        name.map_or(Self::Main, Self::Named)
    }
}

/// Names of a row, beside its event.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Names<'a> {
    pub(super) object: Option<&'a str>,
    pub(super) endpoint: Option<&'a str>,
    pub(super) tag: Option<&'a str>,
}

/// All ranks.
pub(super) struct RankBuffers {
    options: Options,
    /// Ranks of names.
    named: Labels,
    /// Where the buffers of ranks are.
    places: HashMap<u32, usize, RandomState>,
    all: Vec<RankBuffer>,
    /// The rank of the last row and where its buffer is.
    last: Option<(u32, usize)>,
    names: Arc<NameTables>,
    /// The last rows, whose names wait to be looked up, and the places of their buffers.
    fresh: Vec<(usize, Event)>,
    objects: Interner,
    endpoints: Labels,
    tags: Labels,
    waiting: usize,
    rows: u64,
    writer: ImportWriter,
    failed: Option<Error>,
    /// Whether times count from the start of the source, not from 1970.
    relative: bool,
    /// Operations without an equivalent, by why they have none and by name.
    skipped: BTreeMap<&'static str, BTreeMap<String, u64>>,
    /// Training loops of ranks, for the files of their workers.
    pub(super) loops: Loops,
    pub(super) remarks: Remarks,
    /// Why the first file that was left out of a folder was left out.
    pub(super) left_out: Option<String>,
}

struct RankBuffer {
    rank: u32,
    host: Option<String>,
    events: Vec<Packed>,
    /// Rows in `events`.
    waiting: usize,
    /// Rows in all.
    rows: u64,
    lanes: Labels,
}

impl RankBuffers {
    /// Fails at once where nothing can be written.
    pub(super) fn create(folder: &Path, options: &Options) -> Result<Self, Error> {
        Ok(Self {
            options: options.clone(),
            named: Labels::default(),
            places: HashMap::default(),
            all: Vec::new(),
            last: None,
            names: Arc::new(NameTables::new()),
            fresh: Vec::with_capacity(TOGETHER),
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
            remarks: Remarks::default(),
            left_out: None,
        })
    }

    /// Times of this source count from its start.
    pub(super) fn times_are_relative(&mut self) {
        self.relative = true;
    }

    /// Times of this source count from 1970 if the first one is such a time.
    pub(super) fn times_begin(&mut self, first: Nanos) {
        self.relative |= self.rows == 0 && first < YEARS;
    }

    /// The host of a rank, unless it is known.
    pub(super) fn host(&mut self, rank: u32, host: &str) -> Result<(), String> {
        let at = self.place(rank)?;
        let known = self.all.get_mut(at).map(|buffer| &mut buffer.host);
        if let Some(known @ None) = known {
            *known = Some(host.to_owned());
        }
        Ok(())
    }

    /// The rank of somebody.
    pub(super) fn rank(&mut self, who: Who<'_>) -> u32 {
        match who {
            Who::Rank(rank) => rank,
            Who::Named(name) => {
                let next = |count| Ok::<_, ()>(u32::try_from(count).unwrap_or(u32::MAX));
                self.named.get(name, next).unwrap_or(u32::MAX)
            }
        }
    }

    /// Counts an operation that has no equivalent here; `why` may be empty.
    pub(super) fn skip(&mut self, name: &str, why: &'static str) {
        let names = self.skipped.entry(why).or_default();
        let name = if names.len() >= SKIPPED && !names.contains_key(name) { "others" } else { name };
        match names.get_mut(name) {
            Some(count) => *count += 1,
            None => {
                names.insert(name.to_owned(), 1);
            }
        }
    }

    /// The first rank behind all that have been met.
    pub(super) fn next_rank(&self) -> u32 {
        self.all.iter().map(|buffer| buffer.rank.saturating_add(1)).max().unwrap_or(0)
    }

    /// Adds a row.
    pub(super) fn row<'a>(
        &mut self,
        who: Who<'_>,
        thread: impl Into<Thread<'a>>,
        event: Event,
        names: Names<'_>,
    ) -> Result<(), String> {
        let rank = self.rank(who);
        let at = self.place(rank)?;
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
        self.remarks.seen(event.start, event.end);
        if let Some(name) = names.object {
            self.objects.add(name, self.fresh.len());
        }
        self.fresh.push((at, event));
        if self.fresh.len() >= TOGETHER {
            self.settle();
        }
        Ok(())
    }

    /// Gives the last rows their names and puts them into their buffers; full buffers are handed over.
    fn settle(&mut self) {
        let mut fresh = std::mem::take(&mut self.fresh);
        let number = |name: &str| self.names.objects.intern(name);
        self.objects.resolve(number, |row, object| {
            if let Some((_, event)) = fresh.get_mut(row) {
                event.object = object;
            }
        });
        for (at, event) in &fresh {
            let Some(buffer) = self.all.get_mut(*at) else { continue };
            buffer.push(event, &self.writer);
            self.waiting += 1;
            let full = buffer.waiting >= GROUP_ROWS;
            if full || self.waiting >= WAITING {
                let largest = || (0..self.all.len()).max_by_key(|at| self.all[*at].waiting);
                let which = if full { Some(*at) } else { largest() };
                self.hand_over(which.unwrap_or(*at));
            }
        }
        fresh.clear();
        self.fresh = fresh;
        self.forget();
    }

    /// Where the buffer of a rank is.
    fn place(&mut self, rank: u32) -> Result<usize, String> {
        if let Some((last, at)) = self.last
            && last == rank
        {
            return Ok(at);
        }
        let at = match self.places.get(&rank) {
            Some(at) => *at,
            None if rank >= WORLD => {
                return Err(format!("the rank is {rank}; expected less than {WORLD}"));
            }
            None if self.all.len() >= RANKS => {
                return Err(format!("more than {RANKS} processes; split the source"));
            }
            None => {
                let lanes = Labels::default();
                let buffer = RankBuffer { rank, host: None, events: Vec::new(), waiting: 0, rows: 0, lanes };
                self.all.push(buffer);
                self.places.insert(rank, self.all.len() - 1);
                self.all.len() - 1
            }
        };
        self.last = Some((rank, at));
        Ok(at)
    }

    /// Gives the events of a buffer to the writer.
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

    /// Begins new tables of names when these have become large; events that wait refer to the old ones.
    fn forget(&mut self) {
        if self.objects.bytes() < NAMES {
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

    /// What keeps rows from being stored, if anything does.
    pub(super) fn check(&mut self) -> Result<(), Error> {
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Rows so far.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Operations without an equivalent: how many of each name.
    pub(super) fn skipped(&mut self) -> BTreeMap<String, u64> {
        let named = |(why, names): (&'static str, BTreeMap<String, u64>)| {
            names
                .into_iter()
                .map(move |(name, count)| (if why.is_empty() { name } else { format!("{name} ({why})") }, count))
        };
        std::mem::take(&mut self.skipped).into_iter().flat_map(named).collect()
    }

    /// Ends all files, which wait for their names; returns the number of ranks, too.
    pub(super) fn finish(mut self, done: &Imported) -> Result<(u32, Files), Error> {
        self.settle();
        for at in 0..self.all.len() {
            self.hand_over(at);
        }
        self.check()?;
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
        // Times since 1970 serve as the monotonic clock: it differs from the wall clock by nothing.
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

/// The number of an endpoint or a label.
fn number(known: &mut Labels, name: &str, label: impl Fn(&str) -> u16, what: &str) -> Result<u16, String> {
    let number = known.get(name, |count| {
        let room = count < usize::from(u16::MAX);
        room.then(|| u32::from(label(name))).ok_or_else(|| format!("more than {} {what}; split the source", u16::MAX))
    });
    number.map(|number| u16::try_from(number).unwrap_or(u16::MAX))
}

impl RankBuffer {
    fn push(&mut self, event: &Event, writer: &ImportWriter) {
        if self.events.last().is_none_or(Packed::is_full) {
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
