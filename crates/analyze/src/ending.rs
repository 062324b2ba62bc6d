//! How a run ended, derived from how each of its ranks ended, and how far it came.
//!
//! Invariant: a run is complete only if the traces of all ranks say so. Nothing is derived from traces without an
//! ending, such as imports and traces of earlier formats.

use std::collections::BTreeMap;

use dlio_event::{Ending, Planned};
use dlio_trace::RankTrace;
use serde::{Deserialize, Serialize};

use crate::checkpoints::CheckpointRow;
use crate::epochs::Epoch;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// The traces do not contain it.
    #[default]
    Unknown,
    /// All ranks did everything that was planned.
    Completed,
    /// A signal interrupted the run.
    Interrupted,
    /// A rank failed.
    Failed,
    /// A rank was lost: its trace stops early or is missing.
    Lost,
}

/// How a run ended and how far it came.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunEnd {
    /// Kind of the ending.
    pub state: RunState,
    /// Description of the ending: `completed`, `interrupted by SIGTERM`, `failed: …`, `lost rank 3: …`, or `unknown`.
    pub text: String,
    /// Ranks whose traces stop early or are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost_ranks: Vec<u32>,
    /// The work that was planned, if the traces contain it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<Planned>,
    /// The last epoch in which a rank trained; `None` if no rank did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached_epoch: Option<u32>,
    /// Number of steps that were done in that epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached_step: Option<u64>,
    /// First and last epoch that were not trained completely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_epochs: Option<(u32, u32)>,
    /// Description of how far the run came and what is missing; empty for a complete run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub missing: String,
}

impl RunEnd {
    /// Returns whether the run is known to have ended before it had done everything that was planned. Targets cannot be
    /// judged then.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !matches!(self.state, RunState::Completed | RunState::Unknown)
    }
}

/// How the trace of one rank ends.
#[derive(Debug, Clone, PartialEq, Eq)]
enum RankEnd {
    /// The trace does not contain it.
    Unknown,
    Stated(Ending),
    /// The trace has no final footer.
    Truncated,
    /// There is no trace file.
    Missing,
}

impl RankEnd {
    fn of(trace: &RankTrace) -> Self {
        match &trace.ending {
            Some(ending) => Self::Stated(ending.clone()),
            None if trace.complete => Self::Unknown,
            None => Self::Truncated,
        }
    }

    fn is_lost(&self) -> bool {
        matches!(self, Self::Truncated | Self::Missing)
    }
}

/// Describes how the trace of one rank ends.
pub(crate) fn rank_text(trace: &RankTrace) -> String {
    match RankEnd::of(trace) {
        RankEnd::Unknown => "unknown".to_owned(),
        RankEnd::Stated(ending) => ending.to_string(),
        RankEnd::Truncated | RankEnd::Missing => "its trace stops".to_owned(),
    }
}

/// Returns how the run of these traces ended.
pub(crate) fn of(traces: &[RankTrace], epochs: &[Epoch], checkpoints: &[CheckpointRow], operations: u64) -> RunEnd {
    let world = traces.iter().map(|trace| trace.header.world).max().unwrap_or(0);
    let mut ranks: BTreeMap<u32, RankEnd> = (0..world).map(|rank| (rank, RankEnd::Missing)).collect();
    for trace in traces {
        let end = RankEnd::of(trace);
        // If a rank has two traces, the worse ending counts.
        let worse = ranks.get(&trace.header.rank).is_none_or(|known| severity(&end) >= severity(known));
        if worse || ranks.get(&trace.header.rank) == Some(&RankEnd::Missing) {
            ranks.insert(trace.header.rank, end);
        }
    }
    let (state, text) = derive_ending(&ranks);
    let planned = traces.iter().find_map(|trace| trace.header.planned);
    let lost_ranks = if state == RunState::Unknown { Vec::new() } else { lost(&ranks) };
    let mut run = RunEnd { state, text, lost_ranks, planned, ..RunEnd::default() };
    let last = epochs.iter().filter(|epoch| epoch.steps > 0).max_by_key(|epoch| epoch.epoch);
    (run.reached_epoch, run.reached_step) = (last.map(|epoch| epoch.epoch), last.map(|epoch| epoch.steps));
    if run.is_partial() {
        missing(&mut run, checkpoints, operations);
    }
    run
}

fn severity(end: &RankEnd) -> u8 {
    match end {
        RankEnd::Stated(Ending::Completed) => 0,
        RankEnd::Unknown => 1,
        RankEnd::Stated(_) => 2,
        RankEnd::Truncated => 3,
        RankEnd::Missing => 4,
    }
}

fn lost(ranks: &BTreeMap<u32, RankEnd>) -> Vec<u32> {
    ranks.iter().filter(|(_, end)| end.is_lost()).map(|(rank, _)| *rank).collect()
}

/// Derives the ending of the run from those of its ranks. A rank's own failure explains the endings of the others, and
/// a lost rank explains why a launcher stopped them.
fn derive_ending(ranks: &BTreeMap<u32, RankEnd>) -> (RunState, String) {
    let silent = |end: &RankEnd| matches!(end, RankEnd::Unknown | RankEnd::Missing);
    if ranks.values().all(silent) {
        return (RunState::Unknown, "unknown".to_owned());
    }
    if ranks.values().all(|end| *end == RankEnd::Stated(Ending::Completed)) {
        return (RunState::Completed, Ending::Completed.to_string());
    }
    let stated = || {
        ranks
            .iter()
            .filter_map(|(rank, end)| if let RankEnd::Stated(ending) = end { Some((*rank, ending)) } else { None })
    };
    let gone = lost(ranks);
    let and_lost = if gone.is_empty() { String::new() } else { format!("; {}", lost_text(ranks, &gone)) };
    let failed: Vec<(u32, &str)> = stated()
        .filter_map(
            |(rank, ending)| if let Ending::Failed { message } = ending { Some((rank, &**message)) } else { None },
        )
        .collect();
    if let Some((rank, message)) = failed.first() {
        // A failure that all ranks agreed on needs no rank number, and neither does a message that contains it.
        let agreed = failed.len() == ranks.len() && failed.iter().all(|(_, other)| other == message);
        let who =
            if agreed || message.contains(&format!("rank {rank}")) { String::new() } else { format!("rank {rank}: ") };
        let others: Vec<u32> = if agreed { Vec::new() } else { failed[1..].iter().map(|(rank, _)| *rank).collect() };
        let also = if others.is_empty() { String::new() } else { format!(" ({} failed as well)", named(&others)) };
        return (RunState::Failed, format!("failed: {who}{message}{also}{and_lost}"));
    }
    let aborted = stated().find(|(_, ending)| matches!(ending, Ending::Aborted { .. }));
    if !gone.is_empty() {
        let other = aborted.or_else(|| stated().find(|(_, ending)| !ending.is_completed()));
        let others = other.map_or_else(String::new, |(rank, ending)| format!("; rank {rank}: {ending}"));
        return (RunState::Lost, format!("{}{others}", lost_text(ranks, &gone)));
    }
    if let Some((_, ending)) = aborted {
        return (RunState::Failed, ending.to_string());
    }
    let interrupted: Vec<u32> = stated().filter(|(_, ending)| !ending.is_completed()).map(|(rank, _)| rank).collect();
    let Some((_, ending)) = stated().find(|(_, ending)| !ending.is_completed()) else {
        return (RunState::Unknown, "unknown".to_owned());
    };
    let some = if interrupted.len() == ranks.len() { String::new() } else { format!(" ({})", named(&interrupted)) };
    (RunState::Interrupted, format!("{ending}{some}"))
}

/// Describes lost ranks, such as `lost rank 3: its trace stops`.
fn lost_text(ranks: &BTreeMap<u32, RankEnd>, gone: &[u32]) -> String {
    let of = |wanted: RankEnd| -> Vec<u32> {
        gone.iter().copied().filter(|rank| ranks.get(rank) == Some(&wanted)).collect()
    };
    let (stops, absent) = (of(RankEnd::Truncated), of(RankEnd::Missing));
    let one = gone.len() == 1;
    let why = match (stops.is_empty(), absent.is_empty()) {
        (false, true) if one => "its trace stops".to_owned(),
        (false, true) => "their traces stop".to_owned(),
        (true, _) if one => "its trace is not here".to_owned(),
        (true, _) => "their traces are not here".to_owned(),
        (false, false) => {
            let first = if stops.len() == 1 { ("trace", "stops") } else { ("traces", "stop") };
            let second = if absent.len() == 1 { ("that", "is") } else { ("those", "are") };
            let (stops, absent) = (named(&stops), named(&absent));
            format!("the {} of {stops} {}, {} of {absent} {} not here", first.0, first.1, second.0, second.1)
        }
    };
    let all = if gone.len() == ranks.len() { ", because the run was killed or is still running" } else { "" };
    format!("lost {}: {why}{all}", named(gone))
}

/// Names ranks: `rank 3`, or `ranks 1, 2`; long lists are cut.
fn named(ranks: &[u32]) -> String {
    const SHOWN: usize = 8;
    let names: Vec<String> = ranks.iter().take(SHOWN).map(u32::to_string).collect();
    let noun = if ranks.len() == 1 { "rank" } else { "ranks" };
    match ranks.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{noun} {} and {more} more", names.join(", ")),
        _ => format!("{noun} {}", names.join(", ")),
    }
}

/// Describes how far an incomplete run came.
fn missing(run: &mut RunEnd, checkpoints: &[CheckpointRow], operations: u64) {
    let Some(planned) = run.planned else { return };
    let mut parts = Vec::new();
    if planned.epochs > 0 {
        let (epoch, step) = (run.reached_epoch.unwrap_or(0), run.reached_step.unwrap_or(0));
        let whole = step >= planned.steps;
        let first = if epoch == 0 { 1 } else { epoch + u32::from(whole) };
        run.missing_epochs = (first <= planned.epochs).then_some((first, planned.epochs));
        parts.push(match (epoch, run.missing_epochs) {
            (0, _) => format!("no step of the {} epoch(s) of {} steps was done", planned.epochs, planned.steps),
            (_, None) => format!(
                "all {} steps of all {} epoch(s) were done, but not all that follows the last one",
                planned.steps, planned.epochs
            ),
            (_, Some((first, last))) => {
                let rest = if whole { String::new() } else { format!("the rest of epoch {epoch}") };
                let later = match last.saturating_sub(epoch) {
                    0 => String::new(),
                    1 => format!("epoch {last}"),
                    _ => format!("epochs {} to {last}", if whole { first } else { epoch + 1 }),
                };
                let gaps: Vec<String> = [rest, later].into_iter().filter(|part| !part.is_empty()).collect();
                format!(
                    "it reached step {step} of {} in epoch {epoch} of {}; missing: {}",
                    planned.steps,
                    planned.epochs,
                    gaps.join(", ")
                )
            }
        });
    }
    let taken = |load: bool| checkpoints.iter().filter(|row| row.load == load).count();
    for (wanted, load, verb) in
        [(planned.checkpoints_saved, false, "saved"), (planned.checkpoints_loaded, true, "loaded")]
    {
        if wanted > 0 {
            parts.push(format!("{} of {wanted} checkpoint(s) were {verb}", taken(load)));
        }
    }
    if planned.files > 0 && planned.epochs == 0 {
        parts.push(format!("not all of the {} planned file(s) were done", planned.files));
    }
    if planned.operations > 0 {
        parts.push(format!("{operations} request(s) were made for the {} planned operation(s)", planned.operations));
    }
    run.missing = parts.join("; ");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranks(ends: &[RankEnd]) -> BTreeMap<u32, RankEnd> {
        (0..).zip(ends.iter().cloned()).collect()
    }

    fn stated(text: &str) -> RankEnd {
        RankEnd::Stated(text.parse().unwrap())
    }

    #[track_caller]
    fn expect(ends: &[RankEnd], state: RunState, text: &str) {
        assert_eq!(derive_ending(&ranks(ends)), (state, text.to_owned()));
    }

    #[test]
    fn a_run_completed_only_if_all_ranks_say_so() {
        let (done, unknown) = (stated("completed"), RankEnd::Unknown);
        expect(&[done.clone(), done.clone()], RunState::Completed, "completed");
        expect(&[unknown.clone(), unknown.clone()], RunState::Unknown, "unknown");
        expect(&[done.clone(), unknown], RunState::Unknown, "unknown");
        expect(&[done.clone(), RankEnd::Truncated], RunState::Lost, "lost rank 1: its trace stops");
        expect(&[done.clone(), RankEnd::Missing], RunState::Lost, "lost rank 1: its trace is not here");
        expect(&[done, stated("interrupted by SIGTERM")], RunState::Interrupted, "interrupted by SIGTERM (rank 1)");
    }

    #[test]
    fn a_failure_explains_a_lost_rank_and_a_lost_rank_explains_a_signal() {
        let ended = stated("interrupted by SIGTERM");
        expect(&[ended.clone(), ended.clone()], RunState::Interrupted, "interrupted by SIGTERM");
        expect(
            &[ended.clone(), RankEnd::Truncated],
            RunState::Lost,
            "lost rank 1: its trace stops; rank 0: interrupted by SIGTERM",
        );
        expect(
            &[stated("aborted: rank 1 failed"), stated("failed: no space left"), RankEnd::Truncated],
            RunState::Failed,
            "failed: rank 1: no space left; lost rank 2: its trace stops",
        );
        expect(&[stated("failed: bad key"), stated("failed: bad key")], RunState::Failed, "failed: bad key");
        expect(
            &[stated("failed: a"), stated("failed: b")],
            RunState::Failed,
            "failed: rank 0: a (rank 1 failed as well)",
        );
        expect(&[stated("aborted: rank 9 failed"), ended], RunState::Failed, "aborted: rank 9 failed");
    }

    #[test]
    fn traces_that_all_stop_were_killed_or_are_still_written() {
        let text = "lost ranks 0, 1: their traces stop, because the run was killed or is still running";
        expect(&[RankEnd::Truncated, RankEnd::Truncated], RunState::Lost, text);
        let text = "lost ranks 0, 1: the trace of rank 0 stops, that of rank 1 is not here, because the run was killed or is still running";
        expect(&[RankEnd::Truncated, RankEnd::Missing], RunState::Lost, text);
    }

    fn partial(planned: Planned, reached: Option<(u32, u64)>) -> RunEnd {
        let mut run = RunEnd {
            planned: Some(planned),
            reached_epoch: reached.map(|at| at.0),
            reached_step: reached.map(|at| at.1),
            ..RunEnd::default()
        };
        missing(&mut run, &[], 0);
        run
    }

    #[test]
    fn what_is_missing_is_named_by_its_epochs() {
        let planned = Planned { epochs: 5, steps: 100, ..Planned::default() };
        let run = partial(planned, Some((2, 37)));
        assert_eq!(run.missing_epochs, Some((2, 5)));
        assert_eq!(
            run.missing,
            "it reached step 37 of 100 in epoch 2 of 5; missing: the rest of epoch 2, epochs 3 to 5"
        );
        let run = partial(planned, Some((4, 100)));
        assert_eq!(run.missing, "it reached step 100 of 100 in epoch 4 of 5; missing: epoch 5");
        assert_eq!(partial(planned, Some((5, 100))).missing_epochs, None);
        assert_eq!(partial(planned, None).missing_epochs, Some((1, 5)));
    }
}
