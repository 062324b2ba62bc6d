//! What `darshan-dxt-parser` prints: a block per file and rank, then one line per segment with times relative to the
//! start of the job.

use dlio_event::{Event, Lane, OpKind, Phase, Position};

use super::sheets::{Names, Sheets, Who};
use super::{Parsed, time};

#[derive(Default)]
pub(super) struct Reader {
    file: String,
    rank: u32,
    host: String,
}

impl Reader {
    pub(super) fn line(&mut self, line: &str, sheets: &mut Sheets) -> Result<Parsed, String> {
        let line = line.trim();
        if let Some(comment) = line.strip_prefix('#') {
            self.comment(comment.trim())?;
            return Ok(Parsed::Nothing);
        }
        if line.is_empty() {
            return Ok(Parsed::Nothing);
        }
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [module, rank, direction, _segment, offset, length, start, end, ..] = fields[..] else {
            return Err(format!("{} fields; a segment has at least 8", fields.len()));
        };
        if !module.starts_with("X_") {
            return Err(format!("{module:?} is no module; expected X_POSIX or X_MPIIO"));
        }
        // What MPI-IO was asked for reaches the files as POSIX calls: counting both would double the bytes.
        if module == "X_MPIIO" {
            return Ok(Parsed::Skipped("X_MPIIO (its POSIX calls are imported)".to_owned()));
        }
        let kind = match direction {
            "read" => OpKind::Read,
            "write" => OpKind::Write,
            other => return Ok(Parsed::Skipped(other.to_owned())),
        };
        let number =
            |name: &str, text: &str| text.parse::<u64>().map_err(|_| format!("{name} is {text:?}; expected a number"));
        let moment = |name: &str, text: &str| {
            let at = time::decimal_seconds(text).and_then(|at| u64::try_from(at).ok());
            at.ok_or_else(|| format!("{name} is {text:?}; expected seconds"))
        };
        let rank = rank.parse::<u32>().unwrap_or(self.rank);
        let (offset, length) = (number("offset", offset)?, number("length", length)?);
        let (start, end) = (moment("start", start)?, moment("end", end)?);
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
        sheets.times_are_relative();
        sheets.host(rank, &self.host);
        // Newer logs name the POSIX thread in brackets behind the times or in a column of their own.
        let thread = fields.get(8).map_or("0", |thread| thread.trim_matches(|c: char| !c.is_ascii_alphanumeric()));
        sheets.row(Who::Rank(rank), Some(thread), event, Names { object: Some(&self.file), ..Names::default() })?;
        Ok(Parsed::Row)
    }

    /// `DXT, file_id: 9457796068806373448, file_name: /tmp/test` and `DXT, rank: 0, hostname: shane-thinkpad`.
    fn comment(&mut self, comment: &str) -> Result<(), String> {
        let Some(facts) = comment.strip_prefix("DXT,") else { return Ok(()) };
        if let Some((_, name)) = facts.split_once("file_name:") {
            name.trim().clone_into(&mut self.file);
        } else if let Some((_, rest)) = facts.split_once("rank:") {
            let (rank, rest) = rest.split_once(',').unwrap_or((rest, ""));
            self.rank = rank.trim().parse().map_err(|_| format!("the rank is {:?}", rank.trim()))?;
            if let Some((_, host)) = rest.split_once("hostname:") {
                host.trim().clone_into(&mut self.host);
            }
        }
        Ok(())
    }
}
