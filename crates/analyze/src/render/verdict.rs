//! Verdict of a report in a few sentences, which the page shows first.

use serde::Serialize;

use super::units::{bytes, count, nanos, seconds};
use crate::Report;
use crate::checkpoints::CheckpointRow;
use crate::diagnosis::WaterfallEntry;
use crate::percentile::Distribution;

/// The verdict on a run.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    /// Kind of the verdict: `good`, `bad` or `plain`.
    pub(super) tone: &'static str,
    pub(super) headline: String,
    pub(super) sentences: Vec<String>,
}

/// Percentage points of AU below which a loss is not reported.
const WORTH: f64 = 1.0;
/// Components of lost AU by responsible party, with its name in a sentence.
const RESPONSIBLE: [(&str, &[&str]); 5] = [
    ("the storage", &["first byte", "transfer", "retries"]),
    ("this client", &["queueing", "decode"]),
    ("waiting for other ranks", &["barrier"]),
    ("checkpointing", &["checkpoint"]),
    ("time that the traces do not explain", &["rest"]),
];

pub(super) fn verdict(report: &Report) -> Verdict {
    let mut found = if report.run.ending.is_partial() { partial(report) } else { headline(report) };
    let client = report.warnings.iter().find(|warning| warning.code == "client_limited");
    found.sentences.extend(client.map(|_| {
        "The client limits this run, not the storage: do not take these numbers for the storage's.".to_owned()
    }));
    found.sentences.extend(cause(report));
    found.sentences.extend(replayed(report));
    found.sentences.extend(changed(report));
    found
}

/// Returns the verdict on an incomplete run: how it ended, without a judgement of its target.
fn partial(report: &Report) -> Verdict {
    let ending = &report.run.ending;
    let missing = if ending.missing.is_empty() { String::new() } else { capitalised(&ending.missing) + "." };
    let au = report.train.as_ref().and_then(|train| train.au).map_or_else(String::new, |au| {
        let target = report.run.au_threshold_percentage.map_or_else(String::new, |target| {
            format!(", which does not decide about the target of {} %", (target * 100.0).round() / 100.0)
        });
        format!("AU was {:.2} % until then{target}. ", au.mean)
    });
    let moved = if report.run.operations == 0 { au } else { au + &traffic(report) };
    let sentences = [missing, moved].into_iter().filter(|text| !text.is_empty()).collect();
    Verdict { tone: "bad", headline: format!("The run did not complete: {}", ending.text), sentences }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn headline(report: &Report) -> Verdict {
    let plain = |headline: String, sentences: Vec<String>| Verdict { tone: "plain", headline, sentences };
    if report.run.events == 0 {
        return plain("The traces contain no events".to_owned(), Vec::new());
    }
    if let Some((au, train)) = report.train.as_ref().and_then(|train| Some((train.au?.mean, train))) {
        let samples = train.throughput_spread.map_or_else(String::new, |spread| {
            format!("{:.1} samples per second over {}. ", spread.mean, several(report.run.world.into(), "rank"))
        });
        let moved = vec![format!("{samples}{}", traffic(report))];
        return match report.run.au_threshold_percentage {
            None => plain(format!("AU {au:.2} %; the traces name no target"), moved),
            Some(target) if train.au_meets_expectation.is_none() => {
                let target = (target * 100.0).round() / 100.0;
                plain(format!("No step was measured, so the AU target of {target} % cannot be judged"), moved)
            }
            Some(target) => {
                let reached = train.au_meets_expectation == Some(true);
                let target = (target * 100.0).round() / 100.0;
                let verb = if reached { "reaches" } else { "misses" };
                let headline = format!("AU {au:.2} % {verb} the target of {target} %");
                Verdict { tone: if reached { "good" } else { "bad" }, headline, sentences: moved }
            }
        };
    }
    let checkpoints: Vec<String> =
        [("saved", false), ("loaded", true)].iter().filter_map(|(verb, load)| written(report, verb, *load)).collect();
    if checkpoints.is_empty() {
        let moved = if report.run.operations == 0 { Vec::new() } else { vec![traffic(report)] };
        return plain(
            format!("{} in {}", several(report.run.operations, "storage operation"), seconds(report.run.seconds)),
            moved,
        );
    }
    plain(checkpoints.join("; "), vec![traffic(report)])
}

fn several(number: u64, one: &str) -> String {
    format!("{} {one}{}", count(number), if number == 1 { "" } else { "s" })
}

/// Describes the traffic, and the durations of reads (or of writes, if nothing was read).
fn traffic(report: &Report) -> String {
    let run = &report.run;
    let flow = |total: u64, verb: &str| {
        let rate = if run.seconds > 0.0 { total as f64 / run.seconds } else { 0.0 };
        (total > 0).then(|| format!("{verb} {} at {}/s", bytes(total as f64), bytes(rate)))
    };
    let moved: Vec<String> =
        [flow(run.read_bytes, "read"), flow(run.written_bytes, "wrote")].into_iter().flatten().collect();
    let (name, times) =
        if run.read_bytes > 0 { ("reads", &report.read_latency) } else { ("writes", &report.write_latency) };
    let slow =
        percentile(times, 500).zip(percentile(times, 990)).filter(|(_, slow)| *slow > 0).map(|(median, slow)| {
            format!("; half of the {name} took at most {}, 99 % at most {}", nanos(median), nanos(slow))
        });
    if moved.is_empty() {
        return "No operation moved a byte.".to_owned();
    }
    format!("It {}{}.", moved.join(" and "), slow.unwrap_or_default())
}

fn percentile(distribution: &Distribution, per_mille: u32) -> Option<u64> {
    distribution.curve.iter().find(|point| point.0 >= per_mille).map(|point| point.1)
}

fn written(report: &Report, verb: &str, load: bool) -> Option<String> {
    let rows: Vec<&CheckpointRow> = report.checkpoints.iter().filter(|row| row.load == load).collect();
    let number = rows.len();
    if number == 0 {
        return None;
    }
    let mean = |values: Vec<f64>| (values.len() == number).then(|| values.iter().sum::<f64>() / number as f64);
    let took = mean(rows.iter().map(|row| row.seconds_all).collect()).map_or_else(String::new, seconds);
    let rate = mean(rows.iter().filter_map(|row| row.gb_per_second_all).collect());
    let rate = rate.map_or_else(String::new, |rate| format!(" at {rate:.2} GiB/s"));
    Some(format!("{} {verb} in {took} each{rate}", several(number as u64, "checkpoint")))
}

/// Describes the largest loss of AU.
fn cause(report: &Report) -> Option<String> {
    let waterfall = &report.diagnosis.waterfall;
    let lost: f64 = waterfall.iter().map(|fall| fall.percentage).sum();
    if waterfall.is_empty() {
        return None;
    }
    if lost < WORTH {
        return Some("Almost no time was lost.".to_owned());
    }
    let of = |parts: &[&str]| -> Vec<&WaterfallEntry> {
        waterfall.iter().filter(|fall| parts.contains(&fall.part.as_str())).collect()
    };
    let sum = |falls: &[&WaterfallEntry]| falls.iter().map(|fall| fall.percentage).sum::<f64>();
    let (who, falls) = RESPONSIBLE
        .iter()
        .map(|(who, parts)| (*who, of(parts)))
        .max_by(|one, other| sum(&one.1).total_cmp(&sum(&other.1)))?;
    let largest = falls.iter().max_by(|one, other| one.percentage.total_cmp(&other.percentage))?;
    let mostly = if falls.len() > 1 { format!(", mostly {}", largest.part) } else { String::new() };
    let part = match largest.part.as_str() {
        "barrier" => "waits for other ranks",
        "rest" => "it",
        "checkpoint" => "checkpoints",
        part => part,
    };
    let behind = if largest.part == "barrier" { lateness(report) } else { None };
    Some(format!(
        "{lost:.1} % of AU was lost, most of it to {who}: {:.1} %{mostly}. Without {part} AU would be \
         {:.1} %.{}",
        sum(&falls),
        largest.au_without,
        behind.unwrap_or_default()
    ))
}

/// Returns the components in which the ranks that arrived last at barriers were late: waiting at a barrier is caused by
/// them.
fn lateness(report: &Report) -> Option<String> {
    let ranks = &report.diagnosis.critical_ranks;
    let seconds: f64 = ranks.iter().map(|rank| rank.seconds).sum();
    let waiting = ranks.iter().map(|rank| rank.seconds * rank.waiting_percentage).sum::<f64>() / seconds;
    let (cause, share) =
        if waiting >= 50.0 { ("waited for their data", waiting) } else { ("computed longer", 100.0 - waiting) };
    (seconds > 0.0).then(|| format!(" The ranks that arrived last {cause}: {share:.0} % of their delay."))
}

fn replayed(report: &Report) -> Option<String> {
    let fidelity = report.fidelity.as_ref()?;
    let number = |name: &str| fidelity.get("metrics").and_then(|metrics| metrics.get(name))?.as_f64();
    let lateness = number("issue_error_p99")
        .map(|error| format!("99 % of the operations were issued within {} of their time", span(error)));
    let missing = number("operations_missing")
        .map(|missing| if missing == 0.0 { "none is missing".to_owned() } else { format!("{missing:.0} are missing") });
    let said: Vec<String> = lateness.into_iter().chain(missing).collect();
    (!said.is_empty()).then(|| format!("Replay: {}.", said.join("; ")))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a duration in whole nanoseconds")]
fn span(value: f64) -> String {
    nanos(value.max(0.0) as u64)
}

/// Describes significant changes from the base.
fn changed(report: &Report) -> Option<String> {
    if report.comparison.is_empty() {
        return None;
    }
    let sure = report.comparison.iter().filter(|change| change.interval.0 > 0.0 || change.interval.1 < 0.0);
    let named: Vec<String> = sure
        .map(|change| {
            let name = match change.metric.as_str() {
                "au" => "AU",
                "samples_per_second" => "samples per second",
                "wait" => "wait per step",
                "step" => "time of a step",
                "read_p50" => "median of the reads",
                "read_p99" => "99th percentile of the reads",
                other => other,
            };
            format!("{name} {:+.1} %", change.change_percentage)
        })
        .collect();
    Some(if named.is_empty() {
        "No metric differs significantly from the base.".to_owned()
    } else {
        format!("Compared with the base: {}.", named.join(", "))
    })
}
