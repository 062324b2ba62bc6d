//! fio's iologs: version 3, a time in microseconds in front of every action, and version 2, which has no times but
//! waits. Neither says how long an action took.

use std::path::Path;

use dlio_event::{Event, Lane, Nanos, OpKind, Phase, Position};

use super::Parsed;
use super::sheets::{Names, Sheets, Who};

pub(super) struct Reader {
    /// One log is of one job: its name stands for the process.
    job: String,
    version: Option<u32>,
    /// Where the waits of a log without times have brought it.
    now: Nanos,
}

impl Reader {
    pub(super) fn new(path: &Path) -> Self {
        Self { job: path.display().to_string(), version: None, now: 0 }
    }

    pub(super) fn line(&mut self, line: &str, sheets: &mut Sheets) -> Result<Parsed, String> {
        let line = line.trim();
        if line.is_empty() {
            return Ok(Parsed::Nothing);
        }
        let Some(version) = self.version else {
            let version = line.strip_prefix("fio version ").and_then(|rest| rest.strip_suffix(" iolog"));
            match version.and_then(|version| version.parse().ok()) {
                Some(version @ (2 | 3)) => self.version = Some(version),
                _ => return Err(format!("{line:?}; expected `fio version 2 iolog` or `fio version 3 iolog`")),
            }
            sheets.times_are_relative();
            return Ok(Parsed::Nothing);
        };
        let (at, action) = if version == 3 {
            let (time, action) = line.split_once(' ').ok_or("a time and an action were expected")?;
            let micros: u64 = time.parse().map_err(|_| format!("{time:?} is no time in microseconds"))?;
            (micros.saturating_mul(1_000), action)
        } else {
            (self.now, line)
        };
        let action = Action::of(action)?;
        if action.word == "wait" && version == 2 {
            // The wait of `offset` microseconds counts from the start of the log.
            self.now = action.offset.saturating_mul(1_000);
            return Ok(Parsed::Nothing);
        }
        let kind = match action.word {
            "add" => return Ok(Parsed::Nothing),
            "open" => OpKind::Open,
            "close" => OpKind::Close,
            "read" => OpKind::Read,
            "write" => OpKind::Write,
            "sync" | "datasync" => OpKind::Fsync,
            other => return Ok(Parsed::Skipped(other.to_owned())),
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
        sheets.row(Who::Named(&self.job), Some("0"), event, names)?;
        Ok(Parsed::Row)
    }
}

/// `file action` or `file action offset length`; a file's name may hold spaces.
struct Action<'a> {
    file: &'a str,
    word: &'a str,
    offset: u64,
    length: Option<u64>,
}

impl<'a> Action<'a> {
    fn of(text: &'a str) -> Result<Self, String> {
        let mut parts = text.rsplitn(4, ' ');
        let (last, third) = (parts.next().unwrap_or_default(), parts.next());
        if let (Ok(length), Some(offset), Some(word), Some(file)) =
            (last.parse::<u64>(), third.and_then(|text| text.parse::<u64>().ok()), parts.next(), parts.next())
        {
            return Ok(Self { file, word, offset, length: Some(length) });
        }
        let (file, word) =
            text.rsplit_once(' ').ok_or_else(|| format!("{text:?}: a file and an action were expected"))?;
        Ok(Self { file, word, offset: 0, length: None })
    }
}
