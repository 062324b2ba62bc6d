//! dftracer's JSON lines, old layout (`ph` "X" and "M") and new (`ph` 1 and 4): system calls, and the spans of DLIO.
//!
//! One file is of one process. The rank is in the name of DLIO's files (`trace-3-of-8-….pfw`) or in a `PR` line; every
//! other process is a rank of its own. File names are told once, by hash; only that table grows with the source.

use std::fmt::Write as _;
use std::path::Path;

use dlio_event::{Event, Lane, OpKind, Outcome, Phase, Position};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;

use super::Parsed;
use super::sheets::{Names, Sheets, Who};

pub(super) struct Reader {
    /// Rank in the name of the file.
    rank: Option<u32>,
    /// Stands for the process when nothing tells its rank.
    name: String,
    files: HashMap<String, String>,
    host: String,
    /// Nanoseconds of a unit of time.
    unit: i64,
    /// The thread that the process began with: DLIO's training loop, or its loader worker.
    main_thread: Option<u64>,
    worker: bool,
    thread: String,
}

#[derive(Deserialize)]
struct Line {
    name: String,
    #[serde(default)]
    cat: String,
    #[serde(default)]
    pid: u64,
    #[serde(default)]
    tid: u64,
    #[serde(default)]
    ts: i64,
    #[serde(default)]
    dur: i64,
    ph: Value,
    #[serde(default)]
    args: Value,
}

impl Reader {
    pub(super) fn new(path: &Path, host: &str) -> Self {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let rank = name.strip_prefix("trace-").and_then(|rest| rest.split_once("-of-")?.0.parse().ok());
        Self {
            rank,
            // Workers that were forked or spawned carry it in their file's name.
            worker: name.contains("fork") || name.contains("spawn"),
            name: path.display().to_string(),
            files: HashMap::new(),
            host: host.to_owned(),
            unit: 1_000,
            main_thread: None,
            thread: String::new(),
        }
    }

    pub(super) fn line(&mut self, line: &str, sheets: &mut Sheets) -> Result<Parsed, String> {
        let line = line.trim().trim_end_matches(',');
        if line.is_empty() || line == "[" || line == "]" {
            return Ok(Parsed::Nothing);
        }
        let line: Line = serde_json::from_str(line).map_err(|error| format!("no event of dftracer: {error}"))?;
        match phase(&line.ph) {
            Some(Shape::Complete) => self.event(&line, sheets),
            Some(Shape::Metadata) => {
                self.metadata(&line);
                Ok(Parsed::Nothing)
            }
            Some(Shape::Other) => Ok(Parsed::Skipped(format!("{} (a counter or an aggregate)", line.name))),
            None => Err(format!("ph is {}; expected \"X\", \"M\", 1 or 4", line.ph)),
        }
    }

    /// Names behind hashes, the host, the rank, the unit of time.
    fn metadata(&mut self, line: &Line) {
        let text = |key: &str| line.args[key].as_str().unwrap_or_default().to_owned();
        match line.name.as_str() {
            "FH" => {
                self.files.insert(text("value"), text("name"));
            }
            "HH" => self.host = text("name"),
            "PR" if line.args["name"] == "rank" => {
                let value = &line.args["value"];
                let rank = value.as_u64().or_else(|| value.as_str()?.parse().ok());
                self.rank = rank.and_then(|rank| u32::try_from(rank).ok()).or(self.rank);
            }
            "CM" if line.args["name"] == "time_metric" => {
                self.unit = match line.args["value"].as_str() {
                    Some("NS") => 1,
                    Some("MS") => 1_000_000,
                    Some("S" | "SEC") => 1_000_000_000,
                    _ => 1_000,
                };
            }
            _ => {}
        }
    }

    fn event(&mut self, line: &Line, sheets: &mut Sheets) -> Result<Parsed, String> {
        if line.cat == "dftracer" {
            // `start` and `end` of the tracer itself.
            return Ok(Parsed::Nothing);
        }
        let main = *self.main_thread.get_or_insert(line.tid);
        let Some(kind) = kind_of(&line.name, &line.cat) else { return Ok(Parsed::Skipped(line.name.clone())) };
        let times = line.ts.checked_mul(self.unit).zip(line.dur.checked_mul(self.unit));
        let (start, took) = times.ok_or_else(|| "its time does not fit into nanoseconds".to_owned())?;
        let (Ok(start), Ok(took)) = (u64::try_from(start), u64::try_from(took)) else {
            return Err(format!("ts is {} and dur {}; expected times since 1970", line.ts, line.dur));
        };
        let number = |key: &str| count(&line.args[key]);
        let moves = kind.is_read() || kind.is_write();
        let result = line.args["ret"].as_i64();
        let failed = result.is_some_and(|result| result < 0);
        let bytes = match (moves, failed) {
            (true, false) => result.and_then(|result| u64::try_from(result).ok()).or_else(|| number("size")),
            (true, true) => None,
            (false, _) => number("image_size"),
        };
        let small = |key: &str| number(key).and_then(|value| u32::try_from(value).ok()).unwrap_or(0);
        let at = Position {
            phase: phase_of(line),
            epoch: small("epoch"),
            block: small("block"),
            step: small("step"),
            sample: number("image_idx"),
        };
        let event = Event {
            offset: if moves { number("offset").unwrap_or(0) } else { 0 },
            requested: if moves { number("count").or_else(|| number("size")) } else { None },
            bytes: bytes.unwrap_or(0),
            outcome: if failed { Outcome::Io } else { Outcome::Ok },
            ..Event::span(kind, Lane::MAIN, at, start, start.saturating_add(took))
        };
        let hashed = line.args["fhash"].as_str().and_then(|hash| self.files.get(hash));
        let object = line.args["fname"].as_str().or(hashed.map(String::as_str));
        let who = self.rank.map_or(Who::Named(&self.name), Who::Rank);
        let rank = sheets.rank(who);
        sheets.host(rank, &self.host);
        let on_main = !self.worker && line.tid == main;
        self.thread.clear();
        let _ = write!(self.thread, "{}:{}", line.pid, line.tid);
        let thread = (!on_main).then_some(self.thread.as_str());
        sheets.row(who, thread, event, Names { object, ..Names::default() })?;
        Ok(Parsed::Row)
    }
}

enum Shape {
    Complete,
    Metadata,
    Other,
}

fn phase(ph: &Value) -> Option<Shape> {
    match (ph.as_str(), ph.as_u64()) {
        (Some("X"), _) | (_, Some(1)) => Some(Shape::Complete),
        (Some("M"), _) | (_, Some(4)) => Some(Shape::Metadata),
        (Some("C" | "B" | "E" | "i" | "I"), _) | (_, Some(2 | 3)) => Some(Shape::Other),
        _ => None,
    }
}

/// A number, also one that is written as text.
fn count(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn phase_of(line: &Line) -> Phase {
    match line.cat.as_str() {
        "checkpoint" => Phase::Checkpoint,
        "data_generator" => Phase::Generate,
        _ if line.args["dataset_type"] == "valid" => Phase::Eval,
        _ => Phase::Train,
    }
}

/// System calls by name, whatever their 64-bit spelling; spans by the names that DLIO gives them.
fn kind_of(name: &str, category: &str) -> Option<OpKind> {
    if matches!(category, "POSIX" | "STDIO" | "LIBC_IO") {
        return system_call(name);
    }
    let span = match (category, name) {
        ("compute" | "ai_framework", "compute") => OpKind::Compute,
        (_, "fetch.iter") => OpKind::Fetch,
        (_, "epoch.block") => OpKind::Epoch,
        ("pipeline", "train") => OpKind::Block,
        ("pipeline", "evaluate" | "test") => OpKind::Eval,
        ("data", "preprocess") => OpKind::Preprocess,
        ("data", "decode") => OpKind::Decode,
        ("comm", "barrier") => OpKind::Barrier,
        ("data_loader", "batch") => OpKind::Batch,
        ("checkpoint", "capture") => OpKind::CheckpointSave,
        ("checkpoint", "restart") => OpKind::CheckpointLoad,
        ("reader", name) if name.ends_with(".read_index") => OpKind::Sample,
        ("data_generator", name) if name.ends_with(".generate") => OpKind::GenerateFile,
        (_, name) if name.ends_with(".get_data") => OpKind::Get,
        (_, name) if name.ends_with(".put_data") => OpKind::Put,
        _ => return None,
    };
    Some(span)
}

fn system_call(name: &str) -> Option<OpKind> {
    let plain = name.trim_start_matches('_').trim_end_matches("64").trim_end_matches("at");
    let kind = match plain {
        "open" | "fopen" | "creat" => OpKind::Open,
        "read" | "pread" | "readv" | "preadv" | "fread" | "pread2" => OpKind::Read,
        "write" | "pwrite" | "writev" | "pwritev" | "fwrite" => OpKind::Write,
        "close" | "fclose" => OpKind::Close,
        "fsync" | "fdatasync" => OpKind::Fsync,
        "xst" | "fxst" | "lxst" | "st" | "fst" | "lst" | "stat" | "fstat" | "access" => OpKind::Stat,
        "opendir" | "readdir" | "scandir" => OpKind::List,
        "mkdir" => OpKind::CreateNamespace,
        "unlink" | "remove" | "rmdir" => OpKind::Delete,
        "rename" => OpKind::Rename,
        _ => return None,
    };
    Some(kind)
}
