//! Key-value metadata of the Parquet footer: the rank that wrote the trace, its clocks and its run.

use std::collections::BTreeMap;
use std::path::Path;

use dlio_event::{Ending, Planned};
use parquet::file::metadata::KeyValue;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Major version of the format. A reader refuses files with a higher one.
pub const FORMAT_MAJOR: u32 = 1;
/// Minor version of the format. It grows with columns and keys that older readers may ignore.
pub const FORMAT_MINOR: u32 = 2;

const VERSION: &str = "dlio.trace.version";
/// Key of the format version in side tables.
const TABLE_VERSION: &str = "dlio.table.version";
/// First minor version whose files have checksums.
const CHECKSUMS_SINCE: u32 = 2;
const TOOL: &str = "dlio.trace.tool_version";
const RANK: &str = "dlio.trace.rank";
const HOST: &str = "dlio.trace.host";
const CLOCK: &str = "dlio.trace.clock";
const ARGV: &str = "dlio.trace.argv";
const CONFIG: &str = "dlio.trace.config";
const FACTS: &str = "dlio.trace.host_facts";
const STATE: &str = "dlio.trace.state";
const CLOCK_END: &str = "dlio.trace.clock_end";
const PLANNED: &str = "dlio.trace.planned";
const ENDING: &str = "dlio.trace.ending";

/// One moment on the monotonic and the wall clock, and the offset of this rank's monotonic clock from rank 0's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClockAnchor {
    /// The moment on this process's monotonic clock, nanoseconds.
    pub monotonic_ns: u64,
    /// The same moment as wall-clock time, nanoseconds since 1970-01-01 UTC.
    pub wall_unix_ns: i64,
    /// Nanoseconds to add to this rank's monotonic time to get rank 0's.
    pub offset_to_rank0_ns: i64,
    /// Round-trip time of the exchange that measured the offset, nanoseconds. The error of the offset is at most half of it.
    pub rtt_ns: u64,
}

/// Description of a run and a rank in the footer of a trace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// MPI rank that recorded the trace.
    pub rank: u32,
    /// Number of ranks in the run.
    pub world: u32,
    /// Host name.
    pub host: String,
    /// Index of the node within the run.
    pub node: u32,
    /// Process id.
    pub pid: u32,
    /// Clock measurement at the start of the run.
    pub clock: ClockAnchor,
    /// Clock measurement at the end of the run; `None` for a run that ended early.
    pub clock_end: Option<ClockAnchor>,
    /// Command line.
    pub argv: Vec<String>,
    /// Resolved configuration, JSON.
    pub config_json: String,
    /// Version of the program that wrote the trace.
    pub tool_version: String,
    /// Properties of the host that affect the results, by name: kernel, CPU, memory, mounts.
    pub host_facts: BTreeMap<String, String>,
    /// Amount of work that was planned; `None` in traces of earlier formats and in imports.
    pub planned: Option<Planned>,
}

/// Progress of the writer at the time of a footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) rows_written: u64,
    pub(crate) complete: bool,
}

/// Returns how the rank ended according to the last footer; `None` if the footer lacks this key.
pub(crate) fn ending_of(path: &Path, pairs: &[KeyValue]) -> Result<Option<Ending>, Error> {
    let lookup = Lookup { path, pairs };
    let parse = |text: &str| text.parse().map_err(|error| lookup.damaged(format!("{ENDING} in its footer: {error}")));
    lookup.find(ENDING).map(parse).transpose()
}

/// Returns the key-value pair of the last footer that states how the rank ended.
pub(crate) fn ending_pair(ending: &Ending) -> KeyValue {
    KeyValue::new(ENDING.to_owned(), ending.to_string())
}

#[derive(Serialize, Deserialize)]
struct Place {
    rank: u32,
    world: u32,
    node: u32,
    pid: u32,
}

impl Header {
    /// Returns the key-value pairs of a footer, without the [`State`].
    pub(crate) fn to_key_values(&self) -> Vec<KeyValue> {
        let place = Place { rank: self.rank, world: self.world, node: self.node, pid: self.pid };
        let pair = |key: &str, value: String| KeyValue::new(key.to_owned(), value);
        let mut pairs = vec![
            pair(VERSION, format!("{FORMAT_MAJOR}.{FORMAT_MINOR}")),
            pair(TOOL, self.tool_version.clone()),
            pair(RANK, json(&place)),
            pair(HOST, self.host.clone()),
            pair(CLOCK, json(&self.clock)),
            pair(ARGV, json(&self.argv)),
            pair(CONFIG, self.config_json.clone()),
            pair(FACTS, json(&self.host_facts)),
        ];
        pairs.extend(self.clock_end.map(|anchor| pair(CLOCK_END, json(&anchor))));
        pairs.extend(self.planned.map(|planned| pair(PLANNED, json(&planned))));
        pairs
    }

    pub(crate) fn from_key_values(path: &Path, pairs: &[KeyValue]) -> Result<(Self, State), Error> {
        let lookup = Lookup { path, pairs };
        lookup.check_version()?;
        let place: Place = lookup.json(RANK)?;
        let header = Self {
            rank: place.rank,
            world: place.world,
            host: lookup.text(HOST)?.to_owned(),
            node: place.node,
            pid: place.pid,
            clock: lookup.json(CLOCK)?,
            clock_end: lookup.find(CLOCK_END).map(|_| lookup.json(CLOCK_END)).transpose()?,
            argv: lookup.json(ARGV)?,
            config_json: lookup.text(CONFIG)?.to_owned(),
            tool_version: lookup.text(TOOL)?.to_owned(),
            host_facts: lookup.json(FACTS)?,
            planned: lookup.find(PLANNED).map(|_| lookup.json(PLANNED)).transpose()?,
        };
        Ok((header, lookup.json(STATE)?))
    }
}

/// Correction of stored times for the drift of the rank's clock against rank 0's: a straight line from zero at the first clock
/// measurement to the whole difference at the last one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift {
    /// Time of the first measurement on rank 0's clock, nanoseconds.
    from_ns: i64,
    /// Slope of the correction, nanoseconds per nanosecond.
    rate: f64,
}

impl Drift {
    /// Returns the nanoseconds to add to a stored time.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "a correction of at most the drift of one run")]
    pub fn at(self, stored_ns: i64) -> i64 {
        (stored_ns.saturating_sub(self.from_ns) as f64 * self.rate) as i64
    }

    /// Returns the drift in parts per million.
    #[must_use]
    pub fn parts_per_million(self) -> f64 {
        self.rate * 1e6
    }
}

impl Header {
    /// Returns the drift of this rank's clock between the two measurements; `None` if there was only one, or if the change is
    /// within the error of the measurements.
    #[must_use]
    pub fn drift(&self) -> Option<Drift> {
        let (first, last) = (self.clock, self.clock_end?);
        let span = last.monotonic_ns.checked_sub(first.monotonic_ns).filter(|span| *span > 0)?;
        let moved = last.offset_to_rank0_ns.saturating_sub(first.offset_to_rank0_ns);
        let uncertain = first.rtt_ns.saturating_add(last.rtt_ns) / 2;
        let from = i64::try_from(first.monotonic_ns).ok()?.saturating_add(first.offset_to_rank0_ns);
        (moved.unsigned_abs() > uncertain).then(|| Drift { from_ns: from, rate: moved as f64 / span as f64 })
    }
}

impl State {
    pub(crate) fn to_key_value(self) -> KeyValue {
        KeyValue::new(STATE.to_owned(), json(&self))
    }
}

/// Returns the key-value pair with the format version of a side table.
pub(crate) fn table_version() -> KeyValue {
    KeyValue::new(TABLE_VERSION.to_owned(), format!("{FORMAT_MAJOR}.{FORMAT_MINOR}"))
}

/// Whether the format version among these pairs requires checksums.
pub(crate) fn has_checksums(pairs: &[KeyValue]) -> bool {
    let version = pairs.iter().find(|pair| pair.key == VERSION || pair.key == TABLE_VERSION);
    let parts = version.and_then(|pair| pair.value.as_deref()?.split_once('.'));
    let numbers = parts.and_then(|(major, minor)| major.parse::<u32>().ok().zip(minor.parse::<u32>().ok()));
    numbers.is_some_and(|(major, minor)| major == FORMAT_MAJOR && minor >= CHECKSUMS_SINCE)
}

/// Serialises a plain structure, which cannot fail. The reader would report an empty text.
fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

struct Lookup<'a> {
    path: &'a Path,
    pairs: &'a [KeyValue],
}

impl<'a> Lookup<'a> {
    fn find(&self, key: &str) -> Option<&'a str> {
        self.pairs.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.as_deref())
    }

    fn text(&self, key: &str) -> Result<&'a str, Error> {
        self.find(key).ok_or_else(|| self.damaged(format!("its footer has no {key}")))
    }

    fn json<T: for<'de> Deserialize<'de>>(&self, key: &str) -> Result<T, Error> {
        serde_json::from_str(self.text(key)?).map_err(|error| self.damaged(format!("{key} in its footer: {error}")))
    }

    fn check_version(&self) -> Result<(), Error> {
        let Some(version) = self.find(VERSION) else {
            return Err(Error::NotATrace {
                path: self.path.to_owned(),
                reason: format!("a Parquet file without {VERSION} in its footer"),
            });
        };
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        match major {
            None => Err(self.damaged(format!("unreadable format version {version:?}"))),
            Some(major) if major > FORMAT_MAJOR => {
                Err(Error::TooNew { path: self.path.to_owned(), found: version.to_owned(), supported: FORMAT_MAJOR })
            }
            Some(_) => Ok(()),
        }
    }

    fn damaged(&self, reason: String) -> Error {
        Error::Damaged { path: self.path.to_owned(), reason }
    }
}
