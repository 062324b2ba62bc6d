//! Import of fio's iologs. Version 3 has a time in microseconds before each action; version 2 has waits instead of times. Neither
//! has durations.
//!
//! A wait of version 2 lasts until the given number of milliseconds after the start of fio. This was measured with fio 3.33 and
//! agrees with the sources of the development version; the manual describes microseconds after the previous wait.
//!
//! fio appends to an existing log. The jobs of one run (`numjobs`) do so too, each with its own log at its end. A log with other
//! files therefore belongs to a parallel job, and a log with the same files begins when the previous one has ended.

use std::collections::HashSet;
use std::path::Path;

use dlio_event::{Event, Lane, Nanos, OpKind, Phase, Position};

use foldhash::fast::RandomState;

use super::rank_buffers::{Process, RankBuffers, RowNames};

#[derive(Default)]
pub(super) struct Reader {
    /// Name of the job that wrote the log; it stands for the process.
    job: String,
    rank: Option<u32>,
    version: Option<u32>,
    /// Number of earlier jobs in the file.
    jobs: u32,
    /// Files of all logs so far.
    files: HashSet<String, RandomState>,
    /// Whether a log has begun and none of its files has been named.
    is_new: bool,
    /// Start of the log relative to the first log in the file.
    began: Nanos,
    /// Time of the last action. In a log without times, the sum of its waits.
    now: Nanos,
}

impl Reader {
    pub(super) fn new(path: &Path) -> Self {
        Self { job: path.display().to_string(), ..Self::default() }
    }

    pub(super) fn line(&mut self, line: &str, buffers: &mut RankBuffers) -> Result<(), String> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        let header = line.strip_prefix("fio version ").and_then(|rest| rest.strip_suffix(" iolog"));
        let version = match (header.and_then(|version| version.parse().ok()), self.version) {
            (Some(version @ (2 | 3)), _) => {
                self.is_new = self.version.is_some();
                (self.version, self.began) = (Some(version), self.now);
                buffers.times_are_relative();
                return Ok(());
            }
            (None, Some(version)) => version,
            _ => return Err(format!("{line:?}; expected `fio version 2 iolog` or `fio version 3 iolog`")),
        };
        let (at, action) = if version == 3 {
            let (time, action) = line.split_once(BLANKS).ok_or("expected a time and an action")?;
            let micros: Option<u64> = time.parse().ok();
            let at = micros.and_then(|micros| micros.checked_mul(1_000)?.checked_add(self.began));
            (at.ok_or_else(|| format!("{time:?} is not a time in microseconds"))?, action.trim_start())
        } else {
            (self.now, line)
        };
        let action = Action::of(action)?;
        if action.word == "wait" && version == 2 {
            let nanos = action.offset.checked_mul(1_000_000).and_then(|nanos| nanos.checked_add(self.began));
            self.now = self.now.max(nanos.ok_or("the sum of its waits is too large for nanoseconds")?);
            return Ok(());
        }
        self.now = self.now.max(at);
        let kind = match action.word {
            "add" => {
                self.adds(action.file, buffers);
                return Ok(());
            }
            "open" => OpKind::Open,
            "close" => OpKind::Close,
            "read" => OpKind::Read,
            "write" => OpKind::Write,
            "sync" | "datasync" | "sync_file_range" | "syncfs" => OpKind::Fsync,
            other => {
                buffers.skip(other, "");
                return Ok(());
            }
        };
        let moves = matches!(kind, OpKind::Read | OpKind::Write);
        if moves && action.length.is_none() {
            return Err(format!("{} has no offset and length", action.word));
        }
        let length = action.length.filter(|_| moves);
        let event = Event {
            offset: if moves { action.offset } else { 0 },
            requested: length,
            bytes: length.unwrap_or(0),
            ..Event::span(kind, Lane::MAIN, Position { phase: Phase::Train, ..Position::default() }, at, at)
        };
        let names = RowNames { object: Some(action.file), ..RowNames::default() };
        let rank = match self.rank {
            Some(rank) => rank,
            None => *self.rank.insert(buffers.rank(Process::Named(&format!("{} {}", self.job, self.jobs)))),
        };
        buffers.row(Process::Rank(rank), Some("0"), event, names)
    }

    /// Handles the addition of a file; the first one decides to which job the log belongs.
    fn adds(&mut self, file: &str, buffers: &mut RankBuffers) {
        let is_known = !self.files.insert(file.to_owned());
        if !std::mem::take(&mut self.is_new) || is_known {
            return;
        }
        self.jobs += 1;
        (self.rank, self.began, self.now) = (None, 0, 0);
        buffers.warnings.add(format!(
            "{} has the logs of several jobs, one behind the other: those of other files count as jobs at the same time",
            self.job
        ));
    }
}

/// An action: `file action`, `file action offset length` or `file wait milliseconds`. File names may contain spaces.
struct Action<'a> {
    file: &'a str,
    word: &'a str,
    offset: u64,
    length: Option<u64>,
}

impl<'a> Action<'a> {
    fn of(text: &'a str) -> Result<Self, String> {
        let (before, last) = last_word(text).ok_or_else(|| format!("{text:?}; expected a file and an action"))?;
        if let (Ok(number), Some((rest, word))) = (last.parse(), last_word(before)) {
            if word == "wait" {
                return Ok(Self { file: rest, word, offset: number, length: None });
            }
            if let (Ok(offset), Some((file, word))) = (word.parse(), last_word(rest)) {
                return Ok(Self { file, word, offset, length: Some(number) });
            }
        }
        Ok(Self { file: before, word: last, offset: 0, length: None })
    }
}

/// Characters that separate words.
const BLANKS: [char; 2] = [' ', '\t'];

/// Splits off the last word and returns it with the text before it.
fn last_word(text: &str) -> Option<(&str, &str)> {
    let (before, word) = text.rsplit_once(BLANKS)?;
    Some((before.trim_end_matches(BLANKS), word)).filter(|(before, _)| !before.is_empty())
}
