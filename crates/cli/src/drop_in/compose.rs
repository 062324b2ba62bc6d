//! Composes the configuration of a `dlio_benchmark` run: the workload, its overrides, the run folder and the three files that
//! Hydra writes there. Rank 0 takes one time stamp here for all ranks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dlio_config::hydra::{Composition, Runtime, compose};
use dlio_config::vocabulary::Dialect;
use dlio_engine::MonotonicClock;
use dlio_event::TimeSource as _;

use super::hydra_args::HydraArgs;
use super::search::{PRIMARY, Search};
use dlio_run::failure::Failure;
use dlio_run::host::wall_clock::Anchor;
use dlio_run::launch::Environment;
use dlio_run::message::Level;
use dlio_run::resolve::config_source::{ConfigSource, HydraRun};

/// A composed command line.
pub(super) struct Composed {
    pub(super) search: Search,
    pub(super) composition: Composition,
}

/// Composes the configuration for a parsed command line.
///
/// # Errors
/// A directory, workload or key does not exist, or an override cannot be parsed.
pub(super) fn composed(line: &HydraArgs) -> Result<Composed, Failure> {
    let search = Search::new(line)?;
    let primary = line.config_name.as_deref().unwrap_or(PRIMARY);
    let composition = compose(primary, &line.overrides, &|name| search.find(name));
    let composition = composition.map_err(|error| super::failure(error, &search))?;
    if composition.hydra_text("mode").is_some_and(|mode| mode.eq_ignore_ascii_case("multirun")) {
        return Err(Failure::usage("hydra.mode=MULTIRUN is not supported: start one run after the other"));
    }
    Ok(Composed { search, composition })
}

/// Returns the configuration source of a run, from the command line and the environment.
///
/// # Errors
/// As [`composed`]; also if the name of the run folder cannot be resolved, or the log level is unknown.
pub(super) fn wanted(line: &HydraArgs, env: &Environment) -> Result<ConfigSource, Failure> {
    let Composed { search, composition } = composed(line)?;
    let mut remarks = Vec::new();
    if search.hides_bundled(composition.workload()) {
        remarks.push(format!(
            "workload {0}: {1} is taken; dlio_benchmark itself would take its own file of this name",
            composition.workload(),
            composition.source().path
        ));
    }
    let (mut warnings, mut others) = (Vec::new(), Vec::new());
    for key in composition.stray_keys() {
        if dlio_config::is_section(key) {
            let word = line.overrides.iter().find(|word| word.trim_start_matches('+').starts_with(&format!("{key}.")));
            let bare = word.map_or(key, |word| word.trim_start_matches('+'));
            warnings.push(format!(
                "{bare} has no effect, because it is outside of the group workload: write ++workload.{bare}"
            ));
        } else {
            others.push(key);
        }
    }
    if !others.is_empty() {
        remarks.push(format!("ignored beside workload: {}", others.join(", ")));
    }
    let overrides: Vec<String> = composition.workload_overrides().map(str::to_owned).collect();
    let marks = composition.fork_mark().or_else(|| super::harness::mark(Path::new(&composition.source().path)));
    let chosen = line.overrides.iter().any(|word| word.contains("dlio_rs.dialect="))
        || composition.source().text.contains("dialect:");
    let dialect = marks.as_ref().filter(|_| !chosen).map(|_| Dialect::Mlperf.word().to_owned());
    let run = hydra_run(&search, &composition, env)?;
    Ok(ConfigSource {
        name: composition.source().path.clone(),
        yaml: composition.source().text.clone(),
        overrides,
        dialect,
        flags: BTreeMap::new(),
        marks,
        strict: false,
        hydra: Some(HydraRun { remarks, warnings, ..run }),
    })
}

/// Returns the run folder and the files that Hydra writes there.
///
/// # Errors
/// The name of the folder cannot be resolved, or the log level is unknown.
pub(super) fn hydra_run(search: &Search, composition: &Composition, env: &Environment) -> Result<HydraRun, Failure> {
    let clock = MonotonicClock;
    let anchor = Anchor::now(&clock);
    let folder = composition.run_dir(&anchor.stamp(clock.now()), env).map_err(Failure::usage)?;
    let cwd = std::path::absolute(".").unwrap_or_else(|_| PathBuf::from("."));
    let folder = dlio_run::resolve::location::named("hydra.run.dir", Path::new(&folder))?;
    let folder: PathBuf = cwd.join(folder).components().collect();
    let runtime =
        Runtime { cwd: cwd.display().to_string(), output_dir: folder.display().to_string(), sources: search.sources() };
    let files = composition.files(&runtime);
    Ok(HydraRun {
        folder,
        subfolder: composition.hydra_text("output_subdir"),
        chdir: composition.hydra_text("job.chdir").is_some_and(|text| text.eq_ignore_ascii_case("true")),
        files: [
            ("config.yaml".to_owned(), files.config),
            ("hydra.yaml".to_owned(), files.hydra),
            ("overrides.yaml".to_owned(), files.overrides),
        ],
        level: level(env)?,
        pfw: env.get("DFTRACER_ENABLE").is_some_and(|value| value == "1"),
        output: env.get("DLIO_OUTPUT_FOLDER").filter(|text| !text.is_empty()).map(PathBuf::from),
        remarks: Vec::new(),
        warnings: Vec::new(),
    })
}

/// Parses `DLIO_LOG_LEVEL` in the spellings that the reference accepts.
fn level(env: &Environment) -> Result<Level, Failure> {
    let Some(word) = env.get("DLIO_LOG_LEVEL").filter(|word| !word.is_empty()) else { return Ok(Level::Warning) };
    Ok(match word.as_str() {
        "debug" | "DEBUG" => Level::Debug,
        "info" | "INFO" => Level::Info,
        "warning" | "warn" | "WARNING" | "WARN" => Level::Warning,
        "error" | "ERROR" => Level::Error,
        "critical" | "CRITICAL" => Level::Critical,
        other => {
            return Err(Failure::usage(format_args!(
                "DLIO_LOG_LEVEL: expected debug, info, warning, error or critical, found {other:?}"
            )));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_level_has_the_reference_s_spellings() {
        let of = |word: &str| level(&Environment::from([("DLIO_LOG_LEVEL".to_owned(), word.to_owned())]));
        assert_eq!(level(&Environment::new()).ok(), Some(Level::Warning));
        assert_eq!(of("WARN").ok(), Some(Level::Warning));
        assert_eq!(of("info").ok(), Some(Level::Info));
        assert!(of("Info").is_err());
    }
}
