//! elbencho's `--opslog`: JSON lines, two per operation, one when it begins and one when it is over.

use dlio_event::{Event, Lane, Nanos, OpKind, Outcome, Phase, Position};
use serde::Deserialize;
use std::collections::HashMap;

use super::sheets::{Names, Sheets, Who};
use super::{Parsed, time};

/// Operations that may be open at once; more means that ends are missing.
const OPEN: usize = 1 << 20;

#[derive(Default)]
pub(super) struct Reader {
    open: HashMap<Key, Nanos>,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    worker: i64,
    op: String,
    entry: String,
    offset: u64,
    length: u64,
}

#[derive(Deserialize)]
struct Line {
    date: String,
    worker_rank: i64,
    op_name: String,
    #[serde(default)]
    entry_name: String,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    length: u64,
    is_finished: bool,
    #[serde(default)]
    is_error: bool,
}

impl Reader {
    pub(super) fn line(&mut self, line: &str, sheets: &mut Sheets) -> Result<Parsed, String> {
        let line = line.trim().trim_end_matches(',');
        if line.is_empty() || line == "[" || line == "]" {
            return Ok(Parsed::Nothing);
        }
        let line: Line = serde_json::from_str(line).map_err(|error| format!("no operation of elbencho: {error}"))?;
        let Some(kind) = kind_of(&line.op_name) else { return Ok(Parsed::Skipped(line.op_name)) };
        let at = time::rfc3339(&line.date)
            .and_then(|at| u64::try_from(at).ok())
            .ok_or_else(|| format!("date is {:?}; expected a time like 2026-02-03T04:05:06.789+0100", line.date))?;
        let Line { worker_rank, op_name, entry_name, offset, length, is_finished, is_error, .. } = line;
        let key = Key { worker: worker_rank, op: op_name, entry: entry_name, offset, length };
        if !is_finished {
            if self.open.len() >= OPEN {
                return Err(format!("more than {OPEN} operations are open: lines that end them are missing"));
            }
            self.open.insert(key, at);
            return Ok(Parsed::Nothing);
        }
        let Some(start) = self.open.remove(&key) else {
            return Err("it ends an operation that has not begun".to_owned());
        };
        let moves = kind.is_read() || kind.is_write();
        let failed = is_error;
        let event = Event {
            offset,
            requested: moves.then_some(length),
            bytes: if moves && !failed { length } else { 0 },
            outcome: if failed { Outcome::Io } else { Outcome::Ok },
            ..Event::span(
                kind,
                Lane::MAIN,
                Position { phase: Phase::Train, ..Position::default() },
                start,
                at.max(start),
            )
        };
        let names = Names {
            object: Some(&key.entry).filter(|entry| !entry.is_empty()).map(String::as_str),
            ..Names::default()
        };
        // A worker is a thread of one rank of its own; -1 is the program's main thread.
        let (rank, thread) = u32::try_from(worker_rank).map_or((0, None), |rank| (rank, Some("0")));
        sheets.row(Who::Rank(rank), thread, event, names)?;
        Ok(Parsed::Row)
    }

    pub(super) fn unfinished(&self) -> u64 {
        self.open.len() as u64
    }
}

fn kind_of(word: &str) -> Option<OpKind> {
    let known = [
        ("open", OpKind::Open),
        ("openat", OpKind::Open),
        ("pread", OpKind::Read),
        ("aioread", OpKind::Read),
        ("cufileread", OpKind::Read),
        ("hdfspread", OpKind::Read),
        ("pwrite", OpKind::Write),
        ("aiowrite", OpKind::Write),
        ("cufilewrite", OpKind::Write),
        ("hdfswrite", OpKind::Write),
        ("close", OpKind::Close),
        ("fsync", OpKind::Fsync),
        ("fstat", OpKind::Stat),
        ("stat", OpKind::Stat),
        ("unlinkat", OpKind::Delete),
        ("unlink", OpKind::Delete),
        ("rmdir", OpKind::Delete),
        ("mkdirat", OpKind::CreateNamespace),
        ("mkdir", OpKind::CreateNamespace),
        ("getobject", OpKind::GetRange),
        ("getobjectasync", OpKind::GetRange),
        ("putobject", OpKind::Put),
        ("headobject", OpKind::Head),
        ("headbucket", OpKind::Head),
        ("listobjectsv2", OpKind::List),
        ("deleteobject", OpKind::Delete),
        ("createbucket", OpKind::CreateNamespace),
        ("uploadpart", OpKind::MultipartPart),
        ("uploadpartasync", OpKind::MultipartPart),
        ("createmultipartupload", OpKind::MultipartCreate),
        ("completemultipartupload", OpKind::MultipartComplete),
        ("abortmultipartupload", OpKind::MultipartAbort),
    ];
    let plain = word.strip_prefix("S3").unwrap_or(word);
    known.iter().find(|(name, _)| plain.eq_ignore_ascii_case(name)).map(|(_, kind)| *kind)
}
