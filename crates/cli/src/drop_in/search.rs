//! The search path for `workload/NAME.yaml`: the directory of `--config-dir`, then the bundled workloads or, if it is given, the
//! directory of `--config-path`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use dlio_config::hydra::{ConfigSource, Found};
use dlio_config::{bundled, nearest_word};

use super::hydra_args::HydraArgs;
use dlio_run::failure::Failure;
use dlio_run::resolve::suggest;

/// Name of the built-in primary configuration.
pub(super) const PRIMARY: &str = "config";

/// The search path.
pub(super) struct Search {
    config_dir: Option<PathBuf>,
    /// Replaces the bundled workloads.
    config_path: Option<PathBuf>,
}

impl Search {
    /// Creates the search path from the options.
    ///
    /// # Errors
    /// A directory does not exist.
    pub(super) fn new(line: &HydraArgs) -> Result<Self, Failure> {
        let folder = |flag: &str, path: &Option<PathBuf>| match path {
            None => Ok(None),
            Some(path) if path.is_dir() => std::path::absolute(path)
                .map(Some)
                .map_err(|error| Failure::file("finding the configuration directory", path, &error)),
            Some(path) => Err(Failure::usage(format_args!("{flag}: the directory {} does not exist", path.display()))),
        };
        Ok(Self {
            config_dir: folder("--config-dir", &line.config_dir)?,
            config_path: folder("--config-path", &line.config_path)?,
        })
    }

    /// Finds `NAME` or `workload/NAME`.
    pub(super) fn find(&self, name: &str) -> Option<Found> {
        // As in the reference, the program's own primary configuration takes precedence: a config.yaml next to the workloads
        // belongs to another program.
        if name == PRIMARY && self.config_path.is_none() {
            return None;
        }
        let folders = self.config_dir.iter().chain(&self.config_path);
        let file = folders.map(|folder| folder.join(format!("{name}.yaml"))).find(|path| path.is_file());
        if let Some(path) = file {
            let text = dlio_storage::regular_file::read_text(&path).ok()?;
            return Some(Found { path: path.display().to_string(), text });
        }
        let bundled_name = name.strip_prefix("workload/").filter(|_| self.config_path.is_none())?;
        let text = bundled::yaml(bundled_name)?.to_owned();
        Some(Found { path: format!("workloads/{bundled_name}.yaml"), text })
    }

    /// Returns whether a file of the directory hides a bundled workload that the reference would have used.
    pub(super) fn hides_bundled(&self, workload: &str) -> bool {
        let own = self.config_dir.as_ref().is_some_and(|dir| dir.join(format!("workload/{workload}.yaml")).is_file());
        own && self.config_path.is_none() && bundled::yaml(workload).is_some()
    }

    /// Returns the search path as Hydra prints it.
    pub(super) fn sources(&self) -> Vec<ConfigSource> {
        let source = |provider, schema, path: &str| ConfigSource { provider, schema, path: path.to_owned() };
        let folder = |provider, path: &Path| source(provider, "file", &path.display().to_string());
        let mut sources = vec![source("hydra", "pkg", "hydra.conf")];
        sources.push(match &self.config_path {
            Some(path) => folder("main", path),
            None => source("main", "pkg", "dlio_benchmark.configs"),
        });
        sources.extend(self.config_dir.iter().map(|path| folder("command-line", path)));
        sources.push(source("schema", "structured", ""));
        sources
    }

    /// Returns the error for an unknown workload, with the available ones.
    pub(super) fn no_workload(&self, name: &str) -> Failure {
        let mut text = format!("In 'config': Could not find 'workload/{name}'\n\nAvailable options in 'workload':");
        for option in self.options() {
            let _ = write!(text, "\n\t{option}");
        }
        text.push_str("\nConfig search path:");
        for source in self.sources() {
            let _ = write!(text, "\n\tprovider={}, path={}://{}", source.provider, source.schema, source.path);
        }
        let options = self.options();
        let known: Vec<&str> = options.iter().map(String::as_str).collect();
        let near = nearest_word(name, &known)
            .or_else(|| suggest::workloads(name).into_iter().find(|near| known.contains(near)));
        if let Some(near) = near {
            let _ = write!(text, "\nDid you mean 'workload={near}'?");
        }
        Failure::usage(text)
    }

    /// Returns the names of all available workloads in alphabetical order.
    pub(super) fn options(&self) -> Vec<String> {
        let mut names: Vec<String> = match &self.config_path {
            Some(_) => Vec::new(),
            None => bundled::names().map(str::to_owned).collect(),
        };
        for folder in self.config_dir.iter().chain(&self.config_path) {
            let Ok(entries) = std::fs::read_dir(folder.join("workload")) else { continue };
            let files = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            names.extend(files.filter_map(|file| file.strip_suffix(".yaml").map(str::to_owned)));
        }
        names.sort_unstable();
        names.dedup();
        names
    }
}
