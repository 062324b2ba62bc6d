//! From text to [`Loaded`]: parses the text, finds the workload, applies overrides, resolves interpolations, inspects
//! the keys, builds the workload and checks it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::assemble;
use crate::check;
use crate::document::{Map, Node, Value};
use crate::error::{Error, Place, Problem};
use crate::fields::Fields;
use crate::identity::{self, CoreConfig, CoreKeys};
use crate::inactive_keys;
use crate::inspect;
use crate::interpolate::{self, Unresolved};
use crate::legacy_keys;
use crate::notice::{Notice, NoticeCode, Severity};
use crate::overrides::Override;
use crate::python_bool;
use crate::schema::{self, value_type};
use crate::units;
use crate::vocabulary::Dialect;
use crate::workload::Workload;
use crate::yaml;

/// Text of a configuration.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Name of the file, for messages.
    pub name: &'a str,
    /// The YAML text.
    pub yaml: &'a str,
}

/// A valid configuration.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The validated workload.
    pub workload: Workload,
    /// Notices for the user.
    pub notices: Vec<Notice>,
    /// Keys that are present after overrides and interpolation, under one top key `workload`, without secrets.
    pub resolved: Json,
    /// Value of `hydra.run.dir`, if an override sets it.
    pub hydra_run_dir: Option<String>,
    /// Identity of the workload for MLPerf Storage.
    pub core_config: CoreConfig,
}

impl Loaded {
    /// Refuses the configuration if a notice warns of a probable mistake in the file, such as an unknown key or a value
    /// without effect. Copied quirks and features that are not implemented yet are not mistakes and pass.
    ///
    /// # Errors
    /// If there is at least one such warning; the error lists all of them.
    pub fn strict(&self) -> Result<(), Error> {
        let no_mistake = [NoticeCode::Quirk, NoticeCode::NotYetActedOn];
        let warnings = self.notices.iter().filter(|notice| notice.severity == Severity::Warning);
        let warnings = warnings.filter(|notice| !no_mistake.contains(&notice.code));
        let problems: Vec<_> = warnings.map(|notice| Problem::new(&Place::Default, "", notice.text.clone())).collect();
        if problems.is_empty() { Ok(()) } else { Err(Error::all(problems)) }
    }
}

/// Loads a workload from `source`. Overrides are applied in order; `env` provides the values of `${oc.env:NAME}`.
///
/// The dialect is the argument, else the value of `dlio_rs.dialect`, else `dlio`.
///
/// # Errors
/// If the text, an override or a resulting value is invalid; the error lists every problem.
pub fn load(
    source: &Source<'_>,
    overrides: &[Override],
    env: &BTreeMap<String, String>,
    dialect: Option<Dialect>,
) -> Result<Loaded, Error> {
    let name: Arc<str> = Arc::from(source.name);
    let document = yaml::parse(&name, source.yaml)?;
    let mut notices = Vec::new();
    let mut root = workload_of(document, &mut notices)?;
    for change in overrides {
        change.apply(&mut root)?;
    }
    let unresolved = interpolate::resolve_some(&mut root, env);
    // The identity covers the keys as they were written: a legacy name is a different key.
    let written = root.value.json();
    legacy_keys::apply(&mut root, &mut notices);
    let hydra_run_dir = hydra(overrides, &mut notices);

    let dialect = dialect.unwrap_or_else(|| dialect_of(&root));
    units::resolve(&mut root, dialect);
    python_bool::resolve(&mut root, dialect, &mut notices);
    let mut fields = Fields::new(&root, Place::File { name, line: None }, dialect);
    leave_out(unresolved, &mut fields);
    inspect::inspect(&mut fields);
    let workload = assemble::workload(&mut fields);
    if fields.problems.is_empty() {
        check::check(&workload, &mut fields);
    }
    let Fields { problems, notices: found, .. } = fields;
    if !problems.is_empty() {
        return Err(Error::all(problems));
    }
    notices.extend(found);
    let core_config = identity::core_config(&written, CoreKeys::of(workload.workflow));
    Ok(Loaded { workload, notices, resolved: resolved(&root), hydra_run_dir, core_config })
}

/// Reports keys that have no value after interpolation. It is an error if something reads the key and its interpolation
/// cannot be resolved, and a notice otherwise. As in the reference, `???` means that the key is absent.
fn leave_out(unresolved: Unresolved, fields: &mut Fields<'_>) {
    for (key, problem) in unresolved.problems {
        let read = schema::enclosing(&key).filter(|key| inactive_keys::reason(fields, key).is_none());
        if read.is_some() {
            if !fields.problems.contains(&problem) {
                fields.problems.push(problem);
            }
        } else {
            let text = format!("{problem}; not used, as nothing reads the key");
            fields.notices.push(Notice::info(NoticeCode::IgnoredKey, text));
        }
    }
    for (place, key) in unresolved.missing {
        let text = format!(
            "{place}: {key}: ??? stands for a missing value; the key is treated as absent, as in the reference"
        );
        fields.notices.push(Notice::warning(NoticeCode::Accepted, text));
    }
}

/// Returns the names of the environment variables that a configuration refers to, in the order of their first use.
#[must_use]
pub fn env_names(yaml: &str, overrides: &[Override]) -> Vec<String> {
    fn texts(node: &Node, names: &mut Vec<String>) {
        match &node.value {
            Value::Text(text) => interpolate::env_names(text, names),
            Value::List(items) => items.iter().for_each(|item| texts(item, names)),
            Value::Map(map) => map.iter().for_each(|(_, item)| texts(item, names)),
            _ => {}
        }
    }
    let mut names = Vec::new();
    interpolate::env_names(yaml, &mut names);
    overrides.iter().filter_map(Override::value).for_each(|node| texts(node, &mut names));
    names
}

/// Returns the tree below `workload`: the document itself, or its only key `workload`.
fn workload_of(document: Node, notices: &mut Vec<Notice>) -> Result<Node, Error> {
    let place = document.place.clone();
    let mut map = match document.value {
        Value::Map(map) => map,
        Value::Null => Map::default(),
        other => {
            let message = format!("expected a mapping of sections, found {}", other.found());
            return Err(Problem::new(&place, "", message).into());
        }
    };
    if let Some(defaults) = map.remove("defaults") {
        only_self(&defaults)?;
    }
    if let Some(node) = map.remove("hydra") {
        let text = format!("{}: hydra: ignored: these are settings of Hydra", node.place);
        notices.push(Notice::info(NoticeCode::IgnoredKey, text));
    }
    match map.remove("workload") {
        Some(node @ Node { value: Value::Map(_) | Value::Null, .. }) => {
            for (name, other) in map.iter() {
                let text = format!("{}: {name}: ignored, because it stands beside the key workload", other.place);
                notices.push(Notice::warning(NoticeCode::Shadowed, text));
            }
            Ok(node)
        }
        Some(node) => {
            let message = format!("expected a mapping of sections, found {}", node.value.found());
            Err(Problem::new(&node.place, "workload", message).into())
        }
        None => Ok(Node::new(Value::Map(map), place)),
    }
}

/// Accepts a Hydra defaults list only if it names the file itself. Hydra composes other files, not this program.
fn only_self(defaults: &Node) -> Result<(), Problem> {
    let entries = match &defaults.value {
        Value::List(items) => items.as_slice(),
        Value::Null => &[],
        _ => std::slice::from_ref(defaults),
    };
    let other = entries.iter().find(|item| item.value != Value::Text("_self_".to_owned()));
    other.map_or(Ok(()), |item| {
        let message = format!(
            "only _self_ is supported, found {}; put the keys of all files into one file, or load the composed \
             configuration that Hydra writes to .hydra/config.yaml",
            item.value.found()
        );
        Err(Problem::new(&item.place, "defaults", message))
    })
}

fn dialect_of(root: &Node) -> Dialect {
    let word = root.at(&["dlio_rs", "dialect"]).and_then(value_type::word);
    word.and_then(|word| Dialect::from_word(&word)).unwrap_or(Dialect::Dlio)
}

fn hydra(overrides: &[Override], notices: &mut Vec<Notice>) -> Option<String> {
    let mut run_dir = None;
    for change in overrides {
        match change.hydra() {
            Some(("run.dir", Some(node))) => run_dir = value_type::text(node),
            Some(_) => {
                let text =
                    format!("override {change}: ignored: of Hydra's settings only hydra.run.dir has a meaning here");
                notices.push(Notice::warning(NoticeCode::IgnoredOverride, text));
            }
            None => {}
        }
    }
    run_dir
}

fn resolved(root: &Node) -> Json {
    let mut workload = match root.value.json() {
        Json::Null => Json::Object(serde_json::Map::new()),
        json => json,
    };
    redact(&mut workload);
    serde_json::json!({ "workload": workload })
}

fn redact(json: &mut Json) {
    match json {
        Json::Object(map) => {
            for (name, value) in map.iter_mut() {
                if schema::secret_names().any(|secret| secret == name) {
                    *value = Json::String("***".to_owned());
                } else {
                    redact(value);
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}
