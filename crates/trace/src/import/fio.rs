//! fio's iologs: version 3, a time in microseconds in front of every action, and version 2, which has no times but
//! waits. Neither says how long an action took.

use std::path::Path;

use dlio_event::{Event, Lane, Nanos, OpKind, Phase, Position};

use super::sheets::{Names, Sheets, Who};

pub(super) struct Reader {
    /// One log is of one job: its name stands for the process.
    job: String,
    rank: Option<u32>,
    version: Option<u32>,
    /// Where the waits of a log without times have brought it.
    now: Nanos,
}

impl Reader {
    pub(super) fn new(path: &Path) -> Self {
        Self { job: path.display().to_string(), rank: None, version: None, now: 0 }
    }

    pub(super) fn line(&mut self, line: &str, sheets: &mut Sheets) -> Result<(), String> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        let Some(version) = self.version else {
            let version = line.strip_prefix("fio version ").and_then(|rest| rest.strip_suffix(" iolog"));
            match version.and_then(|version| version.parse().ok()) {
                Some(version @ (2 | 3)) => self.version = Some(version),
                _ => return Err(format!("{line:?}; expected `fio version 2 iolog` or `fio version 3 iolog`")),
            }
            sheets.times_are_relative();
            return Ok(());
        };
        let (at, action) = if version == 3 {
            let (time, action) = line.split_once(' ').ok_or("a time and an action were expected")?;
            let micros: Option<u64> = time.parse().ok();
            let at = micros.and_then(|micros| micros.checked_mul(1_000));
            (at.ok_or_else(|| format!("{time:?} is no time in microseconds"))?, action)
        } else {
            (self.now, line)
        };
        let action = Action::of(action)?;
        if action.word == "wait" && version == 2 {
            // A wait counts from the one before; fio discards what is below 100 microseconds.
            let nanos = if action.offset < 100 { 0 } else { action.offset.saturating_mul(1_000) };
            self.now = self.now.checked_add(nanos).ok_or("its waits do not fit into nanoseconds")?;
            return Ok(());
        }
        let kind = match action.word {
            "add" => return Ok(()),
            "open" => OpKind::Open,
            "close" => OpKind::Close,
            "read" => OpKind::Read,
            "write" => OpKind::Write,
            "sync" | "datasync" => OpKind::Fsync,
            other => {
                sheets.skip(other, "");
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
        let rank = *self.rank.get_or_insert_with(|| sheets.rank(Who::Named(&self.job)));
        sheets.row(Who::Rank(rank), Some("0"), event, names)
    }
}

/// `file action`, `file action offset length`, or `file wait microseconds`; a file's name may hold spaces.
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
        if let (Ok(offset), Some((file, "wait"))) = (word.parse::<u64>(), file.rsplit_once(' ')) {
            return Ok(Self { file, word: "wait", offset, length: None });
        }
        Ok(Self { file, word, offset: 0, length: None })
    }
}
