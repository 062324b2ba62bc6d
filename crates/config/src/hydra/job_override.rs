//! Overrides as Hydra applies them to a composed configuration: only an existing key can be set, and only a missing key
//! can be added.

use std::sync::Arc;

use crate::document::{Map, Node, Value};
use crate::error::{Error, Place, Problem};
use crate::hydra_value;
use crate::overrides::{self, Action};

/// An override on the command line.
#[derive(Debug, Clone)]
pub(super) struct JobOverride {
    /// The text, as the user typed it.
    pub(super) text: String,
    place: Place,
    action: Action,
    pub(super) target: Target,
    value: Option<Node>,
}

/// Target of an override.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// `workload=NAME`
    Workload(String),
    /// A key, counted from the root of the job's configuration.
    Job(Vec<String>),
    /// A key below `hydra`.
    Hydra(Vec<String>),
    /// `hydra/GROUP=OPTION`
    HydraGroup(String, String),
}

impl JobOverride {
    /// Parses one override.
    ///
    /// # Errors
    /// If the text has no `=`, an invalid key, a value outside Hydra's grammar, or a sweep.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let place = Place::Override(Arc::from(overrides::without_secret(text)));
        let fail = |key: &str, message: String| Error::from(Problem::new(&place, key, message));
        let (action, key, value) = overrides::split(text);
        if value.is_none() && action != Action::Delete {
            return Err(fail(key, "expected key=value".to_owned()));
        }
        let value = match value {
            Some(value) => Some(hydra_value::parse_job(value, &place).map_err(|message| fail(key, message))?),
            None => None,
        };
        let target = target(key, action, value.as_ref()).map_err(|message| fail(key, message))?;
        Ok(Self { text: text.to_owned(), place, action, target, value })
    }

    /// Applies the override to the configuration of the job or, for a key below `hydra`, to the settings of Hydra.
    ///
    /// # Errors
    /// If the key to set is missing, or the key to add exists.
    pub(super) fn apply(&self, job: &mut Node, hydra: &mut Node) -> Result<(), Problem> {
        match &self.target {
            Target::Job(path) => self.on(job, path, ""),
            Target::Hydra(path) => self.on(hydra, path, "hydra."),
            Target::Workload(_) => Ok(()),
            Target::HydraGroup(group, option) => {
                let choices = section(hydra, &["runtime", "choices"], &self.place);
                choices.set(&format!("hydra/{group}"), Node::new(Value::Text(option.clone()), self.place.clone()));
                Ok(())
            }
        }
    }

    fn on(&self, root: &mut Node, path: &[String], prefix: &str) -> Result<(), Problem> {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        let key = format!("{prefix}{}", path.join("."));
        let existing = root.at(&names);
        match (self.action, &self.value) {
            (Action::Delete, wanted) => {
                let Some(existing) = existing else {
                    return Err(Problem::new(&self.place, key, "cannot be deleted: it is not there"));
                };
                if wanted.as_ref().is_some_and(|wanted| wanted.value.json() != existing.value.json()) {
                    return Err(Problem::new(&self.place, key, "cannot be deleted: it has another value"));
                }
                overrides::delete(root, &names);
                Ok(())
            }
            (Action::Set, Some(_)) if existing.is_none() => {
                let message = format!("there is no such key; to add it, write +{}", self.text);
                Err(Problem::new(&self.place, key, message))
            }
            (Action::Add, Some(value)) if existing.is_some() && !matches!(value.value, Value::Map(_)) => {
                let message = "is there already; to set it, leave out the +, to set or add it, write ++";
                Err(Problem::new(&self.place, key, message))
            }
            (_, Some(value)) => {
                overrides::set(root, &names, value, &self.place);
                Ok(())
            }
            (_, None) => Ok(()),
        }
    }
}

/// Returns the mapping at a path and creates missing sections.
pub(super) fn section<'a>(root: &'a mut Node, path: &[&str], place: &Place) -> &'a mut Map {
    let mut node = root;
    for name in path {
        node = overrides::mapping(node).child(name, place);
    }
    overrides::mapping(node)
}

fn target(key: &str, action: Action, value: Option<&Node>) -> Result<Target, String> {
    if key.is_empty() {
        return Err("expected key=value, found no key".to_owned());
    }
    if key == "workload" {
        return match value.map(|node| &node.value) {
            _ if action == Action::Delete => Err("the workload cannot be deleted".to_owned()),
            _ if action == Action::Add => Err("a workload is chosen already; write workload=NAME".to_owned()),
            Some(Value::Text(name)) if !name.is_empty() => {
                let name = name.strip_suffix(".yaml").unwrap_or(name);
                Ok(Target::Workload(name.to_owned()))
            }
            Some(Value::Int(number)) => Ok(Target::Workload(number.to_string())),
            Some(other) => Err(format!("expected the name of a workload, found {}", other.found())),
            None => Err("expected workload=NAME".to_owned()),
        };
    }
    if let Some(group) = key.strip_prefix("hydra/") {
        let option = value.map_or_else(String::new, |node| match &node.value {
            Value::Text(text) => text.clone(),
            other => other.json().to_string(),
        });
        return Ok(Target::HydraGroup(group.to_owned(), option));
    }
    if let Some(c) = key.chars().find(|&c| !(c.is_alphanumeric() || "._-/$".contains(c))) {
        return Err(format!("a key consists of letters, digits, _, - and dots; found {c:?}"));
    }
    let path: Vec<String> = key.split('.').map(str::to_owned).collect();
    if path.iter().any(String::is_empty) || path.len() > overrides::PARTS_MAX {
        return Err(format!("expected up to {} parts between dots, none of them empty", overrides::PARTS_MAX));
    }
    match path.split_first() {
        Some((first, rest)) if first == "hydra" && !rest.is_empty() => Ok(Target::Hydra(rest.to_vec())),
        _ => Ok(Target::Job(path)),
    }
}
