//! The trace files that an import fills: one per rank, opened when its first row comes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dlio_event::{Event, EventSink, Lane};
use std::collections::HashMap;

use super::{Imported, Options};
use crate::{ClockAnchor, Error, Header, TraceWriter, file_name};

/// Memory that may wait for the writer threads before the import waits for them.
const QUEUE_BYTES: u64 = 64 << 20;
/// Rows between two looks at it.
const LOOK_EVERY: u64 = 16 * 1024;
/// Ranks at most: each has a file and a thread.
const RANKS: usize = 4096;

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

/// All files.
pub(super) struct Sheets {
    folder: PathBuf,
    options: Options,
    /// Ranks of names.
    named: HashMap<String, u32>,
    ranks: HashMap<u32, Sheet>,
    /// The last rank that a name stood for: most rows come from the same as the one before.
    last: Option<(String, u32)>,
    rows: u64,
    failed: Option<Error>,
    /// Whether times count from the start of the source, not from 1970.
    relative: bool,
    hosts: HashMap<u32, String>,
    config_json: Option<String>,
}

struct Sheet {
    writer: TraceWriter,
    lanes: HashMap<String, u16>,
    last_lane: Option<(String, Lane)>,
}

impl Sheets {
    pub(super) fn new(folder: &Path, options: &Options) -> Self {
        Self {
            folder: folder.to_owned(),
            options: options.clone(),
            named: HashMap::new(),
            ranks: HashMap::new(),
            last: None,
            rows: 0,
            failed: None,
            relative: false,
            hosts: HashMap::new(),
            config_json: None,
        }
    }

    /// Times of this source count from its start.
    pub(super) fn times_are_relative(&mut self) {
        self.relative = true;
    }

    /// The host that a rank ran on.
    pub(super) fn host(&mut self, rank: u32, host: &str) {
        self.hosts.entry(rank).or_insert_with(|| host.to_owned());
    }

    /// The rank of somebody.
    pub(super) fn rank(&mut self, who: Who<'_>) -> u32 {
        match who {
            Who::Rank(rank) => rank,
            Who::Named(name) => {
                if let Some((last, rank)) = &self.last
                    && last == name
                {
                    return *rank;
                }
                let next = u32::try_from(self.named.len()).unwrap_or(u32::MAX);
                let rank = match self.named.get(name) {
                    Some(rank) => *rank,
                    None => *self.named.entry(name.to_owned()).or_insert(next),
                };
                self.last = Some((name.to_owned(), rank));
                rank
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
        if !self.ranks.contains_key(&rank) {
            self.open(rank)?;
        }
        let Some(sheet) = self.ranks.get_mut(&rank) else { return Ok(()) };
        let lane = match thread {
            None => Lane::MAIN,
            Some(thread) => sheet.lane(thread)?,
        };
        let writer = &sheet.writer;
        let mut event = Event { lane, ..event };
        if let Some(name) = names.object {
            event.object = writer.object(name);
        }
        if let Some(name) = names.endpoint {
            event.endpoint = writer.endpoint(name);
        }
        if let Some(name) = names.tag {
            event.tag = writer.tag(name);
        }
        writer.record(event);
        self.rows += 1;
        Ok(())
    }

    fn open(&mut self, rank: u32) -> Result<(), String> {
        if self.ranks.len() >= RANKS {
            return Err(format!("more than {RANKS} processes; split the source"));
        }
        let path = self.folder.join(file_name(rank));
        match TraceWriter::create(&path, &self.header(rank, 0)) {
            Ok(writer) => {
                self.ranks.insert(rank, Sheet { writer, lanes: HashMap::new(), last_lane: None });
            }
            // Nothing more can be stored; the import ends with this error.
            Err(error) => self.failed = self.failed.take().or(Some(error)),
        }
        Ok(())
    }

    fn header(&self, rank: u32, world: u32) -> Header {
        // Times since 1970 serve as the monotonic clock: it differs from the wall clock by nothing.
        Header {
            rank,
            world,
            host: self.hosts.get(&rank).unwrap_or(&self.options.host).clone(),
            clock: ClockAnchor::default(),
            argv: self.options.argv.clone(),
            config_json: self.config_json.clone().unwrap_or_else(|| "{}".to_owned()),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Header::default()
        }
    }

    /// Waits for the writer threads when they are far behind: the source is read faster than it is stored.
    pub(super) fn breathe(&mut self) {
        if self.rows == 0 || !self.rows.is_multiple_of(LOOK_EVERY) {
            return;
        }
        let waiting = |sheets: &HashMap<u32, Sheet>| -> u64 {
            sheets.values().map(|sheet| sheet.writer.health().queued_bytes).sum()
        };
        while waiting(&self.ranks) > QUEUE_BYTES {
            #[expect(
                clippy::disallowed_methods,
                reason = "an import is measured by nobody; there is no clock to wait on"
            )]
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends all files; returns the rows and the number of ranks.
    pub(super) fn finish(mut self, done: &Imported) -> Result<(u64, u32), Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let world = self.ranks.keys().max().map_or(0, |last| last + 1);
        let counts = serde_json::json!({
            "imported": {
                "formats": done.formats,
                "lines": done.lines,
                "malformed": done.malformed,
                "skipped": done.skipped,
                "unfinished": done.unfinished,
                "times": if self.relative { "since the start of the source" } else { "since 1970" },
            }
        });
        self.config_json = Some(counts.to_string());
        let sheets = std::mem::take(&mut self.ranks);
        let mut rows = 0;
        for (rank, sheet) in sheets {
            sheet.writer.header_at_end(|header| *header = self.header(rank, world));
            rows += sheet.writer.finish()?.rows;
        }
        Ok((rows, world))
    }
}

impl Sheet {
    fn lane(&mut self, thread: &str) -> Result<Lane, String> {
        if let Some((last, lane)) = &self.last_lane
            && last == thread
        {
            return Ok(*lane);
        }
        let next = u16::try_from(self.lanes.len()).unwrap_or(u16::MAX);
        if next == u16::MAX && !self.lanes.contains_key(thread) {
            return Err(format!("more than {} threads in one process", u16::MAX));
        }
        let lane = match self.lanes.get(thread) {
            Some(lane) => Lane(*lane),
            None => Lane(*self.lanes.entry(thread.to_owned()).or_insert(next)),
        };
        self.last_lane = Some((thread.to_owned(), lane));
        Ok(lane)
    }
}
