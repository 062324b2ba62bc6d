//! Import of elbencho's `--opslog`: JSON lines, two per operation, at its begin and at its end.
//!
//! The lines of an open name the file, and the lines of later operations have its number. A worker's number stands for the file
//! that the worker has opened and not yet used. Files shared by all workers are opened without a line, so their operations keep
//! the number as a name.

use std::borrow::Cow;
use std::collections::HashMap;

use dlio_event::{Event, Lane, Nanos, OpKind, Outcome, Phase, Position};
use foldhash::fast::RandomState;

use super::json::{self, Value};
use super::rank_buffers::{Process, RankBuffers, RowNames};
use super::time::TimeParser;

/// Maximum number of operations in flight; more means that end lines are missing.
const OPEN: usize = 1 << 20;
/// Maximum number of open files per worker; more means that close lines are missing.
const FILES: usize = 1 << 10;

#[derive(Default)]
pub(super) struct Reader {
    calendar: TimeParser,
    /// Operations in flight. The same operation may be in flight more than once.
    open: HashMap<Key, Vec<Begun>, RandomState>,
    count: usize,
    files: HashMap<i64, Files, RandomState>,
}

/// Open files of a worker: their names, and their numbers after the first use.
#[derive(Default)]
struct Files(Vec<(String, Option<u64>)>);

#[derive(PartialEq, Eq, Hash)]
struct Key {
    worker: i64,
    op: OpKind,
    offset: u64,
    length: u64,
}

struct Begun {
    entry: String,
    at: Nanos,
}

#[derive(Default)]
struct Line<'a> {
    date: Option<Cow<'a, str>>,
    worker: Option<i64>,
    op: Option<Cow<'a, str>>,
    entry: Cow<'a, str>,
    offset: u64,
    length: u64,
    finished: Option<bool>,
    failed: bool,
}

impl<'a> Line<'a> {
    fn of(text: &'a str) -> Result<Self, String> {
        let mut line = Self::default();
        json::members(text, |inside, key, value| if inside.is_none() { line.member(key, value) } else { Ok(()) })?;
        Ok(line)
    }

    fn member(&mut self, key: &str, value: Value<'a>) -> Result<(), String> {
        let wrong = |value: &Value<'_>| format!("{key} is {value:?}");
        let number = |value: &Value<'_>| value.number().ok_or_else(|| wrong(value));
        let truth = |value: &Value<'_>| match value {
            Value::Truth(truth) => Ok(*truth),
            _ => Err(wrong(value)),
        };
        match key {
            "date" => self.date = value.text(),
            "worker_rank" => self.worker = Some(value.number().ok_or_else(|| wrong(&value))?),
            "op_name" => self.op = value.text(),
            "entry_name" => self.entry = value.text().unwrap_or_default(),
            "offset" => self.offset = number(&value)?,
            "length" => self.length = number(&value)?,
            "is_finished" => self.finished = Some(truth(&value)?),
            "is_error" => self.failed = truth(&value)?,
            _ => {}
        }
        Ok(())
    }
}

impl Reader {
    pub(super) fn line(&mut self, line: &str, buffers: &mut RankBuffers) -> Result<(), String> {
        let line = line.trim().trim_end_matches(',');
        if line.is_empty() || line == "[" || line == "]" {
            return Ok(());
        }
        let line = Line::of(line)?;
        let Line { date: Some(date), worker: Some(worker), op: Some(op), finished: Some(finished), .. } = &line else {
            return Err("not an elbencho operation: date, worker_rank, op_name and is_finished are required".to_owned());
        };
        let Some(kind) = kind_of(op) else {
            buffers.skip(op, "");
            return Ok(());
        };
        let at = self
            .calendar
            .nanos(date)
            .ok_or_else(|| format!("date is {date:?}; expected a time like 2026-02-03T04:05:06.789+0100"))?;
        let key = Key { worker: *worker, op: kind, offset: line.offset, length: line.length };
        if !finished {
            if self.count >= OPEN {
                return Err(format!("more than {OPEN} operations are open: lines that end them are missing"));
            }
            self.count += 1;
            self.open.entry(key).or_default().push(Begun { entry: line.entry.into_owned(), at });
            return Ok(());
        }
        let begun = self.begun(&key, &line.entry).ok_or("it ends an operation that has not begun")?;
        let (rank, thread) = u32::try_from(*worker).map_or((0, None), |rank| (rank, Some("0")));
        let event = event(kind, &line, begun, at);
        let files = self.files.entry(*worker).or_default();
        let name = files.name(kind, op, &line);
        let object = Some(name.as_deref().unwrap_or(&line.entry)).filter(|entry| !entry.is_empty());
        // A worker is a thread of a single rank; -1 is the program's main thread.
        buffers.row(Process::Rank(rank), thread, event, RowNames { object, ..RowNames::default() })
    }

    /// Returns the begin of the operation that ends here; if there are several, the first.
    fn begun(&mut self, key: &Key, entry: &str) -> Option<Nanos> {
        let open = self.open.get_mut(key)?;
        let place = open.iter().position(|begun| begun.entry == entry)?;
        let begun = open.remove(place);
        if open.is_empty() {
            self.open.remove(key);
        }
        self.count -= 1;
        Some(begun.at)
    }

    pub(super) fn unfinished(&self) -> u64 {
        self.count as u64
    }
}

impl Files {
    /// Returns the file name of a number as far as it is known, and updates the open files at the end of an open or a close.
    fn name(&mut self, kind: OpKind, op: &str, line: &Line<'_>) -> Option<String> {
        let Self(files) = self;
        if kind == OpKind::Open {
            if files.len() >= FILES {
                files.clear();
            }
            if !line.failed {
                files.push((line.entry.clone().into_owned(), None));
            }
            return None;
        }
        let number = line.entry.parse().ok()?;
        let word = op.to_ascii_lowercase();
        // These operations count the files of a worker; the others count those of the process.
        if word.starts_with("cufile") || word.starts_with("hdfs") {
            return files.first().filter(|_| files.len() == 1).map(|(name, _)| name.clone());
        }
        let at = {
            let known = files.iter().position(|(_, known)| *known == Some(number));
            known.or_else(|| {
                let mut unused = files.iter().enumerate().filter(|(_, (_, known))| known.is_none());
                let (at, _) = unused.next().filter(|_| unused.next().is_none())?;
                Some(at)
            })?
        };
        if kind == OpKind::Close {
            return Some(files.remove(at).0);
        }
        let (name, known) = files.get_mut(at)?;
        known.get_or_insert(number);
        Some(name.clone())
    }
}

fn event(kind: OpKind, line: &Line<'_>, start: Nanos, end: Nanos) -> Event {
    let moves = kind.is_read() || kind.is_write();
    let at = Position { phase: Phase::Train, ..Position::default() };
    Event {
        offset: line.offset,
        requested: moves.then_some(line.length),
        bytes: if moves && !line.failed { line.length } else { 0 },
        outcome: if line.failed { Outcome::Io } else { Outcome::Ok },
        ..Event::span(kind, Lane::MAIN, at, start, end.max(start))
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
