//! Parsing beyond clap: optional values behind a blank, and suggestions for keys written as flags, workloads written as commands,
//! and flags of other programs.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use dlio_config::{has_key, nearest_key, vocabulary::Dialect};

use dlio_run::resolve::suggest;

/// Values of `--overwrite`.
const OVERWRITES: [&str; 3] = ["data", "output", "all"];

/// Flags of other programs, and their equivalents.
const FOREIGN: &[(&str, &str)] = &[
    ("--host", "--listen HOST:PORT"),
    ("--port", "--listen HOST:PORT"),
    ("--address", "--listen HOST:PORT"),
    ("--np", "`mpirun -np N dlio-rs …` starts ranks"),
    ("--num-processes", "`mpirun -np N dlio-rs …` starts ranks"),
    ("--hosts", "`mpirun --host HOST,HOST dlio-rs …` starts ranks there"),
    ("--results-dir", "--output DIR"),
    ("--config", "the YAML file is an argument without a flag"),
    ("--workload", "the workload is an argument without a flag: dlio-rs replay unet3d_h100"),
    ("--endpoint", "++workload.storage.endpoint_uris=[http://HOST:PORT]"),
    ("--endpoint-url", "++workload.storage.endpoint_uris=[http://HOST:PORT]"),
    ("--bucket", "++workload.dataset.data_folder=s3://BUCKET/PREFIX"),
    ("--ranks", "`mpirun -np N dlio-rs …` starts ranks; `dlio-rs plan --ranks N` only plans for them"),
    ("--json", "--format json"),
    ("--debug", "-vv"),
];

/// Prepares the arguments for clap: `--overwrite data` becomes `--overwrite=data`, unless a file or folder has that name, which may be
/// the trace or the configuration. `--version --verbose` is detected here, because clap stops at the first of the two.
pub(crate) fn words(words: impl Iterator<Item = OsString>) -> Words {
    let mut all: Vec<OsString> = Vec::new();
    for word in words {
        let joins = all.last().is_some_and(|last| last == "--overwrite")
            && OVERWRITES.iter().any(|value| word == *value)
            && !Path::new(&word).exists();
        match all.last_mut().filter(|_| joins) {
            Some(flag) => {
                flag.push("=");
                flag.push(&word);
            }
            None => all.push(word),
        }
    }
    long_version(&all).unwrap_or(Words::Parse(all))
}

/// Detects `--version --verbose`, optionally with `--mpi FILE`.
fn long_version(all: &[OsString]) -> Option<Words> {
    let (mut version, mut verbose, mut mpi) = (false, false, None);
    let mut words = all.iter().skip(1).map(|word| word.to_string_lossy());
    while let Some(word) = words.next() {
        match word.as_ref() {
            "--version" | "-V" => version = true,
            "--verbose" | "-v" => verbose = true,
            "-vV" | "-Vv" => (version, verbose) = (true, true),
            "--mpi" => mpi = Some(PathBuf::from(words.next()?.as_ref())),
            "--comm" => drop(words.next()?),
            other if other.starts_with("--comm=") => {}
            other => mpi = Some(PathBuf::from(other.strip_prefix("--mpi=")?)),
        }
    }
    (version && verbose).then_some(Words::LongVersion(mpi))
}

/// The prepared arguments.
pub(crate) enum Words {
    /// Arguments for clap.
    Parse(Vec<OsString>),
    /// `--version --verbose`, with the MPI library of `--mpi`.
    LongVersion(Option<PathBuf>),
}

/// Replaces clap's suggestions with better ones.
pub(crate) fn advise(mut error: clap::Error, words: &[OsString]) -> clap::Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let tip = match error.kind() {
        ErrorKind::UnknownArgument => {
            let Some(flag) = text(ContextKind::InvalidArg) else { return error };
            let tip = flag_tip(&flag, words);
            if tip.is_some() {
                error.remove(ContextKind::SuggestedArg);
            }
            // Clap suggests passing the flag as a value, but no value here begins with a dash.
            error.remove(ContextKind::Suggested);
            tip
        }
        ErrorKind::InvalidSubcommand => {
            let Some(word) = text(ContextKind::InvalidSubcommand) else { return error };
            let tip = command_tip(&word);
            if tip.is_some() {
                error.remove(ContextKind::SuggestedSubcommand);
            }
            tip
        }
        _ => None,
    };
    if let Some(tip) = tip {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// Returns a suggestion for an unknown flag that is a key or a flag of another program.
fn flag_tip(flag: &str, words: &[OsString]) -> Option<String> {
    let name = flag.split('=').next().unwrap_or(flag);
    let command = words.get(1).and_then(|word| word.to_str());
    let bare = name.trim_start_matches('-').replace('-', "_");
    let bare = bare.strip_prefix("workload.").unwrap_or(&bare);
    let value = value_of(name, words).unwrap_or_else(|| "VALUE".to_owned());
    let overrides = |key: &str| format!("keys are overridden without dashes: ++workload.{key}={value}");
    if bare.contains('.') {
        return Some(overrides(if has_key(bare, Dialect::Native) { bare } else { nearest_key(bare).unwrap_or(bare) }));
    }
    let takes_keys = matches!(command, Some("generate" | "replay" | "run" | "verify" | "plan" | "validate" | "doctor"));
    if let Some(key) = nearest_key(bare).filter(|key| takes_keys && key.rsplit('.').next() == Some(bare)) {
        return Some(overrides(key));
    }
    let listens = ["--host", "--port", "--address"].contains(&name);
    let known = FOREIGN.iter().filter(|_| !listens || command == Some("serve"));
    known.into_iter().find(|(foreign, _)| *foreign == name).map(|(_, here)| format!("here: {here}"))
}

/// Returns the value of a flag: the text after `=`, or the next argument.
fn value_of(flag: &str, words: &[OsString]) -> Option<String> {
    let at = words.iter().position(|word| word.to_str().is_some_and(|word| word.split('=').next() == Some(flag)))?;
    let word = words[at].to_str()?;
    let next = || words.get(at + 1)?.to_str().filter(|next| !next.starts_with('-') && !next.contains('='));
    word.split_once('=').map(|(_, value)| value).or_else(next).map(str::to_owned)
}

/// Returns a suggestion for a word that is not a command: a configuration, an override or a trace without a command.
fn command_tip(word: &str) -> Option<String> {
    let path = Path::new(word);
    let is_yaml = matches!(path.extension().and_then(OsStr::to_str), Some("yaml" | "yml"));
    let known = dlio_config::bundled::yaml(word).is_some();
    if known || is_yaml || path.is_dir() {
        return Some(format!("a command comes first: dlio-rs replay {word}"));
    }
    if let Some(name) = word.strip_prefix("workload=") {
        return Some(format!("a command comes first: dlio-rs replay {name}"));
    }
    if word.contains('=') {
        return Some(format!("a command and a configuration come first: dlio-rs replay unet3d_h100 {word}"));
    }
    let near = suggest::workloads(word);
    let starts = near.first().filter(|near| near.starts_with(word));
    starts.map(|near| format!("a command comes first, and the name of a workload is whole: dlio-rs replay {near}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Vec<OsString> {
        match words(text.split(' ').map(OsString::from)) {
            Words::Parse(words) => words,
            Words::LongVersion(_) => Vec::new(),
        }
    }

    #[test]
    fn a_value_behind_a_blank_belongs_to_overwrite() {
        assert_eq!(
            parse("dlio-rs replay my.yaml --overwrite data"),
            ["dlio-rs", "replay", "my.yaml", "--overwrite=data"]
        );
        assert_eq!(parse("dlio-rs replay --overwrite my.yaml"), ["dlio-rs", "replay", "--overwrite", "my.yaml"]);
        for long in ["dlio-rs --version --verbose", "dlio-rs -vV", "dlio-rs -V -v --mpi x --comm=solo"] {
            assert!(parse(long).is_empty(), "{long}");
        }
        assert!(!parse("dlio-rs --version").is_empty());
    }

    #[test]
    fn a_key_written_as_a_flag_is_shown_as_an_override() {
        let tip = |line: &str, flag: &str| flag_tip(flag, &parse(line));
        let line = "dlio-rs replay unet3d_h100 --train.epochs=2";
        assert!(tip(line, "--train.epochs").unwrap().ends_with(": ++workload.train.epochs=2"));
        assert!(tip("x replay u --train.epoch 3", "--train.epoch").unwrap().ends_with("++workload.train.epochs=3"));
        assert!(tip("x replay u --batch-size 3", "--batch-size").unwrap().ends_with("++workload.reader.batch_size=3"));
        assert!(
            tip("x run u --workload.train.epochs=2", "--workload.train.epochs").unwrap().ends_with("train.epochs=2")
        );
        assert!(tip("x serve --memory --port 9000", "--port").unwrap().contains("--listen"));
        assert_eq!(tip("x replay u --nonsense", "--nonsense"), None);
    }

    #[test]
    fn a_workload_without_a_command_is_told_where_it_belongs() {
        assert!(command_tip("unet3d_h100").unwrap().ends_with("dlio-rs replay unet3d_h100"));
        assert!(command_tip("workload=dlrm").unwrap().ends_with("dlio-rs replay dlrm"));
        assert!(command_tip("unet3d").unwrap().contains("dlio-rs replay unet3d_h100"));
        assert_eq!(command_tip("replai"), None);
    }

    /// Returns the command lines among the examples of a help text, split like a shell, without `mpirun` and redirections.
    fn examples(help: &str) -> Vec<Vec<String>> {
        let (_, text) = help.split_once("Examples:\n").unwrap_or_default();
        let text = text.replace("\\\n", " ");
        let lines = text.lines().take_while(|line| line.starts_with("  "));
        let words = |line: &str| -> Vec<String> {
            let plain = line.trim().replace('\'', "");
            let words = plain.split_whitespace().take_while(|word| !["|", ">", "&&", "&"].contains(word));
            words.map(str::to_owned).skip_while(|word| !word.ends_with("dlio-rs")).collect()
        };
        lines.map(words).filter(|words| !words.is_empty()).collect()
    }

    #[test]
    fn every_example_of_help_is_a_command_line_and_fits_eighty_columns() {
        use clap::{CommandFactory, Parser};
        fn visit(command: &clap::Command, seen: &mut usize) {
            let help = command.get_after_help().or(command.get_after_long_help()).map(ToString::to_string);
            for line in help.as_deref().unwrap_or_default().lines() {
                assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
            }
            for example in examples(help.as_deref().unwrap_or_default()) {
                if let Err(error) = crate::args::Cli::try_parse_from(&example) {
                    panic!("{example:?}: {error}");
                }
                *seen += 1;
            }
            command.get_subcommands().for_each(|below| visit(below, seen));
        }
        let mut seen = 0;
        visit(&crate::args::Cli::command(), &mut seen);
        assert!(seen >= 35, "{seen} examples");
    }
}
