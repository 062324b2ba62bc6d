//! How closely the schedule of a trace was followed: logged, and written to `replay.json`.

use std::collections::BTreeMap;
use std::path::Path;

use dlio_event::Histogram;
use dlio_event::percentile::{P50, P90, P99, P999};
use dlio_plan::replay::{Fidelity, METRICS, Options};

use crate::failure::Failure;
use crate::replay::options::TraceOptions;
use crate::session::Session;

/// File name in the output folder.
const FILE: &str = "replay.json";

/// Trace and options of a replay.
pub(crate) struct Setting<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) args: &'a TraceOptions,
    pub(crate) options: &'a Options,
}

/// Logs how closely the schedule was followed.
pub(crate) fn report(session: &Session, all: &Fidelity) {
    let ms = |name: &str| all.metric(name).map_or_else(|| "-".to_owned(), |value| format!("{:.3} ms", value / 1e6));
    let three = |name: &str| {
        ["p50", "p99", "max"].map(|which| format!("{which} {}", ms(&format!("{name}_{which}")))).join(", ")
    };
    session.log_output(&format!(
        "Replayed {} of {} operation(s) ({} failed, {} skipped), {} of {} bytes in {:.3} s",
        all.operations_done,
        all.operations_planned,
        all.operations_failed,
        all.operations_skipped,
        all.bytes_done,
        all.bytes_planned,
        all.span_ns as f64 / 1e9
    ));
    if all.operations_unread * 2 > all.operations_planned {
        session.log_output(&format!(
            "  {} of those skipped were late before they had been read: the schedule is denser than {} rank(s) can read it; more ranks or a \
             lower --speed help",
            all.operations_unread,
            session.comm.place().size
        ));
    }
    if all.opens_recorded + all.opens > 0 {
        session.log_output(&format!("  files opened for reading: {} (recorded {})", all.opens, all.opens_recorded));
    }
    if all.larger > 0 {
        session.log_output(&format!(
            "  a difference: {} read(s) to the end found an object larger than recorded, of whole ones the recorded bytes were read \
             (`--prepare` makes objects of the recorded sizes)",
            all.larger
        ));
    }
    if all.operations_failed_again > 0 {
        session.log_output(&format!("  {} operation(s) failed as they had when recorded", all.operations_failed_again));
    }
    session.log_output(&format!("  issue-time error: {}", three("issue_error")));
    session.log_output(&format!("  think-time error: {}", three("think_error")));
    let (recorded, achieved) = all.concurrency();
    session.log_output(&format!(
        "  concurrency: {achieved:.2} (recorded {recorded:.2}), at most {} on a rank (recorded {}); {} inversion(s)",
        all.peak, all.recorded_peak, all.inversions
    ));
    let distance = all.metric("interarrival_ks").map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    session.log_output(&format!("  inter-arrival times: Kolmogorov-Smirnov distance {distance}"));
}

/// Writes the numbers of all ranks together and of each rank; returns what it wrote.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn write(
    output: &Path,
    setting: &Setting<'_>,
    (ranks, all): (&[Fidelity], &Fidelity),
) -> Result<serde_json::Value, Failure> {
    let mut json = value(all);
    json["version"] = 1.into();
    json["trace"] = setting.folder.display().to_string().into();
    json["timing"] = setting.args.timing_name().into();
    json["late"] = setting.args.late_name().into();
    json["speed"] = setting.options.speed.into();
    json["passes"] = setting.args.repeat.unwrap_or(1).into();
    json["ranks"] = ranks.iter().map(value).collect();
    let (text, path) = (format!("{json:#}\n"), output.join(FILE));
    std::fs::write(&path, text).map_err(|error| Failure::file("writing", &path, &error))?;
    Ok(json)
}

/// Returns the keys that `docs/replay.md` lists.
fn value(fidelity: &Fidelity) -> serde_json::Value {
    let metrics: BTreeMap<&str, Option<f64>> = METRICS.iter().map(|(name, _)| (*name, fidelity.metric(name))).collect();
    let (recorded, achieved) = fidelity.concurrency();
    serde_json::json!({
        "operations_planned": fidelity.operations_planned,
        "operations_done": fidelity.operations_done,
        "operations_failed": fidelity.operations_failed,
        "operations_skipped": fidelity.operations_skipped,
        "operations_unread": fidelity.operations_unread,
        "operations_failed_again": fidelity.operations_failed_again,
        "recorded_failures_left_out": fidelity.recorded_failures_left_out,
        "opens_recorded": fidelity.opens_recorded,
        "opens": fidelity.opens,
        "larger_than_recorded": fidelity.larger,
        "bytes_planned": fidelity.bytes_planned,
        "bytes_done": fidelity.bytes_done,
        "concurrency_recorded": recorded,
        "concurrency": achieved,
        "peak_recorded": fidelity.recorded_peak,
        "peak": fidelity.peak,
        "duration_ns": fidelity.span_ns,
        "metrics": metrics,
        "issue_error_ns": percentiles(&fidelity.issue_error),
        "think_error_ns": percentiles(&fidelity.think_error),
        "first_failure": fidelity.first_failure,
    })
}

/// Returns percentiles by their names.
fn percentiles(histogram: &Histogram) -> serde_json::Value {
    let named = [("p50", P50), ("p90", P90), ("p99", P99), ("p99.9", P999)];
    let mut found: BTreeMap<&str, Option<u64>> =
        named.iter().map(|(name, parts)| (*name, histogram.percentile(*parts))).collect();
    found.insert("max", histogram.max());
    serde_json::json!({ "count": histogram.count(), "percentiles": found })
}
