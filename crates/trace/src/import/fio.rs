//! fio's iologs: version 3, a time in microseconds in front of every action, and version 2, which has no times but
//! waits. Neither says how long an action took.
//!
//! A wait of version 2 lasts until so many milliseconds after the start of fio. That is what fio does (3.33 was measured, and the sources
//! of the development version say the same); its manual has microseconds after the wait before.
//!
//! fio appends to a log that exists. The jobs of a run do so too, each with its own log at its end (`numjobs`): a log of other files is
//! that of a job beside the one before, and one of the same files begins when that one has ended.

use std::collections::HashSet;
use std::path::Path;

use dlio_event::{Event, Lane, Nanos, OpKind, Phase, Position};

use foldhash::fast::RandomState;

use super::rank_buffers::{Names, RankBuffers, Who};

#[derive(Default)]
pub(super) struct Reader {
    /// One log is of one job: its name stands for the process.
    job: String,
    rank: Option<u32>,
    version: Option<u32>,
    /// Jobs before this one in the file.
    jobs: u32,
    /// Files of all logs so far.
    files: HashSet<String, RandomState>,
    /// A log has begun, and none of its files was named.
    is_new: bool,
    /// When the log began, after those before it in the file.
    began: Nanos,
    /// Its last moment: in a log without times, where its waits have brought it.
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
            let (time, action) = line.split_once(BLANKS).ok_or("a time and an action were expected")?;
            let micros: Option<u64> = time.parse().ok();
            let at = micros.and_then(|micros| micros.checked_mul(1_000)?.checked_add(self.began));
            (at.ok_or_else(|| format!("{time:?} is no time in microseconds"))?, action.trim_start())
        } else {
            (self.now, line)
        };
        let action = Action::of(action)?;
        if action.word == "wait" && version == 2 {
            let nanos = action.offset.checked_mul(1_000_000).and_then(|nanos| nanos.checked_add(self.began));
            self.now = self.now.max(nanos.ok_or("its waits do not fit into nanoseconds")?);
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
        let names = Names { object: Some(action.file), ..Names::default() };
        let rank = match self.rank {
            Some(rank) => rank,
            None => *self.rank.insert(buffers.rank(Who::Named(&format!("{} {}", self.job, self.jobs)))),
        };
        buffers.row(Who::Rank(rank), Some("0"), event, names)
    }

    /// A log names a file: the first one tells whose log it is.
    fn adds(&mut self, file: &str, buffers: &mut RankBuffers) {
        let is_known = !self.files.insert(file.to_owned());
        if !std::mem::take(&mut self.is_new) || is_known {
            return;
        }
        self.jobs += 1;
        (self.rank, self.began, self.now) = (None, 0, 0);
        buffers.remarks.add(format!(
            "{} has the logs of several jobs, one behind the other: those of other files count as jobs at the same time",
            self.job
        ));
    }
}

/// `file action`, `file action offset length`, or `file wait milliseconds`; a file's name may hold spaces.
struct Action<'a> {
    file: &'a str,
    word: &'a str,
    offset: u64,
    length: Option<u64>,
}

impl<'a> Action<'a> {
    fn of(text: &'a str) -> Result<Self, String> {
        let (before, last) = last_word(text).ok_or_else(|| format!("{text:?}: a file and an action were expected"))?;
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

/// fio separates words by any blanks.
const BLANKS: [char; 2] = [' ', '\t'];

/// The last word, and what stands before it.
fn last_word(text: &str) -> Option<(&str, &str)> {
    let (before, word) = text.rsplit_once(BLANKS)?;
    Some((before.trim_end_matches(BLANKS), word)).filter(|(before, _)| !before.is_empty())
}
