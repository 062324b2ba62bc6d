//! `dlio-rs replay` and `dlio-rs run`: the training loop, a recorded trace, or whatever `workflow.*` asks for.

use dlio_config::workload::Workflow;
use dlio_trace::import::SourceFormat;

use std::path::{Path, PathBuf};

use crate::args::{ReplayArgs, ReplayOrTraceArgs};
use crate::trace_args::TraceReplayArgs;
use dlio_run::execute::{Work, execute};
use dlio_run::failure::Failure;
use dlio_run::options::{ConfigWords, Overwrite};
use dlio_run::outputs::log::Verbosity;
use dlio_run::replay::{self, Wanted};
use dlio_run::resolve::source;
use dlio_run::session::{Session, Start, Writes, on_ranks};

/// Which of the two commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// The training loop, whatever `workflow.*` says, unless it asks for nothing but checkpoints.
    Replay,
    /// What `workflow.*` says.
    Workflow,
}

/// Replays a workload, or the trace that the only folder among the words holds.
pub(super) fn replay(args: ReplayOrTraceArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let ReplayOrTraceArgs { workload, trace } = args;
    let is_trace = |word: &str| Path::new(word).is_dir() || word.ends_with(".parquet");
    let (folders, words): (Vec<String>, Vec<String>) =
        workload.config.words.iter().cloned().partition(|word| is_trace(word));
    let Some(folder) = folders.first() else {
        let named: Vec<&str> = words.iter().filter(|word| !word.contains('=')).map(String::as_str).collect();
        if let Some(foreign) = named.iter().find(|name| is_foreign(Path::new(name))) {
            return Err(Failure::usage(format_args!(
                "{foreign} is a trace of another program: `dlio-rs trace import {foreign} --out imported` makes one that is replayed"
            )));
        }
        if trace != TraceReplayArgs::default() {
            if let Some(yaml) = named.first().filter(|name| trace.dry_run && Path::new(name).is_file()) {
                return Err(Failure::usage(format_args!(
                    "--dry-run is for recorded traces, and {yaml} is a workload: `dlio-rs plan {yaml}` says what it would do"
                )));
            }
            let found = if named.is_empty() { "nothing".to_owned() } else { named.join(" ") };
            return Err(Failure::usage(format_args!(
                "options of a replayed trace are given, but no folder with a trace: {found} is none; expected rank-*.parquet or an output \
                 folder, which `dlio-rs trace import` makes of traces of other programs"
            )));
        }
        if let Some(lost) = named.iter().find(|name| name.starts_with(['/', '.']) && !Path::new(name).exists()) {
            return Err(Failure::usage(format_args!(
                "there is no {lost}{} a folder with a trace, a DLIO YAML file or the name of a bundled workload",
                dlio_run::resolve::suggest::then(&dlio_run::resolve::suggest::configuration(lost), "expected")
            )));
        }
        return run(workload, What::Replay, verbosity);
    };
    let ReplayArgs { config, target, list, allow_empty, decode } = workload;
    let target = target.options();
    if folders.len() > 1 || words.iter().any(|word| !word.contains('=') && !word.starts_with('~')) {
        return Err(Failure::usage("a folder with a trace and something else are given: give one"));
    }
    if target.overwrites_data() && !target.overwrites_output() || list || allow_empty || decode.chosen().is_some() {
        return Err(Failure::usage(
            "--overwrite=data, --list, --allow-empty, --decode and --verify are for workloads, not for a trace",
        ));
    }
    if trace.late_without_schedule() {
        return Err(Failure::usage("--late needs the recorded schedule: --timing open"));
    }
    let folder = PathBuf::from(folder);
    let config = ConfigWords { words, ..config.words() };
    let trace = trace.options();
    on_ranks(|comm| async move {
        let wanted = Wanted { folder, config: &config, target: &target, args: &trace, verbosity };
        Box::pin(replay::run(comm, wanted)).await
    })
}

/// Whether a file is a trace that can be imported; what is named as a workload is none, however it begins.
fn is_foreign(path: &Path) -> bool {
    let is_workload =
        path.extension().is_some_and(|ending| ["yaml", "yml", "json"].iter().any(|known| ending == *known));
    !is_workload && path.is_file() && SourceFormat::of_file(path).is_some()
}

pub(super) fn run(args: ReplayArgs, what: What, verbosity: Verbosity) -> Result<(), Failure> {
    let ReplayArgs { config, target, list, allow_empty, decode } = args;
    let (config, target) = (config.words(), target.options());
    on_ranks(|comm| async move {
        let find = || {
            let mut wanted = source::find(&config, None)?;
            wanted.flags.extend(decode.chosen().map(|chosen| ("--decode".to_owned(), chosen.to_string())));
            Ok(wanted)
        };
        let writes = if what == What::Replay { Writes::Replay } else { Writes::Workflow };
        let start = Start { find: &find, target: &target, verbosity, writes };
        let mut session = Session::start(comm, start).await?;
        let only_checkpoints = !session.loaded.workload.workflow.train && session.loaded.workload.workflow.checkpoint;
        if what == What::Replay && !only_checkpoints {
            // The file may be one that only generates; this command trains on what it generated.
            session.loaded.workload.workflow.train = true;
        }
        if let Some(chosen) = decode.chosen() {
            session.loaded.workload.dlio_rs.decode = chosen;
        }
        let workload = &session.loaded.workload;
        let asked = match what {
            What::Replay => {
                let Workflow { train, checkpoint, .. } = workload.workflow;
                let keep = workload.dataset.keep_files || !train;
                Ok(Work { train, keep, checkpoint, ..Work::training(&target) })
            }
            What::Workflow => Work::of_workflow(workload, &target),
        };
        let work = session.agree(asked).await?;
        let work = Work { overwrite: target.overwrites_data(), list, allow_empty, ..work };
        if target.overwrite == Some(Overwrite::Data) && !work.generate {
            session.warn("--overwrite=data has no effect: this run generates nothing");
        }
        if list && !work.generate && !work.train {
            session.warn("--list has no effect: this run takes nothing but checkpoints");
        }
        execute(&session, work).await
    })
}
