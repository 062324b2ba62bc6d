//! The result of a run for programs: one JSON object on standard output, with `--format json`.

use std::cell::RefCell;

use dlio_engine::{Generated, Verified};
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::options::OutputFormat;
use crate::session::Session;

/// What is told at the end; parts come as the run gets there.
pub struct RunResult {
    format: OutputFormat,
    parts: RefCell<Option<Map<String, Value>>>,
}

impl RunResult {
    /// Nothing yet.
    pub fn new(format: OutputFormat) -> Self {
        Self { format, parts: RefCell::new(Some(Map::new())) }
    }

    /// Adds a part; `docs/json.md` describes each.
    pub fn add(&self, name: &str, part: Value) {
        if let Some(parts) = self.parts.borrow_mut().as_mut() {
            parts.insert(name.to_owned(), part);
        }
    }
}

/// Prints the result, once, on rank 0, if programs are to read it.
///
/// # Errors
/// When standard output takes no more.
pub fn print(session: &Session) -> Result<(), Failure> {
    let result = &session.result;
    if session.rank() > 0 || result.format == OutputFormat::Text {
        return Ok(());
    }
    let Some(parts) = result.parts.borrow_mut().take() else { return Ok(()) };
    let place = session.comm.place();
    let mut all = json!({
        "workload": session.request.wanted.name,
        "ranks": place.size,
        "nodes": place.nodes,
        "output": session.request.output.display().to_string(),
        "generated": null,
        "verified": null,
        "summary": null,
        "planned": null,
        "replayed": null,
    });
    for (name, part) in parts {
        all[name] = part;
    }
    crate::outputs::log::print(format!("{all:#}\n").as_bytes())
}

/// What a generation wrote.
pub fn generated(generated: &Generated) -> Value {
    let (all, seconds) = (generated.world, generated.duration.as_secs_f64());
    json!({
        "files": all.files,
        "kept": all.kept,
        "bytes": all.bytes,
        "seconds": seconds,
        "mb_per_second": rate(all.bytes, seconds),
    })
}

/// What a look at a data set found.
pub fn verified(found: &Verified) -> Value {
    let seconds = found.duration.as_secs_f64();
    json!({
        "files": found.files,
        "good": found.files - found.bad,
        "bad": found.bad,
        "first_bad": found.first.as_ref().map(|bad| &bad.reason),
        "samples": found.samples,
        "bytes": found.bytes,
        "seconds": seconds,
        "mb_per_second": rate(found.bytes, seconds),
    })
}

/// Bytes per second in MB/s.
fn rate(bytes: u64, seconds: f64) -> f64 {
    bytes as f64 / 1e6 / seconds.max(1e-9)
}
