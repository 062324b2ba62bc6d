//! Import of the output of `darshan-dxt-parser`: a block per file and rank with one line per segment. Times are relative to the
//! start of the job, which the header contains.
//!
//! Programs without MPI have one log per process, each with rank 0. The ranks of each log therefore follow those of the previous
//! log.

use std::path::Path;

use dlio_event::{Event, Lane, OpKind, Phase, Position};

use super::rank_buffers::{Process, RankBuffers, RowNames};
use super::time;

#[derive(Default)]
pub(super) struct Reader {
    source: String,
    log: Log,
    file: String,
    /// Whether unreadable lines may have named another file.
    lost: bool,
    rank: u32,
    host: String,
}

/// Contents of the header of a log.
#[derive(Default)]
struct Log {
    /// Start of the job, nanoseconds since 1970.
    began: Option<u64>,
    /// Number added to the ranks of the log; `None` until the log has a rank.
    first_rank: Option<u32>,
}

impl Log {
    /// Parses a time as nanoseconds since 1970, or since the start of the job if the header lacks that.
    fn moment(&self, name: &str, text: &str) -> Result<u64, String> {
        let since = time::decimal_seconds(text).and_then(|at| u64::try_from(at).ok());
        let since = since.ok_or_else(|| format!("{name} is {text:?}; expected seconds"))?;
        let at = since.checked_add(self.began.unwrap_or(0));
        at.ok_or_else(|| format!("{name} is {text:?}, which is too large to be added to start_time"))
    }
}

/// Number of fields in each segment of a POSIX file: module, rank, direction, segment, offset, length, start, end.
const FIELDS: usize = 8;

impl Reader {
    pub(super) fn new(path: &Path) -> Self {
        Self { source: path.display().to_string(), ..Self::default() }
    }

    pub(super) fn line(&mut self, line: &str, buffers: &mut RankBuffers) -> Result<(), String> {
        let line = line.trim();
        if let Some(comment) = line.strip_prefix('#') {
            return self.comment(comment.trim(), buffers);
        }
        if line.is_empty() {
            return Ok(());
        }
        let mut words = line.split_ascii_whitespace();
        let mut fields = [""; FIELDS];
        let found = fields.iter_mut().zip(&mut words).map(|(field, word)| *field = word).count();
        let [module, rank, direction, _segment, offset, length, start, end] = fields;
        // MPI-IO accesses reach the files as POSIX calls; counting both would double the bytes.
        if module == "X_MPIIO" {
            buffers.skip(module, "its POSIX calls are imported");
            return Ok(());
        }
        if module != "X_POSIX" {
            return Err(format!("{module:?} is not a module; expected X_POSIX or X_MPIIO"));
        }
        if self.lost {
            return Err("the line with the name of its file may be among the unreadable ones".to_owned());
        }
        if found < FIELDS {
            return Err(format!("{found} fields; a segment has at least {FIELDS}"));
        }
        let kind = match direction {
            "read" => OpKind::Read,
            "write" => OpKind::Write,
            other => {
                buffers.skip(other, "");
                return Ok(());
            }
        };
        let number =
            |name: &str, text: &str| text.parse::<u64>().map_err(|_| format!("{name} is {text:?}; expected a number"));
        let rank: u32 = match rank {
            // A record shared by all ranks has rank -1.
            "-1" => self.rank,
            rank => rank.parse().map_err(|_| format!("rank is {rank:?}; expected a number"))?,
        };
        let (offset, length) = (number("offset", offset)?, number("length", length)?);
        let (start, end) = (self.log.moment("start", start)?, self.log.moment("end", end)?);
        let first = *self.log.first_rank.get_or_insert_with(|| buffers.next_rank());
        let rank = first.saturating_add(rank);
        let event = Event {
            offset,
            requested: Some(length),
            bytes: length,
            ..Event::span(
                kind,
                Lane::MAIN,
                Position { phase: Phase::Train, ..Position::default() },
                start,
                end.max(start),
            )
        };
        if self.log.began.is_none() {
            buffers.times_are_relative();
        }
        buffers.host(rank, &self.host)?;
        // After the times come the targets in brackets on Lustre, and in newer logs the POSIX thread, or N/A.
        let thread = words.last().filter(|word| word.bytes().all(|byte| byte.is_ascii_digit())).unwrap_or("0");
        let object = Some(self.file.as_str()).filter(|file| !file.is_empty());
        buffers.row(Process::Rank(rank), Some(thread), event, RowNames { object, ..RowNames::default() })
    }

    /// Handles a line that is not valid text.
    pub(super) fn lose_line(&mut self) {
        self.lost = true;
    }

    /// Reads a comment: the name of a file (`DXT, file_id: 9457796068806373448, file_name: /tmp/test`), a rank and its host
    /// (`DXT, rank: 0, hostname: shane-thinkpad`), or a line of the header with the start of the job or a gap in the log.
    fn comment(&mut self, comment: &str, buffers: &mut RankBuffers) -> Result<(), String> {
        let Some(facts) = comment.strip_prefix("DXT,") else { return self.head(comment, buffers) };
        if let Some((_, name)) = facts.split_once("file_name:") {
            name.trim().clone_into(&mut self.file);
            self.lost = false;
        } else if let Some((_, rest)) = facts.split_once("rank:") {
            let (rank, rest) = rest.split_once(',').unwrap_or((rest, ""));
            // A record shared by all ranks has rank -1.
            let number: i64 = rank.trim().parse().map_err(|_| format!("the rank is {:?}", rank.trim()))?;
            self.rank = u32::try_from(number.max(0)).map_err(|_| format!("the rank is {number}"))?;
            if let Some((_, host)) = rest.split_once("hostname:") {
                host.trim().clone_into(&mut self.host);
            }
        }
        Ok(())
    }

    fn head(&mut self, comment: &str, buffers: &mut RankBuffers) -> Result<(), String> {
        if comment.starts_with("darshan log version:") {
            (self.log, self.rank) = (Log::default(), 0);
            self.file.clear();
        } else if let Some(time) = comment.strip_prefix("start_time:") {
            let began = time::decimal_seconds(time.trim()).and_then(|at| u64::try_from(at).ok());
            let began = began.ok_or_else(|| format!("start_time is {:?}; expected seconds since 1970", time.trim()))?;
            // Logs without a start time have a 0.
            self.log.began = Some(began).filter(|began| *began > 0);
        } else if let Some(warning) = comment.strip_prefix("*WARNING*").or_else(|| comment.strip_prefix("*ERROR*")) {
            let text = warning.trim_start_matches(':').trim();
            buffers.warnings.add(format!("{} is incomplete: Darshan says {text:?}", self.source));
        }
        Ok(())
    }
}
