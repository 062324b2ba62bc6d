//! Interpolations: `${oc.env:NAME}`, `${oc.env:NAME,default}`, `${oc.decode:…}`, `${a.b}` and the relative `${.b}`,
//! nested and inside text.
//!
//! Invariant: resolution ends for every input. References are followed under a budget, and a cycle is an error.

use std::collections::BTreeMap;

use crate::document::{Node, Value};
use crate::error::{Place, Problem};
use crate::hydra_value;

const STEPS_MAX: usize = 20_000;
const DEPTH_MAX: usize = 40;
const TEXT_MAX: usize = 1 << 16;

/// Replaces every interpolation below `root`, the tree below `workload`.
///
/// # Errors
/// If an interpolation cannot be resolved or a mandatory value is missing; the error is the first one.
pub(crate) fn resolve(root: &mut Node, env: &BTreeMap<String, String>) -> Result<(), Problem> {
    let Unresolved { problems, missing } = resolve_some(root, env);
    let missing = missing
        .into_iter()
        .map(|(place, key)| Problem::new(&place, key, "a value must be given: ??? marks a mandatory one"));
    problems.into_iter().map(|(_, problem)| problem).chain(missing).next().map_or(Ok(()), Err)
}

/// Values that could not be resolved; they are null in the tree.
#[derive(Debug, Default)]
pub(crate) struct Unresolved {
    /// Keys whose interpolations cannot be resolved, each with the reason, which may be a problem of another key.
    pub(crate) problems: Vec<(String, Problem)>,
    /// Keys whose value is `???`, with their places.
    pub(crate) missing: Vec<(Place, String)>,
}

/// Replaces every interpolation that can be resolved. Whether the others matter depends on the readers of their keys.
pub(crate) fn resolve_some(root: &mut Node, env: &BTreeMap<String, String>) -> Unresolved {
    let raw = root.clone();
    let mut resolver = Resolver { root: &raw, env, steps: 0, unresolved: Unresolved::default() };
    resolver.tree(root, &mut Vec::new());
    resolver.unresolved
}

/// Adds the names in `${oc.env:NAME}`, in the order of the text.
pub(crate) fn env_names(text: &str, names: &mut Vec<String>) {
    for part in text.split("${oc.env:").skip(1) {
        let name = part.split([',', '}', '$']).next().unwrap_or_default().trim().trim_matches(['\'', '"']);
        if !name.is_empty() && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
}

struct Resolver<'a> {
    root: &'a Node,
    env: &'a BTreeMap<String, String>,
    steps: usize,
    unresolved: Unresolved,
}

/// Position of an interpolation: its key, and the keys whose resolution led to it.
struct Site<'a> {
    node: &'a Node,
    path: &'a [String],
    chain: Vec<String>,
}

impl Site<'_> {
    fn problem(&self, message: impl Into<String>) -> Problem {
        Problem::new(&self.node.place, self.path.join("."), message)
    }
}

impl Resolver<'_> {
    fn tree(&mut self, node: &mut Node, path: &mut Vec<String>) {
        match &mut node.value {
            Value::Map(map) => {
                let names: Vec<String> = map.iter().map(|(name, _)| name.to_owned()).collect();
                for (name, child) in names.into_iter().zip(map.values_mut()) {
                    path.push(name);
                    self.tree(child, path);
                    path.pop();
                }
            }
            Value::List(items) => {
                for (index, child) in items.iter_mut().enumerate() {
                    path.push(index.to_string());
                    self.tree(child, path);
                    path.pop();
                }
            }
            Value::Text(text) if text.contains("${") => {
                let text = text.clone();
                let site = Site { node, path, chain: vec![path.join(".")] };
                match self.text(&text, &site) {
                    Ok(resolved) => {
                        let place = node.place.clone();
                        node.value = resolved.value;
                        node.from_environment = resolved.from_environment;
                        node.relocate(&place);
                    }
                    Err(problem) => {
                        self.unresolved.problems.push((path.join("."), problem));
                        node.value = Value::Null;
                    }
                }
            }
            Value::Text(text) if text == "???" => {
                self.unresolved.missing.push((node.place.clone(), path.join(".")));
                node.value = Value::Null;
            }
            _ => {}
        }
    }

    fn step(&mut self, site: &Site<'_>) -> Result<(), Problem> {
        self.steps += 1;
        if self.steps > STEPS_MAX || site.chain.len() > DEPTH_MAX {
            return Err(site.problem("interpolations are nested too deeply"));
        }
        Ok(())
    }

    fn text(&mut self, text: &str, site: &Site<'_>) -> Result<Node, Problem> {
        let parts = split(text).map_err(|message| site.problem(message))?;
        if let [Part::Interpolation(inner)] = parts.as_slice() {
            return self.interpolation(inner, site);
        }
        let mut joined = String::new();
        let mut from_environment = false;
        for part in parts {
            match part {
                Part::Literal(literal) => joined.push_str(&literal),
                Part::Interpolation(inner) => {
                    let node = self.interpolation(inner, site)?;
                    from_environment |= node.from_environment;
                    joined.push_str(&printed(&node.value).ok_or_else(|| {
                        site.problem(format!("${{{inner}}} is {}, which cannot stand inside text", node.value.found()))
                    })?);
                }
            }
            if joined.len() > TEXT_MAX {
                return Err(site.problem("the text becomes too long"));
            }
        }
        let mut node = Node::new(Value::Text(joined), site.node.place.clone());
        node.from_environment = from_environment;
        Ok(node)
    }

    fn interpolation(&mut self, inner: &str, site: &Site<'_>) -> Result<Node, Problem> {
        self.step(site)?;
        match resolver_name(inner) {
            Some(("oc.env", arguments)) => self.environment(arguments, site),
            Some(("oc.decode", arguments)) => self.decode(arguments, site),
            Some((name, _)) => Err(site.problem(format!(
                "the resolver {name:?} in ${{{inner}}} is not supported; oc.env, oc.decode and ${{section.key}} are"
            ))),
            None => self.reference(inner, site),
        }
    }

    fn environment(&mut self, arguments: &str, site: &Site<'_>) -> Result<Node, Problem> {
        let (name, default) = match top_level_comma(arguments) {
            Some(at) => (&arguments[..at], Some(arguments[at + 1..].trim())),
            None => (arguments, None),
        };
        let name = self.argument(name.trim(), site)?;
        let name = printed(&name.value).unwrap_or_default();
        if name.is_empty() {
            return Err(site.problem("expected ${oc.env:NAME} or ${oc.env:NAME,default}"));
        }
        let mut node = match (self.env.get(&name), default) {
            (Some(value), _) => Node::new(Value::Text(value.clone()), site.node.place.clone()),
            (None, Some(default)) => self.argument(default, site)?,
            (None, None) => {
                return Err(site.problem(format!(
                    "the environment variable {name} is not set; set it, or give a default: ${{oc.env:{name},value}}"
                )));
            }
        };
        node.from_environment = true;
        Ok(node)
    }

    fn decode(&mut self, arguments: &str, site: &Site<'_>) -> Result<Node, Problem> {
        let node = self.argument(arguments.trim(), site)?;
        match &node.value {
            Value::Text(text) => hydra_value::parse(text, &site.node.place).map_err(|message| site.problem(message)),
            _ => Ok(node),
        }
    }

    /// Resolves an argument of a resolver: quoted text, an interpolation, or a word.
    fn argument(&mut self, text: &str, site: &Site<'_>) -> Result<Node, Problem> {
        if text.contains("${") {
            let unquoted = text.trim_matches(['\'', '"']);
            return self.text(unquoted, site);
        }
        hydra_value::parse(text, &site.node.place).map_err(|message| site.problem(message))
    }

    fn reference(&mut self, inner: &str, site: &Site<'_>) -> Result<Node, Problem> {
        let name = if inner.contains("${") {
            let expanded = self.text(inner, site)?;
            printed(&expanded.value).unwrap_or_default()
        } else {
            inner.trim().to_owned()
        };
        let path = absolute(&name, site.path)
            .ok_or_else(|| site.problem(format!("expected a key in ${{{inner}}}, such as ${{dataset.data_folder}}")))?;
        let key = path.join(".");
        if site.chain.contains(&key) {
            return Err(site.problem(format!("the interpolation refers to itself: {} → {key}", site.chain.join(" → "))));
        }
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        let root = self.root;
        let Some(target) = root.at(&names) else {
            return Err(site.problem(format!("${{{inner}}}: there is no key {key}")));
        };
        let mut chain = site.chain.clone();
        chain.push(key);
        self.target(target, &path, chain, site)
    }

    /// Returns a copy of the node that a reference names, with its own interpolations resolved.
    fn target(&mut self, node: &Node, path: &[String], chain: Vec<String>, from: &Site<'_>) -> Result<Node, Problem> {
        let site = Site { node, path, chain };
        self.step(&site)?;
        let mut copy = match &node.value {
            Value::Text(text) if text.contains("${") => self.text(text, &site)?,
            _ => node.clone(),
        };
        match &mut copy.value {
            Value::Map(map) => {
                let names: Vec<String> = map.iter().map(|(name, _)| name.to_owned()).collect();
                for (name, child) in names.into_iter().zip(map.values_mut()) {
                    *child = self.member(child, path, &name, &site)?;
                }
            }
            Value::List(items) => {
                for (index, child) in items.iter_mut().enumerate() {
                    *child = self.member(child, path, &index.to_string(), &site)?;
                }
            }
            _ => {}
        }
        copy.relocate(&from.node.place);
        Ok(copy)
    }

    fn member(&mut self, node: &Node, parent: &[String], name: &str, site: &Site<'_>) -> Result<Node, Problem> {
        let path: Vec<String> = parent.iter().cloned().chain([name.to_owned()]).collect();
        let key = path.join(".");
        if site.chain.contains(&key) {
            return Err(site.problem(format!("the interpolation refers to itself: {} → {key}", site.chain.join(" → "))));
        }
        let mut chain = site.chain.clone();
        chain.push(key);
        self.target(node, &path, chain, site)
    }
}

enum Part<'a> {
    Literal(String),
    Interpolation(&'a str),
}

/// Splits text at its outermost `${…}`. `\${` is a literal `${`.
fn split(text: &str) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if let Some(before) = rest[..at].strip_suffix('\\') {
            literal.push_str(before);
            literal.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        literal.push_str(&rest[..at]);
        if !literal.is_empty() {
            parts.push(Part::Literal(std::mem::take(&mut literal)));
        }
        let inner = &rest[at + 2..];
        let end = closing(inner).ok_or_else(|| format!("the interpolation in {text:?} is not closed by }}"))?;
        parts.push(Part::Interpolation(&inner[..end]));
        rest = &inner[end + 1..];
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    Ok(parts)
}

fn closing(inner: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (at, c) in inner.char_indices() {
        match c {
            '{' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
    }
    None
}

fn top_level_comma(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open = open.saturating_sub(1),
            ',' if open == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

fn resolver_name(inner: &str) -> Option<(&str, &str)> {
    let (name, arguments) = inner.split_once(':')?;
    let name = name.trim();
    let word = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.');
    word.then_some((name, arguments))
}

/// Returns the path of a reference from the root below `workload`. Leading dots climb from the section of the key.
fn absolute(name: &str, site: &[String]) -> Option<Vec<String>> {
    let relative = name.trim_start_matches('.');
    let dots = name.len() - relative.len();
    let relative = relative.replace('[', ".").replace(']', "");
    let names: Vec<String> = relative.split('.').map(str::to_owned).collect();
    if names.iter().any(String::is_empty) {
        return None;
    }
    if dots > 0 {
        let base = site.len().checked_sub(dots)?;
        return Some(site[..base].iter().cloned().chain(names).collect());
    }
    match names.split_first() {
        Some((first, rest)) if first == "workload" && !rest.is_empty() => Some(rest.to_vec()),
        _ => Some(names),
    }
}

fn printed(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("None".to_owned()),
        Value::Bool(true) => Some("True".to_owned()),
        Value::Bool(false) => Some("False".to_owned()),
        Value::Int(number) => Some(number.to_string()),
        Value::Float(number) => Some(format!("{number:?}")),
        Value::Text(text) => Some(text.clone()),
        Value::List(_) | Value::Map(_) => None,
    }
}
