//! The rows of an import on their way to the trace files: ranks, lanes and names of the source become numbers.
//!
//! Memory: events wait until their rank has a full row group or all ranks together have [`WAITING`]; names are forgotten
//! with the events that bear them when they take more than [`NAMES`].

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use dlio_event::{EndpointId, Event, Lane, TagId};
use foldhash::fast::RandomState;

use super::interner::Interner;
use super::press::{GROUP_ROWS, Press, Sheaf};
use super::{Imported, Options};
use crate::names::NameTables;
use crate::{ClockAnchor, Error, Header};

/// Events of all ranks that may wait to be written.
const WAITING: usize = 4 * GROUP_ROWS;
/// Bytes of names that are kept.
const NAMES: usize = 64 << 20;
/// Ranks at most: each has a file.
const RANKS: usize = 4096;
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

/// Names of a row, beside its event.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Names<'a> {
    pub(super) object: Option<&'a str>,
    pub(super) endpoint: Option<&'a str>,
    pub(super) tag: Option<&'a str>,
}

/// Numbers of names, by a hash that costs little.
type Numbers = HashMap<String, u16, RandomState>;

/// All ranks.
pub(super) struct Sheets {
    options: Options,
    /// Ranks of names.
    named: HashMap<String, u32, RandomState>,
    /// Where the sheets of ranks are.
    places: HashMap<u32, usize, RandomState>,
    all: Vec<Sheet>,
    /// The rank of the last row and where its sheet is.
    last: Option<(u32, usize)>,
    names: Arc<NameTables>,
    objects: Interner,
    endpoints: Numbers,
    tags: Numbers,
    waiting: usize,
    rows: u64,
    press: Press,
    failed: Option<Error>,
    /// Whether times count from the start of the source, not from 1970.
    relative: bool,
    /// Operations without an equivalent, by why they have none and by name.
    skipped: BTreeMap<&'static str, BTreeMap<String, u64>>,
}

struct Sheet {
    rank: u32,
    host: Option<String>,
    events: Vec<Event>,
    rows: u64,
    lanes: Numbers,
    last_lane: (String, u16),
}

impl Sheets {
    /// Fails at once where nothing can be written.
    pub(super) fn create(folder: &Path, options: &Options) -> Result<Self, Error> {
        Ok(Self {
            options: options.clone(),
            named: HashMap::default(),
            places: HashMap::default(),
            all: Vec::new(),
            last: None,
            names: Arc::new(NameTables::new()),
            objects: Interner::default(),
            endpoints: Numbers::default(),
            tags: Numbers::default(),
            waiting: 0,
            rows: 0,
            press: Press::start(folder)?,
            failed: None,
            relative: false,
            skipped: BTreeMap::new(),
        })
    }

    /// Times of this source count from its start.
    pub(super) fn times_are_relative(&mut self) {
        self.relative = true;
    }

    /// The host of a rank, unless it is known.
    pub(super) fn host(&mut self, rank: u32, host: &str) -> Result<(), String> {
        let at = self.place(rank)?;
        let known = self.all.get_mut(at).map(|sheet| &mut sheet.host);
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
                if let Some(rank) = self.named.get(name) {
                    return *rank;
                }
                let next = u32::try_from(self.named.len()).unwrap_or(u32::MAX);
                self.named.insert(name.to_owned(), next);
                next
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

    /// Adds a row. `thread` names the thread within the process; `None`: its main loop.
    pub(super) fn row(
        &mut self,
        who: Who<'_>,
        thread: Option<&str>,
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
        if let Some(name) = names.object {
            event.object = self.objects.intern(name, |name| self.names.objects.intern(name));
        }
        let Some(sheet) = self.all.get_mut(at) else { return Ok(()) };
        event.lane = match thread {
            None => Lane::MAIN,
            Some(thread) => sheet.lane(thread)?,
        };
        sheet.events.push(event);
        sheet.rows += 1;
        self.waiting += 1;
        self.rows += 1;
        let full = sheet.events.len() >= GROUP_ROWS;
        if full || self.waiting >= WAITING {
            let largest = || (0..self.all.len()).max_by_key(|at| self.all[*at].events.len());
            let which = if full { Some(at) } else { largest() };
            self.hand_over(which.unwrap_or(at));
            self.forget();
        }
        Ok(())
    }

    /// Where the sheet of a rank is.
    fn place(&mut self, rank: u32) -> Result<usize, String> {
        if let Some((last, at)) = self.last
            && last == rank
        {
            return Ok(at);
        }
        let at = match self.places.get(&rank) {
            Some(at) => *at,
            None if self.all.len() >= RANKS => {
                return Err(format!("more than {RANKS} processes; split the source"));
            }
            None => {
                let sheet = Sheet {
                    rank,
                    host: None,
                    events: Vec::new(),
                    rows: 0,
                    lanes: Numbers::default(),
                    last_lane: (String::new(), u16::MAX),
                };
                self.all.push(sheet);
                self.places.insert(rank, self.all.len() - 1);
                self.all.len() - 1
            }
        };
        self.last = Some((rank, at));
        Ok(at)
    }

    /// Gives the events of a sheet to the press.
    fn hand_over(&mut self, at: usize) {
        let Some(sheet) = self.all.get_mut(at).filter(|sheet| !sheet.events.is_empty()) else { return };
        let events = std::mem::replace(&mut sheet.events, self.press.spare());
        self.waiting -= events.len();
        let sheaf = Sheaf { rank: sheet.rank, events, names: Arc::clone(&self.names) };
        if let Err(error) = self.press.write(sheaf) {
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

    /// Ends all files and gives them their names; returns the number of ranks.
    pub(super) fn finish(mut self, done: &Imported) -> Result<u32, Error> {
        for at in 0..self.all.len() {
            self.hand_over(at);
        }
        self.check()?;
        let used = self.all.iter().filter(|sheet| sheet.rows > 0);
        let world = used.map(|sheet| sheet.rank.saturating_add(1)).max().unwrap_or(0);
        let config = serde_json::json!({
            "imported": {
                "formats": done.formats,
                "lines": done.lines,
                "malformed": done.malformed,
                "skipped": done.skipped,
                "unfinished": done.unfinished,
                "times": if self.relative { "since the start of the source" } else { "since 1970" },
            }
        });
        let config = config.to_string();
        let hosts: HashMap<u32, String> =
            self.all.into_iter().filter_map(|sheet| sheet.host.map(|host| (sheet.rank, host))).collect();
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
        self.press.finish(header)?;
        Ok(world)
    }
}

/// The number of a name of which there are few.
fn number(known: &mut Numbers, name: &str, label: impl Fn(&str) -> u16, what: &str) -> Result<u16, String> {
    if let Some(number) = known.get(name) {
        return Ok(*number);
    }
    if known.len() >= usize::from(u16::MAX) {
        return Err(format!("more than {} {what}; split the source", u16::MAX));
    }
    let number = label(name);
    known.insert(name.to_owned(), number);
    Ok(number)
}

impl Sheet {
    fn lane(&mut self, thread: &str) -> Result<Lane, String> {
        if self.last_lane.0 == thread && self.last_lane.1 != u16::MAX {
            return Ok(Lane(self.last_lane.1));
        }
        let known = self.lanes.get(thread).copied();
        let lane = known.or_else(|| u16::try_from(self.lanes.len()).ok()).filter(|lane| *lane != u16::MAX);
        let lane = lane.ok_or_else(|| format!("more than {} threads in one process", u16::MAX))?;
        if known.is_none() {
            self.lanes.insert(thread.to_owned(), lane);
        }
        self.last_lane.0.clear();
        self.last_lane.0.push_str(thread);
        self.last_lane.1 = lane;
        Ok(Lane(lane))
    }
}
