//! The result of a run as one JSON object on standard output (`--format json`).

use dlio_analyze::outputs::summary_json;
use dlio_engine::{Generated, Verified};
use dlio_run::failure::Failure;
use dlio_run::outcome::{Ended, Outcome};
use serde_json::{Value, json};

use crate::args::OutputFormat;

/// Prints the result of a run once, on rank 0, with `--format json`.
///
/// # Errors
/// The run failed, or standard output cannot be written.
pub(crate) fn print(format: OutputFormat, rank: u32, ended: Ended) -> Result<(), Failure> {
    let Ended { outcome, result } = ended;
    let outcome = outcome.filter(|outcome| outcome.complete && rank == 0 && format == OutputFormat::Json);
    if let Some(outcome) = outcome {
        crate::log::print(format!("{:#}\n", json(&outcome)).as_bytes())?;
    }
    result
}

/// Returns the result as JSON; `docs/json.md` describes the keys.
fn json(outcome: &Outcome) -> Value {
    let Outcome { workload, ranks, nodes, output, generated, verified, summary, planned, replayed, complete: _ } =
        outcome;
    // The content is that of `summary.json`.
    let summary =
        summary.as_ref().map(|summary| serde_json::from_slice::<Value>(&summary_json(summary)).unwrap_or_default());
    let planned = planned.as_ref().map(|kinds| {
        let kinds = kinds.iter();
        let kinds =
            kinds.map(|(name, kind)| (name.clone(), json!({ "operations": kind.operations, "bytes": kind.bytes })));
        kinds.collect::<serde_json::Map<_, _>>()
    });
    json!({
        "workload": workload,
        "ranks": ranks,
        "nodes": nodes,
        "output": output.display().to_string(),
        "generated": generated.as_ref().map(self::generated),
        "verified": verified.as_ref().map(self::verified),
        "summary": summary,
        "planned": planned,
        "replayed": replayed,
    })
}

/// Returns the result of a generation as JSON.
fn generated(generated: &Generated) -> Value {
    let (all, seconds) = (generated.world, generated.duration.as_secs_f64());
    json!({
        "files": all.files,
        "kept": all.kept,
        "bytes": all.bytes,
        "seconds": seconds,
        "mb_per_second": rate(all.bytes, seconds),
    })
}

/// Returns the result of a verification as JSON.
fn verified(found: &Verified) -> Value {
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

/// Returns a rate in MB/s.
fn rate(bytes: u64, seconds: f64) -> f64 {
    bytes as f64 / 1e6 / seconds.max(1e-9)
}
