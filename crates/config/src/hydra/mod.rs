//! The configuration of a job as Hydra composes it: a primary configuration, the workload that it or the command line
//! selects, and overrides. Also writes the three files that Hydra leaves beside the outputs of a job.
//!
//! The caller provides a look-up function for texts, so this module reads no file. The result is the input of
//! [`load`](crate::load()).

mod expand;
mod fork_detection;
mod job_override;
mod record;
mod yaml_writer;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::job_override::{JobOverride, Target, section};
use crate::document::{Map, Node, Value};
use crate::error::{Error, Place, Problem};
use crate::interpolate;
use crate::overrides;
use crate::schema::value_type;
use crate::yaml;

pub use self::fork_detection::is_fork_workload;
pub use self::record::{ConfigSource, Files, Runtime, Show};
pub use self::yaml_writer::python_float;

/// Name of the built-in primary configuration, used if the configuration directory has no file of this name.
const PRIMARY: &str = "config";
const GLOBAL: &str = "@package _global_";

/// A configuration file that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Path, for messages.
    pub path: String,
    /// Content of the file.
    pub text: String,
}

/// Finds the file `NAME` or `workload/NAME`, given without its suffix.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<Found>;

/// Error of a composition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// The primary configuration of this name does not exist.
    #[error("there is no configuration {0}.yaml in the configuration directory")]
    NoPrimary(String),
    /// The workload of this name does not exist.
    #[error("there is no workload/{0}.yaml in the configuration directory, and no bundled workload of this name")]
    NoWorkload(String),
    /// A file or an override is invalid.
    #[error(transparent)]
    Wrong(#[from] Error),
}

impl From<Problem> for ComposeError {
    fn from(problem: Problem) -> Self {
        Self::Wrong(problem.into())
    }
}

/// The composed configuration of a job.
#[derive(Debug, Clone)]
pub struct Composition {
    job: Node,
    hydra: Node,
    primary: String,
    workload: String,
    source: Found,
    changes: Vec<JobOverride>,
}

/// The parts of one configuration file.
struct Part {
    defaults: Vec<Node>,
    hydra: Option<Node>,
    rest: Node,
}

/// Composes `primary` with the overrides of a command line.
///
/// # Errors
/// If a file is missing or is not valid YAML, or an override cannot be applied.
pub fn compose(primary: &str, words: &[String], lookup: Lookup<'_>) -> Result<Composition, ComposeError> {
    let changes = words.iter().map(|word| JobOverride::parse(word)).collect::<Result<Vec<_>, Error>>()?;
    let place = Place::Default;
    let mut composer = Composer {
        lookup,
        job: empty(),
        hydra: skeleton()?,
        workload: None,
        chosen: changes.iter().rev().find_map(|change| match &change.target {
            Target::Workload(name) => Some(name.clone()),
            _ => None,
        }),
        plain: true,
    };
    composer.primary(primary, 0)?;
    let Composer { mut job, mut hydra, workload, plain, .. } = composer;
    let Some((workload, found)) = workload else {
        return Err(Problem::new(&place, "", format!("{primary}.yaml chooses no workload; write workload=NAME")).into());
    };
    let source = if plain {
        found
    } else {
        let tree = job.at(&["workload"]).cloned().unwrap_or_else(empty);
        Found { path: found.path, text: yaml_writer::document(&tree) }
    };
    for change in &changes {
        change.apply(&mut job, &mut hydra)?;
    }
    let mut composition = Composition { job, hydra, primary: primary.to_owned(), workload, source, changes };
    composition.note_overrides();
    Ok(composition)
}

impl Composition {
    /// Returns the name of the selected workload.
    #[must_use]
    pub fn workload(&self) -> &str {
        &self.workload
    }

    /// Returns the file of the workload, or the merged text of all files. Overrides are not applied yet.
    #[must_use]
    pub fn source(&self) -> &Found {
        &self.source
    }

    /// Returns the overrides that change the workload, as the user typed them.
    pub fn workload_overrides(&self) -> impl Iterator<Item = &str> {
        self.changes.iter().filter_map(|change| match &change.target {
            Target::Job(path) => {
                let first = path.first().map(String::as_str);
                let is_read = first == Some("dlio_rs") || (first == Some("workload") && path.len() > 1);
                is_read.then_some(change.text.as_str())
            }
            _ => None,
        })
    }

    /// Returns dotted keys at the root that this program does not read.
    pub fn stray_keys(&self) -> impl Iterator<Item = &str> {
        let map = self.job.map();
        map.into_iter()
            .flat_map(Map::iter)
            .map(|(name, _)| name)
            .filter(|name| !matches!(*name, "workload" | "dlio_rs"))
    }

    /// Returns a value below `hydra` as text, for example of `output_subdir`, `job.chdir` or `mode`.
    #[must_use]
    pub fn hydra_text(&self, path: &str) -> Option<String> {
        let names: Vec<&str> = path.split('.').collect();
        match &self.hydra.at(&names)?.value {
            Value::Null | Value::List(_) | Value::Map(_) => None,
            value => expand::printed(value),
        }
    }

    /// Returns `hydra.run.dir` with its interpolations resolved. `stamp` is the start time,
    /// `YYYY-MM-DDTHH:MM:SS.ffffff`.
    ///
    /// # Errors
    /// If an interpolation cannot be resolved; the default folder needs `model.name`.
    pub fn run_dir(&self, stamp: &str, env: &BTreeMap<String, String>) -> Result<String, Error> {
        let text = self.hydra_text("run.dir").unwrap_or_default();
        let context = expand::Context { job: &self.job, hydra: &self.hydra, stamp, env };
        let expanded = context.expand(&text);
        let folder = expanded.map_err(|message| Problem::new(&Place::Default, "hydra.run.dir", message))?;
        if folder.is_empty() {
            return Err(Problem::new(&Place::Default, "hydra.run.dir", "expected a folder, found nothing").into());
        }
        Ok(folder)
    }

    /// Returns a description of a key, value, name or folder of this job that only the MLPerf Storage fork or its
    /// harness has.
    #[must_use]
    pub fn fork_mark(&self) -> Option<String> {
        let workload = self.job.at(&["workload"])?;
        let name = workload.at(&["model", "name"]).and_then(value_type::text).unwrap_or_default();
        fork_detection::key(workload)
            .map(|key| format!("{key} exists in the MLPerf Storage fork only"))
            .or_else(|| fork_detection::name([("workload", &self.workload), ("model", &name)]))
            .or_else(|| fork_detection::folder(&self.source.path))
    }

    /// Returns the whole tree below `workload`, with its interpolations resolved.
    fn resolved(&self, env: &BTreeMap<String, String>) -> Result<Node, Problem> {
        let mut job = self.job.clone();
        if let Value::Map(map) = &mut job.value
            && let Some(workload) = map.get_mut("workload")
        {
            interpolate::resolve(workload, env)?;
        }
        Ok(job)
    }

    /// Records the overrides, `hydra.job.override_dirname` and the selected workload in Hydra's settings.
    fn note_overrides(&mut self) {
        let place = Place::Default;
        let text = |text: &str| Node::new(Value::Text(overrides::without_secret(text)), Place::Default);
        let (of_hydra, task): (Vec<&JobOverride>, Vec<&JobOverride>) =
            self.changes.iter().partition(|change| matches!(change.target, Target::Hydra(_) | Target::HydraGroup(..)));
        let list = |changes: &[&JobOverride]| changes.iter().map(|change| text(&change.text)).collect::<Vec<_>>();
        let mut names: Vec<String> = task.iter().map(|change| overrides::without_secret(&change.text)).collect();
        names.sort_unstable();
        let (of_hydra, task) = (list(&of_hydra), list(&task));
        let name = self.workload.clone();
        let noted = section(&mut self.hydra, &["overrides"], &place);
        noted.set("hydra", Node::new(Value::List(of_hydra), Place::Default));
        noted.set("task", Node::new(Value::List(task), Place::Default));
        let job = section(&mut self.hydra, &["job"], &place);
        job.set("override_dirname", Node::new(Value::Text(names.join(",")), Place::Default));
        job.set("config_name", Node::new(Value::Text(self.primary.clone()), Place::Default));
        let choices = section(&mut self.hydra, &["runtime", "choices"], &place);
        choices.set("workload", Node::new(Value::Text(name), Place::Default));
    }
}

fn empty() -> Node {
    Node::new(Value::Map(Map::default()), Place::Default)
}

/// Returns Hydra's settings before any change.
fn skeleton() -> Result<Node, Problem> {
    yaml::parse(&Arc::from("hydra.yaml"), include_str!("hydra.yaml"))
}

struct Composer<'a> {
    lookup: Lookup<'a>,
    job: Node,
    hydra: Node,
    workload: Option<(String, Found)>,
    /// Workload that the command line selects; it has precedence over every defaults list.
    chosen: Option<String>,
    /// The tree of the workload is one unmodified file.
    plain: bool,
}

impl Composer<'_> {
    /// Merges a primary configuration and the files in its defaults list.
    fn primary(&mut self, name: &str, depth: usize) -> Result<(), ComposeError> {
        const DEPTH_MAX: usize = 8;
        let found = (self.lookup)(name);
        if found.is_none() && name == PRIMARY {
            let name = self.chosen.clone().unwrap_or_else(|| "default".to_owned());
            return self.workload(&name);
        }
        let found = found.ok_or_else(|| ComposeError::NoPrimary(name.to_owned()))?;
        let part = part(&found)?;
        if depth > DEPTH_MAX {
            return Err(Problem::new(&part.rest.place, "defaults", "the lists of defaults name each other").into());
        }
        if self.chosen.is_none() {
            self.chosen = part.defaults.iter().find_map(overriding);
        }
        let mut itself = Some((part.rest, part.hydra));
        for entry in &part.defaults {
            match default(entry)? {
                Default::Itself => {
                    if let Some((rest, hydra)) = itself.take() {
                        self.merge(&rest, hydra.as_ref());
                    }
                }
                Default::Config(other) => self.primary(other, depth + 1)?,
                Default::Workload(name) => {
                    let name = self.chosen.clone().unwrap_or_else(|| name.to_owned());
                    self.workload(&name)?;
                }
                Default::Hydra => {}
            }
        }
        // Hydra places a file that does not name itself after its defaults.
        if let Some((rest, hydra)) = itself {
            self.merge(&rest, hydra.as_ref());
        }
        match (&self.workload, self.chosen.clone()) {
            (None, Some(name)) if depth == 0 => self.workload(&name),
            _ => Ok(()),
        }
    }

    fn merge(&mut self, rest: &Node, hydra: Option<&Node>) {
        if let Some(map) = rest.map() {
            self.plain &= map.get("workload").is_none();
            overrides::merge(overrides::mapping(&mut self.job), map);
        }
        if let Some(map) = hydra.and_then(Node::map) {
            overrides::merge(overrides::mapping(&mut self.hydra), map);
        }
    }

    fn workload(&mut self, name: &str) -> Result<(), ComposeError> {
        if self.workload.as_ref().is_some_and(|(earlier, _)| earlier == name) {
            return Ok(());
        }
        let found = self.group(name, 0)?;
        self.workload = Some((name.to_owned(), found));
        Ok(())
    }

    /// Merges a file of the group `workload` and the files in its defaults list.
    fn group(&mut self, name: &str, depth: usize) -> Result<Found, ComposeError> {
        const DEPTH_MAX: usize = 8;
        let found =
            (self.lookup)(&format!("workload/{name}")).ok_or_else(|| ComposeError::NoWorkload(name.to_owned()))?;
        let part = part(&found)?;
        if depth > DEPTH_MAX {
            return Err(Problem::new(&part.rest.place, "defaults", "the lists of defaults name each other").into());
        }
        let global = found.text.lines().take_while(|line| line.starts_with('#') || line.trim().is_empty());
        let global = global.into_iter().any(|line| line.contains(GLOBAL));
        let nested = part.rest.at(&["workload"]).is_some();
        self.plain &= depth == 0 && !global && !nested && part.defaults.is_empty();
        let mut waiting = true;
        for entry in &part.defaults {
            match default(entry)? {
                Default::Itself => {
                    self.merge_workload(&part.rest, global);
                    waiting = false;
                }
                Default::Config(other) | Default::Workload(other) => {
                    self.group(other, depth + 1)?;
                }
                Default::Hydra => {}
            }
        }
        if waiting {
            self.merge_workload(&part.rest, global);
        }
        Ok(found)
    }

    fn merge_workload(&mut self, rest: &Node, global: bool) {
        let Some(map) = rest.map() else { return };
        let root = overrides::mapping(&mut self.job);
        let into = if global { root } else { overrides::mapping(root.child("workload", &rest.place)) };
        overrides::merge(into, map);
    }
}

/// An entry of a defaults list.
enum Default<'a> {
    Itself,
    Config(&'a str),
    Workload(&'a str),
    /// Settings of Hydra's own groups, which have no effect here.
    Hydra,
}

/// Returns the workload of `override workload: NAME`, which also applies to included lists.
fn overriding(entry: &Node) -> Option<String> {
    match &entry.map()?.get("override workload")?.value {
        Value::Text(name) => Some(name.clone()),
        _ => None,
    }
}

fn default(entry: &Node) -> Result<Default<'_>, Problem> {
    let wrong = || {
        let message = format!("expected _self_, a file, or workload: NAME, found {}", entry.value.found());
        Problem::new(&entry.place, "defaults", message)
    };
    match &entry.value {
        Value::Text(text) if text == "_self_" => Ok(Default::Itself),
        Value::Text(text) => {
            let name = text.strip_prefix('/').unwrap_or(text);
            Ok(Default::Config(name.strip_suffix(".yaml").unwrap_or(name)))
        }
        Value::Map(map) => {
            let (key, node) = map.iter().next().ok_or_else(wrong)?;
            let key = key.trim_start_matches("override ").trim_start_matches("optional ").trim_start_matches('/');
            match &node.value {
                _ if key.starts_with("hydra/") => Ok(Default::Hydra),
                Value::Text(name) if key == "workload" => Ok(Default::Workload(name)),
                _ => Err(wrong()),
            }
        }
        _ => Err(wrong()),
    }
}

fn part(found: &Found) -> Result<Part, Problem> {
    let document = yaml::parse(&Arc::from(found.path.as_str()), &found.text)?;
    let place = document.place.clone();
    let mut map = match document.value {
        Value::Map(map) => map,
        Value::Null => Map::default(),
        other => {
            return Err(Problem::new(&place, "", format!("expected a mapping, found {}", other.found())));
        }
    };
    let defaults = match map.remove("defaults") {
        None => Vec::new(),
        Some(Node { value: Value::List(items), .. }) => items,
        Some(node) => {
            let message = format!("expected a list, found {}", node.value.found());
            return Err(Problem::new(&node.place, "defaults", message));
        }
    };
    let hydra = map.remove("hydra");
    Ok(Part { defaults, hydra, rest: Node::new(Value::Map(map), place) })
}
