//! The files that Hydra writes beside the outputs of a job, and the text of `--cfg`.

use std::collections::BTreeMap;

use super::job_override::{Target, section};
use super::{Composition, yaml_writer};
use crate::document::{Map, Node, Value};
use crate::error::{Error, Place, Problem};
use crate::overrides;
use crate::schema;

/// Values that are known only when the job starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// Working directory.
    pub cwd: String,
    /// Absolute path of the run directory.
    pub output_dir: String,
    /// Search path of configurations, in order.
    pub sources: Vec<ConfigSource>,
}

/// An entry of the search path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSource {
    /// Provider: `main` or `command-line`.
    pub provider: &'static str,
    /// Scheme: `pkg` or `file`.
    pub schema: &'static str,
    /// Folder, or name of the Python package.
    pub path: String,
}

/// Contents of the three files of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// Content of `config.yaml`.
    pub config: String,
    /// Content of `hydra.yaml`.
    pub hydra: String,
    /// Content of `overrides.yaml`.
    pub overrides: String,
}

/// Configuration that `--cfg` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// The configuration of the job.
    Job,
    /// The settings of Hydra.
    Hydra,
    /// Both.
    All,
}

impl Composition {
    /// Returns the files that Hydra would write for this run. Secrets are replaced by asterisks.
    #[must_use]
    pub fn files(&self, runtime: &Runtime) -> Files {
        let mut job = self.job.clone();
        redact(&mut job);
        let task = self.hydra.at(&["overrides", "task"]).cloned();
        let overrides = task.map_or_else(|| "[]\n".to_owned(), |list| yaml_writer::document(&list));
        let hydra = yaml_writer::document(&below("hydra", self.hydra_at(Some(runtime))));
        Files { config: yaml_writer::document(&job), hydra, overrides }
    }

    /// Returns the text that `--cfg` prints. With `resolve`, interpolations are resolved with these environment
    /// variables.
    ///
    /// # Errors
    /// If the package does not exist, or an interpolation cannot be resolved.
    pub fn show(
        &self,
        what: Show,
        package: Option<&str>,
        resolve: Option<&BTreeMap<String, String>>,
    ) -> Result<String, Error> {
        let mut job = match resolve {
            Some(env) => self.resolved(env)?,
            None => self.job.clone(),
        };
        redact(&mut job);
        let root = match what {
            Show::Job => job,
            Show::Hydra => below("hydra", self.hydra_at(None)),
            Show::All => {
                let mut all = below("hydra", self.hydra_at(None));
                if let Some(map) = job.map() {
                    overrides::merge(overrides::mapping(&mut all), map);
                }
                all
            }
        };
        let Some(package) = package.filter(|package| *package != "_global_") else {
            return Ok(yaml_writer::document(&root));
        };
        let names: Vec<&str> = package.split('.').collect();
        let Some(node) = root.at(&names) else {
            return Err(Problem::new(&Place::Default, package, "there is no such package in the configuration").into());
        };
        Ok(format!("# @package {package}\n{}", yaml_writer::document(node)))
    }

    /// Returns the defaults list; each entry has the configuration, the package, whether it names itself, and its
    /// parent.
    #[must_use]
    pub fn defaults(&self) -> Vec<[String; 4]> {
        let row =
            |path: &str, package: &str, itself: &str, parent: &str| [path, package, itself, parent].map(str::to_owned);
        vec![
            row(&self.primary, "", "True", "<root>"),
            row(&format!("workload/{}", self.workload), "workload", "False", &self.primary),
        ]
    }

    fn hydra_at(&self, runtime: Option<&Runtime>) -> Node {
        let mut hydra = self.hydra.clone();
        let place = Place::Default;
        let text = |text: &str| Node::new(Value::Text(text.to_owned()), Place::Default);
        let Some(runtime) = runtime else { return hydra };
        overrides::mapping(&mut hydra).set("mode", text("RUN"));
        if let Some(Node { value: Value::List(list), .. }) =
            section(&mut hydra, &["overrides"], &place).get_mut("hydra")
            && !self.changes.iter().any(|change| change.target == Target::Hydra(vec!["mode".to_owned()]))
        {
            list.push(text("hydra.mode=RUN"));
        }
        let sources = runtime.sources.iter().map(|source| {
            let mut map = Map::default();
            map.set("path", text(&source.path));
            map.set("schema", text(source.schema));
            map.set("provider", text(source.provider));
            Node::new(Value::Map(map), Place::Default)
        });
        let sources = sources.collect();
        let noted = section(&mut hydra, &["runtime"], &place);
        noted.set("cwd", text(&runtime.cwd));
        noted.set("config_sources", Node::new(Value::List(sources), Place::Default));
        noted.set("output_dir", text(&runtime.output_dir));
        hydra
    }
}

fn below(name: &str, node: Node) -> Node {
    let mut map = Map::default();
    map.set(name, node);
    Node::new(Value::Map(map), Place::Default)
}

fn redact(node: &mut Node) {
    match &mut node.value {
        Value::Map(map) => {
            let names: Vec<String> = map.iter().map(|(name, _)| name.to_owned()).collect();
            for (name, child) in names.iter().zip(map.values_mut()) {
                let secret = schema::secret_names().any(|secret| secret == name) && child.value != Value::Null;
                if secret {
                    child.value = Value::Text("***".to_owned());
                } else {
                    redact(child);
                }
            }
        }
        Value::List(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}
