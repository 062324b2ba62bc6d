//! Hydra-style overrides: `++a.b=v` sets or adds a key, `a.b=v` sets it, `+a.b=v` adds it, `~a.b` deletes it, and
//! `workload=NAME` selects a workload. The prefix `workload.` is optional.

use std::fmt;
use std::sync::Arc;

use crate::document::{Map, Node, Value};
use crate::error::{Error, Place, Problem};
use crate::hydra_value;
use crate::key_suggestions;
use crate::schema;

/// Maximum number of parts in a dotted key.
pub(crate) const PARTS_MAX: usize = 16;

/// A parsed override.
#[derive(Clone, PartialEq)]
pub struct Override {
    place: Place,
    action: Action,
    target: Target,
    value: Option<Node>,
}

/// Action of an override.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// `key=value`
    Set,
    /// `+key=value`
    Add,
    /// `++key=value`
    SetOrAdd,
    /// `~key`
    Delete,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    /// `workload=NAME`
    Group(String),
    /// A key below `workload`, split at its dots.
    Key(Vec<String>),
    /// `hydra.…`, `hydra/…`
    Hydra(String),
}

impl Override {
    /// Parses one argument of the command line.
    ///
    /// # Errors
    /// If the text is not an override: it has no `=`, an empty key, or a value outside Hydra's grammar.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let place = Place::Override(Arc::from(without_secret(text)));
        let fail = |key: &str, message: String| Error::from(Problem::new(&place, key, message));
        let (action, key, value) = split(text);
        if value.is_none() && action != Action::Delete {
            return Err(fail(key, "expected key=value".to_owned()));
        }
        let value = value.map(|value| hydra_value::parse(value, &place)).transpose().map_err(|m| fail(key, m))?;
        let target = target(key, action, value.as_ref()).map_err(|message| fail(key, message))?;
        Ok(Self { place, action, target, value })
    }

    /// Returns the name of the workload if the override is `workload=NAME`.
    #[must_use]
    pub fn selects_workload(&self) -> Option<&str> {
        match &self.target {
            Target::Group(name) => Some(name),
            Target::Key(_) | Target::Hydra(_) => None,
        }
    }

    /// Returns the key below `hydra` and its value if the override is for Hydra.
    pub(crate) fn hydra(&self) -> Option<(&str, Option<&Node>)> {
        match &self.target {
            Target::Hydra(key) => Some((key, self.value.as_ref())),
            Target::Key(_) | Target::Group(_) => None,
        }
    }

    /// Returns the value, so that callers can find the environment variables in it.
    pub(crate) fn value(&self) -> Option<&Node> {
        self.value.as_ref()
    }

    /// Applies the override to the tree below `workload`.
    pub(crate) fn apply(&self, workload: &mut Node) -> Result<(), Problem> {
        let Target::Key(path) = &self.target else { return Ok(()) };
        let key = path.join(".");
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        let existing = workload.at(&names);
        match (self.action, &self.value) {
            (Action::Delete, value) => {
                if existing.is_none() {
                    return Err(Problem::new(&self.place, key, "cannot be deleted: it is not there"));
                }
                if value
                    .as_ref()
                    .is_some_and(|value| existing.is_none_or(|node| node.value.json() != value.value.json()))
                {
                    return Err(Problem::new(&self.place, key, "cannot be deleted: it has another value"));
                }
                delete(workload, &names);
                Ok(())
            }
            (Action::Add, Some(value)) => {
                let container = matches!(value.value, Value::List(_) | Value::Map(_));
                if existing.is_some_and(|node| node.value != Value::Null) && !container {
                    let message = "is already there; use ++ to replace it";
                    return Err(Problem::new(&self.place, key, message));
                }
                self.set(workload, &names, value)
            }
            (Action::Set, Some(value)) => {
                if existing.is_none() && !schema::knows(&key) {
                    let message = format!("there is no such key{} ++ adds a key", key_suggestions::sentence(&key));
                    return Err(Problem::new(&self.place, key, message));
                }
                self.set(workload, &names, value)
            }
            (Action::SetOrAdd, Some(value)) => self.set(workload, &names, value),
            (_, None) => Ok(()),
        }
    }

    fn set(&self, workload: &mut Node, names: &[&str], value: &Node) -> Result<(), Problem> {
        let Some((last, sections)) = names.split_last() else { return Ok(()) };
        let mut node = workload;
        for (depth, name) in sections.iter().enumerate() {
            node = self.section(node, &names[..depth])?.child(name, &self.place);
        }
        let map = self.section(node, sections)?;
        match (map.get_mut(last), &value.value) {
            (Some(Node { value: Value::Map(existing), .. }), Value::Map(new)) => merge(existing, new),
            _ => map.set(last, value.clone()),
        }
        Ok(())
    }

    fn section<'a>(&self, node: &'a mut Node, names: &[&str]) -> Result<&'a mut Map, Problem> {
        if node.value == Value::Null {
            node.value = Value::Map(Map::default());
        }
        let found = node.value.found();
        match &mut node.value {
            Value::Map(map) => Ok(map),
            _ => Err(Problem::new(&self.place, names.join("."), format!("expected a section, found {found}"))),
        }
    }
}

/// Splits an override into its action, key and value.
pub(crate) fn split(text: &str) -> (Action, &str, Option<&str>) {
    let (action, rest) = if let Some(rest) = text.strip_prefix("++") {
        (Action::SetOrAdd, rest)
    } else if let Some(rest) = text.strip_prefix('+') {
        (Action::Add, rest)
    } else if let Some(rest) = text.strip_prefix('~') {
        (Action::Delete, rest)
    } else {
        (Action::Set, text)
    };
    match rest.split_once('=') {
        Some((key, value)) => (action, key.trim(), Some(value)),
        None => (action, rest.trim(), None),
    }
}

/// Sets a key. Sections on the path are created, and replace other values.
pub(crate) fn set(root: &mut Node, names: &[&str], value: &Node, place: &Place) {
    let Some((last, sections)) = names.split_last() else { return };
    let mut node = root;
    for name in sections {
        node = mapping(node).child(name, place);
    }
    let map = mapping(node);
    match (map.get_mut(last), &value.value) {
        (Some(Node { value: Value::Map(existing), .. }), Value::Map(new)) => merge(existing, new),
        _ => map.set(last, value.clone()),
    }
}

/// Turns the node into a mapping if it is not one, and returns the mapping.
pub(crate) fn mapping(node: &mut Node) -> &mut Map {
    if !matches!(node.value, Value::Map(_)) {
        node.value = Value::Map(Map::default());
    }
    match &mut node.value {
        Value::Map(map) => map,
        _ => unreachable!("made a mapping above"),
    }
}

/// Merges as OmegaConf does: mappings are merged, everything else is replaced.
pub(crate) fn merge(into: &mut Map, from: &Map) {
    for (name, node) in from.iter() {
        match (into.get_mut(name), &node.value) {
            (Some(Node { value: Value::Map(existing), .. }), Value::Map(new)) => merge(existing, new),
            _ => into.set(name, node.clone()),
        }
    }
}

/// Removes the key at a path, if it exists.
pub(crate) fn delete(node: &mut Node, names: &[&str]) {
    let Value::Map(map) = &mut node.value else { return };
    match names {
        [] => {}
        [last] => {
            map.remove(last);
        }
        [first, rest @ ..] => {
            if let Some(child) = map.get_mut(first) {
                delete(child, rest);
            }
        }
    }
}

fn target(key: &str, action: Action, value: Option<&Node>) -> Result<Target, String> {
    if key.is_empty() {
        return Err("expected key=value, found no key".to_owned());
    }
    if key == "workload" {
        return match value.map(|node| &node.value) {
            _ if action == Action::Delete => Err("the workload cannot be deleted".to_owned()),
            Some(Value::Text(name)) if !name.is_empty() => Ok(Target::Group(name.clone())),
            Some(Value::Int(number)) => Ok(Target::Group(number.to_string())),
            Some(other) => Err(format!("expected the name of a workload, found {}", other.found())),
            None => Err("expected workload=NAME".to_owned()),
        };
    }
    if let Some(rest) = key.strip_prefix("hydra.").or_else(|| key.strip_prefix("hydra/")) {
        return Ok(Target::Hydra(rest.to_owned()));
    }
    if let Some(c) = key.chars().find(|&c| !(c.is_alphanumeric() || "._-".contains(c))) {
        return Err(format!("a key consists of letters, digits, _, - and dots; found {c:?}"));
    }
    let path: Vec<String> = key.split('.').map(str::to_owned).collect();
    if path.iter().any(String::is_empty) {
        return Err("a part of the key is empty".to_owned());
    }
    if path.len() > PARTS_MAX {
        return Err(format!("a key has at most {PARTS_MAX} parts"));
    }
    let path = if path.len() > 1 && path[0] == "workload" { path[1..].to_vec() } else { path };
    Ok(Target::Key(path))
}

/// Hides the text that follows the name of a secret key.
#[must_use]
pub fn without_secret(text: &str) -> String {
    match schema::secret_names().filter_map(|name| text.find(name).map(|at| at + name.len())).min() {
        Some(at) => format!("{}=***", &text[..at]),
        None => text.to_owned(),
    }
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Override(text) => f.write_str(text),
            other => other.fmt(f),
        }
    }
}

impl fmt::Debug for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Override({self})")
    }
}
