//! elbencho's `--opslog`: JSON lines, two per operation, one when it begins and one when it is over.
//!
//! Opens name a file, what follows names its number: a worker's number is the file that it has opened and not yet used.
//! Files that all workers share are opened without a line, so their operations keep the number for a name.

use std::borrow::Cow;
use std::collections::HashMap;

use dlio_event::{Event, Lane, Nanos, OpKind, Outcome, Phase, Position};
use foldhash::fast::RandomState;

use super::json::{self, Value};
use super::rank_buffers::{Names, RankBuffers, Who};
use super::time::Calendar;

/// Operations that may be open at once; more means that ends are missing.
const OPEN: usize = 1 << 20;
/// Files that a worker may have open; more means that their ends are missing.
const FILES: usize = 1 << 10;

#[derive(Default)]
pub(super) struct Reader {
    calendar: Calendar,
    /// Operations that have begun, by who does what, where. The same one may be under way more than once.
    open: HashMap<Key, Vec<Begun>, RandomState>,
    count: usize,
    files: HashMap<i64, Files, RandomState>,
}

/// The files that a worker has open: their names, and their numbers once something was done with them.
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
            return Err("no operation of elbencho: date, worker_rank, op_name and is_finished are needed".to_owned());
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
        // A worker is a thread of one rank of its own; -1 is the program's main thread.
        buffers.row(Who::Rank(rank), thread, event, Names { object, ..Names::default() })
    }

    /// When the operation began of which this is the end; the first of several.
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
    /// The file that a number stands for, as far as its worker has told; an end of an open or a close is taken down.
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
        // These count the files of a worker, the others those of the process.
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
