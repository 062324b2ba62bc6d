//! Import of dftracer's JSON lines in the old layout (`ph` "X" and "M") and the new one (`ph` 1 and 4): system calls, and the
//! spans of DLIO.
//!
//! Each file belongs to one process. The rank is in the name of DLIO's files (`trace-3-of-8-….pfw`) or in a `PR` line; any other
//! process gets a rank of its own. Each file name occurs once, with its hash, and the table of these names is the only memory
//! that grows with the source.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use dlio_event::{Event, Lane, OpKind, Outcome, Phase, Position};
use foldhash::fast::RandomState;

use super::dftracer_names::kind_of;
use super::dlio_loop::{Epochs, Loop, Span, WorkerSteps};
use super::json::{self, Value};
use super::rank_buffers::{Process, RankBuffers, RowNames};

/// Maximum number of threads whose names are kept.
const THREADS: usize = 1 << 16;
/// Maximum number of files whose positions are kept.
const POSITIONS: usize = 1 << 16;

pub(super) struct Reader {
    /// Rank from the name of the file or from a line.
    rank: Option<u32>,
    /// Name of the process, used if the source has no rank, and the rank assigned to it.
    name: String,
    named: Option<u32>,
    files: HashMap<String, String, RandomState>,
    host: String,
    /// Time unit in nanoseconds, once it is known.
    unit: Option<i64>,
    /// First thread of the process: DLIO's training loop, or its loader worker.
    main_thread: Option<u64>,
    worker: bool,
    threads: HashMap<(u64, u64), String, RandomState>,
    /// Current positions of files, for reads and writes without an offset.
    positions: HashMap<String, u64, RandomState>,
    /// State of the training loop, if this is its process.
    training: Loop,
    /// Whether the lines state epochs and blocks themselves.
    is_exact: bool,
    /// Whether the tracer has logged its start and not its end.
    is_open: bool,
    steps: WorkerSteps,
}

/// Members of a line that the import uses. Numbers in `args` are kept as written.
#[derive(Default)]
struct Line<'a> {
    name: Cow<'a, str>,
    cat: Cow<'a, str>,
    pid: u64,
    tid: u64,
    ts: i64,
    dur: i64,
    ph: Option<Shape>,
    args: Args<'a>,
}

#[derive(Default)]
struct Args<'a> {
    name: Option<Cow<'a, str>>,
    value: Option<Value<'a>>,
    fhash: Option<Cow<'a, str>>,
    fname: Option<Cow<'a, str>>,
    dataset: Option<Cow<'a, str>>,
    hostname: Option<Cow<'a, str>>,
    whence: Option<u64>,
    ret: Option<i64>,
    /// Outcome of a failed operation, in exports of this program.
    outcome: Option<Outcome>,
    size: Option<u64>,
    /// Number of items of `size` bytes each, for buffered calls.
    nmemb: Option<u64>,
    count: Option<u64>,
    offset: Option<u64>,
    image_size: Option<u64>,
    image: Option<u64>,
    /// Whether the export of this program derived the line from another one.
    derived: bool,
    epoch: u32,
    block: u32,
    step: u32,
}

impl<'a> Line<'a> {
    fn of(text: &'a str) -> Result<Self, String> {
        let mut line = Self::default();
        json::members(text, |inside, key, value| match inside {
            None => line.member(key, value),
            Some("args") => {
                line.args.member(key, value);
                Ok(())
            }
            Some(_) => Ok(()),
        })?;
        if line.name.is_empty() {
            return Err("not a dftracer event: name is missing".to_owned());
        }
        Ok(line)
    }

    fn member(&mut self, key: &str, value: Value<'a>) -> Result<(), String> {
        let wrong = |value: &Value<'_>| format!("not a dftracer event: {key} is {value:?}");
        let number = |value: &Value<'_>| value.number().ok_or_else(|| wrong(value));
        let time = |value: &Value<'_>| value.number().ok_or_else(|| wrong(value));
        match key {
            "name" => self.name = value.text().ok_or("not a dftracer event: name is not a string")?,
            "cat" => self.cat = value.text().ok_or("not a dftracer event: cat is not a string")?,
            "pid" => self.pid = number(&value)?,
            "tid" => self.tid = number(&value)?,
            "ts" => self.ts = time(&value)?,
            "dur" => self.dur = time(&value)?,
            "ph" => self.ph = Some(phase(&value).ok_or_else(|| wrong(&value))?),
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Args<'a> {
    fn member(&mut self, key: &str, value: Value<'a>) {
        match key {
            "name" => self.name = value.text(),
            "value" => self.value = Some(value),
            "fhash" => self.fhash = value.text(),
            "fname" => self.fname = value.text(),
            "dataset_type" => self.dataset = value.text(),
            "hostname" => self.hostname = value.text(),
            "whence" => self.whence = value.number(),
            "nmemb" => self.nmemb = value.number(),
            "ret" => self.ret = value.number(),
            "size" => self.size = value.number(),
            "count" => self.count = value.number(),
            "derived" => self.derived = true,
            "offset" => self.offset = value.number(),
            "outcome" => self.outcome = value.text().and_then(|name| Outcome::from_name(&name)),
            "image_size" => self.image_size = value.number(),
            "image_idx" => self.image = value.number(),
            "epoch" => self.epoch = value.number().unwrap_or(0),
            "block" => self.block = value.number().unwrap_or(0),
            "step" => self.step = value.number().unwrap_or(0),
            _ => {}
        }
    }
}

impl Reader {
    pub(super) fn new(path: &Path, host: &str) -> Self {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let rank = name.strip_prefix("trace-").and_then(|rest| rest.split_once("-of-")?.0.parse().ok());
        Self {
            rank,
            // The names of files written by forked or spawned workers contain the worker.
            worker: Self::is_worker(path),
            name: path.display().to_string(),
            named: None,
            files: HashMap::default(),
            host: host.to_owned(),
            unit: None,
            main_thread: None,
            threads: HashMap::default(),
            positions: HashMap::default(),
            training: Loop::default(),
            is_exact: false,
            is_open: false,
            steps: WorkerSteps::default(),
        }
    }

    /// Whether a file name belongs to a loader's worker. Files of training loops are read before those of workers.
    pub(super) fn is_worker(path: &Path) -> bool {
        path.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            name.contains(".pfw") && (name.contains("fork") || name.contains("spawn"))
        })
    }

    pub(super) fn line(&mut self, line: &str, buffers: &mut RankBuffers) -> Result<(), String> {
        let line = line.trim().trim_end_matches(',');
        if line.is_empty() || line == "[" || line == "]" {
            return Ok(());
        }
        match Line::of(line) {
            Ok(line) => self.known(line, buffers),
            // Releases of 2023 end objects and arrays with a comma.
            Err(reason) => match json::without_trailing_commas(line) {
                Some(plain) => Line::of(&plain).and_then(|line| self.known(line, buffers)),
                None => Err(reason),
            },
        }
    }

    fn known(&mut self, line: Line<'_>, buffers: &mut RankBuffers) -> Result<(), String> {
        match line.ph {
            Some(Shape::Complete) => self.event(&line, buffers),
            Some(Shape::Metadata) => {
                self.metadata(line);
                Ok(())
            }
            Some(Shape::Other) => {
                buffers.skip(&line.name, "a counter or an aggregate");
                Ok(())
            }
            None => Err("not a dftracer event: ph is missing".to_owned()),
        }
    }

    /// Takes the name of a hash, the host, the rank or the time unit from a metadata line.
    fn metadata(&mut self, line: Line<'_>) {
        let Args { name: Some(name), value, .. } = line.args else { return };
        let value = value.unwrap_or(Value::Other);
        match (line.name.as_ref(), name.as_ref()) {
            ("FH", _) => {
                if let Some(hash) = value.text() {
                    self.files.insert(hash.into_owned(), name.into_owned());
                }
            }
            ("HH", _) => self.host = name.into_owned(),
            ("PR", "program") => self.is_exact |= value.text().is_some_and(|program| program == "dlio-rs"),
            ("PR", "rank") => self.rank = value.number().or(self.rank),
            ("CM", "time_metric") => {
                self.unit = match value.text().as_deref() {
                    Some("NS") => Some(1),
                    Some("US") => Some(1_000),
                    Some("MS") => Some(1_000_000),
                    Some("S" | "SEC") => Some(1_000_000_000),
                    _ => self.unit,
                };
            }
            _ => {}
        }
    }

    fn event(&mut self, line: &Line<'_>, buffers: &mut RankBuffers) -> Result<(), String> {
        if line.cat == "dftracer" {
            // A line of the tracer itself. Its `end` is the last line of a process that was not killed.
            self.is_open = line.name == "start" || (self.is_open && line.name != "end");
            return Ok(());
        }
        if line.args.derived {
            return Ok(());
        }
        let unit = *self.unit.get_or_insert_with(|| unit_of(line.ts));
        let main = *self.main_thread.get_or_insert(line.tid);
        let hashed = line.args.fhash.as_ref().and_then(|hash| self.files.get(hash.as_ref()));
        let object = line.args.fname.as_deref().or(hashed.map(String::as_str));
        let in_loop = !self.worker && line.tid == main;
        let Some(kind) = kind_of(&line.name, &line.cat) else {
            if !in_loop || !update_loop(&mut self.training, line, unit) {
                buffers.skip(&line.name, "");
            }
            if let Some(object) = object {
                seek(&mut self.positions, object, line);
            }
            return Ok(());
        };
        // Only a range request has a requested length.
        let ranged = kind == OpKind::Get && line.args.count.is_some();
        let kind = if ranged { OpKind::GetRange } else { kind };
        let mut event = Self::row(kind, line, unit)?;
        if let Some(object) = object {
            advance(&mut self.positions, object, line, &mut event);
        }
        let rank = match self.rank {
            Some(rank) => rank,
            None => *self.named.get_or_insert_with(|| buffers.rank(Process::Named(&self.name))),
        };
        buffers.host(rank, line.args.hostname.as_deref().unwrap_or(&self.host))?;
        let thread = if in_loop {
            None
        } else {
            if self.threads.len() > THREADS {
                self.threads.clear();
            }
            let name = || format!("{}:{}", line.pid, line.tid);
            Some(self.threads.entry((line.pid, line.tid)).or_insert_with(name).as_str())
        };
        let names = RowNames { object, ..RowNames::default() };
        // Only the reference numbers epochs in `count` instead of `epoch`, and it does not number blocks.
        self.is_exact |= line.args.block > 0 || (kind == OpKind::Epoch && line.args.count.is_none());
        if self.is_exact {
            return buffers.row(Process::Rank(rank), thread, event, names);
        }
        let spans = if in_loop { place(&mut self.training, &mut event, line) } else { Vec::new() };
        if self.worker {
            if let Some(epochs) = buffers.loops.get(&rank) {
                place_of_worker(epochs, &mut self.steps, &mut event);
            }
        } else if !in_loop && let Some((epoch, phase, _)) = self.training.place(event.start) {
            event.at = Position { epoch, phase: part(event.at.phase, phase), ..event.at };
        }
        for (number, (start, end)) in (1..).zip(&spans) {
            let at = Position { block: number, ..event.at };
            buffers.row(Process::Rank(rank), thread, Event { start: *start, end: *end, at, ..event }, names)?;
        }
        if spans.is_empty() { buffers.row(Process::Rank(rank), thread, event, names) } else { Ok(()) }
    }

    /// Stores the epochs of the training loop at the end of its file, for the files of the rank's workers.
    pub(super) fn finish(self, buffers: &mut RankBuffers) {
        if self.is_open {
            let why = "the tracer's `end` is missing, so its process was killed or still runs";
            buffers.warnings.add(format!("{} is incomplete: {why}", self.name));
        }
        if let Some(rank) = self.rank.or(self.named).filter(|_| !self.worker && !self.is_exact) {
            buffers.loops.insert(rank, self.training.into_epochs());
        }
    }

    fn row(kind: OpKind, line: &Line<'_>, unit: i64) -> Result<Event, String> {
        let times = line.ts.checked_mul(unit).zip(line.dur.checked_mul(unit));
        let (start, took) = times.ok_or_else(|| "its time is too large for nanoseconds".to_owned())?;
        let (Ok(start), Ok(took)) = (u64::try_from(start), u64::try_from(took)) else {
            return Err(format!("ts is {} and dur {}; expected times since 1970", line.ts, line.dur));
        };
        let args = &line.args;
        let moves = kind.is_read() || kind.is_write();
        let failed = args.ret.is_some_and(|result| result < 0);
        // fread and fwrite count items.
        let (item, asked) = match args.nmemb {
            Some(items) => (args.size.unwrap_or(1), args.size.unwrap_or(1).checked_mul(items)),
            None => (1, args.count.or(args.size)),
        };
        let done = args.ret.and_then(|result| u64::try_from(result).ok()?.checked_mul(item));
        let bytes = match (moves, failed) {
            (true, false) => done.or(if args.nmemb.is_some() { asked } else { args.size }),
            (true, true) => None,
            (false, _) => args.image_size,
        };
        let at = Position {
            phase: phase_of(line),
            epoch: args.epoch,
            block: args.block,
            step: args.step,
            sample: args.image,
        };
        Ok(Event {
            offset: if moves { args.offset.unwrap_or(0) } else { 0 },
            requested: if moves && kind != OpKind::Get { asked } else { None },
            bytes: bytes.unwrap_or(0),
            outcome: if failed { args.outcome.unwrap_or(Outcome::Io) } else { Outcome::Ok },
            ..Event::span(kind, Lane::MAIN, at, start, start.saturating_add(took))
        })
    }
}

/// Updates the training loop from a line without a row. Returns whether the line belongs to the loop.
fn update_loop(of: &mut Loop, line: &Line<'_>, unit: i64) -> bool {
    let end = line.ts.saturating_add(line.dur).saturating_mul(unit);
    match (line.cat.as_ref(), line.name.as_ref()) {
        ("dataloader", "fetch.block") => of.stepped(u64::try_from(end).unwrap_or(0)),
        ("ai_framework", name) if name.ends_with(".trace_object") => of.traced(u64::try_from(end).unwrap_or(0)),
        ("data_loader", name) if name.ends_with("DataLoader.next") => of.begin(),
        _ => return false,
    }
    true
}

/// Sets the position of a loop's event. For a span of training, returns its blocks.
fn place(of: &mut Loop, event: &mut Event, line: &Line<'_>) -> Vec<Span> {
    let span = (event.start, event.end);
    let mut blocks = Vec::new();
    match event.kind {
        OpKind::Compute => {
            event.start = of.computes(span.0);
            of.computed(span.1);
        }
        OpKind::Fetch => of.fetched(span.0),
        _ => {}
    }
    match event.kind {
        OpKind::Epoch => {
            let count = line.args.count.and_then(|count| u32::try_from(count).ok());
            event.at = Position { epoch: of.epoch(span, count), step: 0, ..event.at };
        }
        OpKind::Block => {
            let number;
            (number, blocks) = of.trained(span);
            event.at = Position { epoch: number, step: 0, ..event.at };
        }
        OpKind::Eval => {
            event.at = Position { epoch: of.evaluated(span), phase: Phase::Eval, step: 0, ..event.at };
        }
        OpKind::CheckpointSave | OpKind::CheckpointLoad => {
            let load = event.kind == OpKind::CheckpointLoad;
            let (epoch, block) = if load { of.outside(true) } else { of.saved(span.0) };
            event.at = Position { epoch, block, ..event.at };
        }
        _ => {
            if let Some((epoch, phase, block)) = of.place(span.0) {
                event.at = Position { epoch, block, phase: part(event.at.phase, phase), ..event.at };
            }
        }
    }
    of.met(span.0);
    blocks
}

/// Sets the position of a loader worker's event.
fn place_of_worker(epochs: &Epochs, steps: &mut WorkerSteps, event: &mut Event) {
    let Some((epoch, phase)) = epochs.at(event.start) else { return };
    let step = if event.at.step > 0 { steps.within((epoch, phase), event.at.step) } else { 0 };
    event.at = Position { epoch, step, phase: part(event.at.phase, phase), ..event.at };
}

/// Returns the phase of a line: the one that it states itself, or else that of the loop.
fn part(said: Phase, of_loop: Phase) -> Phase {
    if said == Phase::Train { of_loop } else { said }
}

/// Guesses the time unit in nanoseconds from the size of a time since 1970, because new layouts name the unit only in their last
/// line.
fn unit_of(ts: i64) -> i64 {
    const YEARS: i64 = 100_000_000;
    let [seconds, millis, nanos] = [1, 1_000, 1_000_000_000].map(|unit| YEARS * unit);
    match ts {
        _ if ts >= nanos => 1,
        _ if ts < seconds || ts >= millis * 1_000 => 1_000,
        _ if ts >= millis => 1_000_000,
        _ => 1_000_000_000,
    }
}

/// Advances the position of a file. Calls without an offset continue where the previous one ended.
fn advance(positions: &mut HashMap<String, u64, RandomState>, object: &str, line: &Line<'_>, event: &mut Event) {
    let sequential = matches!(line.cat.as_ref(), "POSIX" | "STDIO" | "LIBC_IO") && line.args.offset.is_none();
    if event.kind == OpKind::Open && event.outcome == Outcome::Ok {
        keep(positions, object, 0);
    } else if sequential && (event.kind.is_read() || event.kind.is_write()) {
        event.offset = positions.get(object).copied().unwrap_or(0);
        keep(positions, object, event.offset.saturating_add(event.bytes));
    }
}

/// Updates the position of a file after a call without a row.
fn seek(positions: &mut HashMap<String, u64, RandomState>, object: &str, line: &Line<'_>) {
    if !matches!(line.name.trim_end_matches("64"), "lseek" | "fseek" | "fseeko") {
        return;
    }
    let position = line.args.ret.and_then(|at| u64::try_from(at).ok()).filter(|_| line.name.starts_with("lseek"));
    let before = positions.get(object).copied();
    let after = match (position, line.args.whence, line.args.offset) {
        (Some(at), _, _) | (None, Some(0), Some(at)) => Some(at),
        (None, Some(1), Some(by)) => before.and_then(|before| before.checked_add(by)),
        _ => before,
    };
    if let Some(after) = after {
        keep(positions, object, after);
    }
}

fn keep(positions: &mut HashMap<String, u64, RandomState>, object: &str, at: u64) {
    if let Some(position) = positions.get_mut(object) {
        *position = at;
        return;
    }
    if positions.len() >= POSITIONS {
        positions.clear();
    }
    positions.insert(object.to_owned(), at);
}

enum Shape {
    Complete,
    Metadata,
    Other,
}

fn phase(ph: &Value<'_>) -> Option<Shape> {
    let word = match ph {
        Value::Text(word) => word.as_ref(),
        Value::Number(number) => number,
        _ => return None,
    };
    match word {
        "X" | "1" => Some(Shape::Complete),
        "M" | "4" => Some(Shape::Metadata),
        "C" | "A" | "B" | "E" | "i" | "I" | "0" | "2" | "3" => Some(Shape::Other),
        _ => None,
    }
}

fn phase_of(line: &Line<'_>) -> Phase {
    match line.cat.as_ref() {
        "checkpoint" => Phase::Checkpoint,
        "data_generator" => Phase::Generate,
        _ if line.args.dataset.as_deref() == Some("valid") => Phase::Eval,
        _ => Phase::Train,
    }
}
