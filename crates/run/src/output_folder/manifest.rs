//! `run.json` lists what the runs of this program wrote into a folder, in one section per kind of run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

/// File name of the manifest.
pub const FILE: &str = "run.json";
/// Format version of the manifest. A reader of another major version does not understand it.
const VERSION: &str = "1.0";
/// Program name by which this program recognizes its own manifests.
const PROGRAM: &str = "dlio-rs";

/// Kind of run. Each kind replaces only its own files, so the generation of a dataset and its replay may share a
/// folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// `generate`, and `run` where the workflow only generates.
    Generate,
    /// `replay` and `run`: a training loop, checkpoints or a trace.
    Replay,
    /// `replay TRACE --dry-run`, which writes its log alone.
    DryRun,
    /// `verify`
    Verify,
    /// The reports of `analyze`.
    Analyze,
    /// `trace import`
    Import,
    /// `trace export` into a folder.
    Export,
}

impl Section {
    /// Returns the sections whose files a run of this kind replaces: its own, and reports about the files that it
    /// replaces.
    pub(super) fn replaces(self) -> &'static [Self] {
        match self {
            Self::Generate => &[Self::Generate],
            Self::Replay => &[Self::Replay, Self::Analyze],
            Self::DryRun => &[Self::DryRun],
            Self::Verify => &[Self::Verify],
            Self::Analyze => &[Self::Analyze],
            Self::Import => &[Self::Import, Self::Analyze],
            Self::Export => &[Self::Export],
        }
    }

    /// Returns how to choose another destination, for messages.
    pub(super) fn elsewhere(self) -> &'static str {
        match self {
            Self::Generate | Self::Replay | Self::DryRun | Self::Verify => "give another folder with --output",
            Self::Analyze => "give other files with --json and --html, or none with --no-files",
            Self::Import | Self::Export => "give another folder with --out",
        }
    }

    /// Returns how to replace files that no run lists, for messages.
    pub(super) fn overwrite(self) -> &'static str {
        match self {
            Self::Generate | Self::Replay | Self::DryRun | Self::Verify => "--overwrite=output",
            Self::Analyze | Self::Import | Self::Export => "--overwrite",
        }
    }
}

/// One output file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Output {
    /// Name relative to the folder; absolute for a log file elsewhere.
    pub(super) name: String,
    /// Size in bytes at the end of the run; absent during the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<u64>,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    /// Version of the program.
    pub(super) version: String,
    /// Command line.
    pub(super) command: Vec<String>,
    /// Host of rank 0.
    pub(super) host: String,
    /// Process id of rank 0.
    pub(super) pid: i32,
    /// Variable and number of the scheduler's job; `None` without a scheduler.
    pub(super) job: Option<String>,
    /// Number of ranks.
    pub(super) ranks: u32,
    /// `running`, `completed`, `interrupted by …` or `failed: …`.
    pub(super) state: String,
    /// Local time at the start of the run.
    pub(super) started: String,
    /// Files that the run wrote; during the run, files that it may write.
    pub(super) files: Vec<Output>,
}

/// State of a run during the run.
pub(super) const RUNNING: &str = "running";
/// State of a run whose process disappeared.
const VANISHED: &str = "failed: the process ended without recording how, as after SIGKILL or a power failure";

/// Content of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    program: String,
    format_version: String,
    runs: BTreeMap<Section, Run>,
}

impl Default for Manifest {
    fn default() -> Self {
        Self { program: PROGRAM.to_owned(), format_version: VERSION.to_owned(), runs: BTreeMap::new() }
    }
}

impl Manifest {
    /// Reads the manifest of a folder; `None` if this program wrote none there.
    ///
    /// # Errors
    /// If the manifest cannot be read.
    pub(super) fn read(folder: &Path) -> io::Result<Option<Self>> {
        let bytes = match fs::read(folder.join(FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let ours = |found: &Self| found.program == PROGRAM && found.format_version.starts_with("1.");
        Ok(serde_json::from_slice(&bytes).ok().filter(ours))
    }

    /// Returns the manifest as JSON.
    pub(super) fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Returns the run of a section.
    pub(super) fn run(&self, section: Section) -> Option<&Run> {
        self.runs.get(&section)
    }

    /// Whether no run is listed.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether a kind of run other than reports has written here.
    pub(super) fn has_runs(&self) -> bool {
        self.runs.keys().any(|section| *section != Section::Analyze)
    }

    /// Returns the names that any run lists.
    pub(super) fn listed(&self) -> BTreeSet<&str> {
        self.runs.values().flat_map(|run| &run.files).map(|file| file.name.as_str()).collect()
    }

    /// Returns the names below the folder that a run of this kind replaces. Anybody can edit a manifest, so names that
    /// lead out of the folder are left out.
    pub(super) fn replaced_by(&self, section: Section) -> Vec<String> {
        let runs = section.replaces().iter().filter_map(|section| self.runs.get(section));
        let names = runs.flat_map(|run| &run.files).map(|file| &file.name);
        names.filter(|name| is_below(name)).cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Removes sections whose files are gone.
    pub(super) fn forget(&mut self, section: Section) {
        for replaced in section.replaces() {
            self.runs.remove(replaced);
        }
    }

    /// Sets or removes a section. A file belongs to the run that wrote it last.
    pub(super) fn set(&mut self, section: Section, run: Option<Run>) {
        let Some(run) = run else {
            self.runs.remove(&section);
            return;
        };
        let names: BTreeSet<&str> = run.files.iter().map(|file| file.name.as_str()).collect();
        for (_, other) in self.runs.iter_mut().filter(|(other, _)| **other != section) {
            other.files.retain(|file| !names.contains(file.name.as_str()));
        }
        self.runs.insert(section, run);
    }

    /// Marks listed runs as disappeared that are still listed as running: the caller holds the lock, so they cannot be.
    pub(super) fn settle(&mut self) {
        for run in self.runs.values_mut().filter(|run| run.state == RUNNING) {
            VANISHED.clone_into(&mut run.state);
        }
    }
}

/// Whether a name stays below its folder.
pub(super) fn is_below(name: &str) -> bool {
    !name.is_empty() && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(state: &str, names: &[&str]) -> Run {
        Run {
            version: "0".to_owned(),
            command: Vec::new(),
            host: "h".to_owned(),
            pid: 1,
            job: None,
            ranks: 1,
            state: state.to_owned(),
            started: String::new(),
            files: names.iter().map(|name| Output { name: (*name).to_owned(), bytes: Some(1) }).collect(),
        }
    }

    fn manifest() -> Manifest {
        let mut manifest = Manifest::default();
        manifest.set(Section::Generate, Some(run("completed", &["dlio.log", "trace-generate/a"])));
        manifest.set(Section::Replay, Some(run(RUNNING, &["dlio.log", "trace/a", "../other", "/etc/x"])));
        manifest.set(Section::Analyze, Some(run("completed", &["report.json"])));
        manifest
    }

    #[test]
    fn a_replay_replaces_the_replay_before_and_its_reports() {
        assert_eq!(manifest().replaced_by(Section::Replay), ["dlio.log", "report.json", "trace/a"]);
        assert_eq!(manifest().replaced_by(Section::Generate), ["trace-generate/a"], "the log is the replay's by now");
        assert_eq!(manifest().replaced_by(Section::Verify), Vec::<String>::new());
        let mut manifest = manifest();
        manifest.forget(Section::Replay);
        assert!(manifest.run(Section::Generate).is_some() && manifest.run(Section::Analyze).is_none());
    }

    #[test]
    fn a_manifest_comes_back_and_another_program_s_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::read(folder.path()).unwrap(), None);
        let path = folder.path().join(FILE);
        fs::write(&path, manifest().to_bytes().unwrap()).unwrap();
        assert_eq!(Manifest::read(folder.path()).unwrap(), Some(manifest()));
        for other in ["{}", "[1]", "no json", "{\"program\":\"dlio-rs\",\"format_version\":\"2.0\",\"runs\":{}}"] {
            fs::write(&path, other).unwrap();
            assert_eq!(Manifest::read(folder.path()).unwrap(), None, "{other}");
        }
    }

    #[test]
    fn a_run_that_vanished_is_not_left_running() {
        let mut manifest = manifest();
        manifest.settle();
        assert!(manifest.run(Section::Replay).unwrap().state.starts_with("failed: "));
        assert_eq!(manifest.run(Section::Generate).unwrap().state, "completed");
    }

    #[test]
    fn names_that_lead_out_of_the_folder_are_told_apart() {
        assert!(is_below("trace/rank-00000.parquet") && is_below("dlio.log"));
        assert!(!["", "../x", "/x", "a/../../x", "./x"].iter().any(|name| is_below(name)));
    }
}
