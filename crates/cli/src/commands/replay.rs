//! `dlio-rs replay` and `dlio-rs run`: run the training loop, a recorded trace, or the steps that `workflow.*` enables.

use std::path::{Path, PathBuf};

use dlio_run::failure::Failure;
use dlio_run::message::Verbosity;
use dlio_run::options::{Action, Options};
use dlio_trace::import::SourceFormat;

use crate::args::{ConfigArgs, ReplayArgs, ReplayOrTraceArgs};
use crate::on_ranks::run_on_ranks;
use crate::trace_args::TraceReplayArgs;

/// Replays a workload, or a trace if the only non-override argument is a folder.
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
        return run(workload, Action::Train, verbosity);
    };
    let ReplayArgs { config, target, list, allow_empty, decode } = workload;
    let (format, target) = (target.format, target.options());
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
    let action = Action::Trace { folder: PathBuf::from(folder), options: Box::new(trace.options()) };
    let configuration = ConfigArgs { words, ..config }.configuration(None);
    run_on_ranks(format, Options { configuration, verbosity, ..target }, action)
}

/// Returns whether a file is a trace that can be imported; a file with the name of a workload never is.
fn is_foreign(path: &Path) -> bool {
    let is_workload =
        path.extension().is_some_and(|ending| ["yaml", "yml", "json"].iter().any(|known| ending == *known));
    !is_workload && path.is_file() && SourceFormat::of_file(path).is_some()
}

pub(super) fn run(args: ReplayArgs, action: Action, verbosity: Verbosity) -> Result<(), Failure> {
    let ReplayArgs { config, target, list, allow_empty, decode } = args;
    let configuration = config.configuration(None);
    let options = Options { configuration, verbosity, list, allow_empty, decode: decode.chosen(), ..target.options() };
    run_on_ranks(target.format, options, action)
}
