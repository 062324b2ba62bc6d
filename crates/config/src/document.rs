//! The tree between YAML text and typed values. Every value knows where it was written.

use crate::error::Place;

/// A value of the tree, with its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) place: Place,
    /// The value is text from an environment variable, which may stand for a number or a boolean.
    pub(crate) from_environment: bool,
}

/// The content of a node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Map),
}

/// A mapping that keeps the order of its keys. Look-up is a linear scan because sections are short.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Map(Vec<(String, Node)>);

impl Map {
    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, node)| node)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Node> {
        self.0.iter_mut().find(|(key, _)| key == name).map(|(_, node)| node)
    }

    /// Sets a key; an existing key keeps its position.
    pub(crate) fn set(&mut self, name: &str, node: Node) {
        match self.get_mut(name) {
            Some(existing) => *existing = node,
            None => self.0.push((name.to_owned(), node)),
        }
    }

    /// Returns the node of a key and creates it if it is missing.
    pub(crate) fn child(&mut self, name: &str, place: &Place) -> &mut Node {
        let at = self.0.iter().position(|(key, _)| key == name).unwrap_or_else(|| {
            self.0.push((name.to_owned(), Node::new(Value::Null, place.clone())));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Node> {
        let at = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.remove(at).1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.0.iter().map(|(key, node)| (key.as_str(), node))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Node)> {
        self.0.iter_mut().map(|(key, node)| (key.as_str(), node))
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.0.iter_mut().map(|(_, node)| node)
    }
}

impl Node {
    pub(crate) fn new(value: Value, place: Place) -> Self {
        Self { value, place, from_environment: false }
    }

    pub(crate) fn map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Returns the node at a path of names. A number selects an item of a list.
    pub(crate) fn at<'a>(&'a self, path: &[&str]) -> Option<&'a Node> {
        path.iter().try_fold(self, |node, name| match &node.value {
            Value::Map(map) => map.get(name),
            Value::List(items) => items.get(name.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// Sets the place of this node and of everything below it.
    pub(crate) fn relocate(&mut self, place: &Place) {
        self.place = place.clone();
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.relocate(place)),
            Value::Map(map) => map.values_mut().for_each(|item| item.relocate(place)),
            _ => {}
        }
    }

    /// Returns the number of nodes in this subtree.
    pub(crate) fn weight(&self) -> usize {
        1 + match &self.value {
            Value::List(items) => items.iter().map(Node::weight).sum(),
            Value::Map(map) => map.iter().map(|(_, node)| node.weight()).sum(),
            _ => 0,
        }
    }
}

impl Value {
    /// Formats the value for an error message.
    pub(crate) fn found(&self) -> String {
        const LONGEST: usize = 60;
        match self {
            Value::Null => "null".to_owned(),
            Value::Bool(flag) => format!("the boolean {flag}"),
            Value::Int(number) => number.to_string(),
            Value::Float(number) if number.abs() >= 1e16 => format!("{number:e}"),
            Value::Float(number) => number.to_string(),
            Value::Text(text) if text.chars().count() > LONGEST => {
                format!("{:?}…", text.chars().take(LONGEST).collect::<String>())
            }
            Value::Text(text) => format!("{text:?}"),
            Value::List(items) => format!("a list of {}", items.len()),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }

    /// Converts the value to JSON. Integers beyond 64 bits become text.
    pub(crate) fn json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Value::Null => Json::Null,
            Value::Bool(flag) => Json::Bool(*flag),
            Value::Int(number) => {
                let small = i64::try_from(*number).map(Json::from).or_else(|_| u64::try_from(*number).map(Json::from));
                small.unwrap_or_else(|_| Json::String(number.to_string()))
            }
            Value::Float(number) => Json::from(*number),
            Value::Text(text) => Json::String(text.clone()),
            Value::List(items) => Json::Array(items.iter().map(|item| item.value.json()).collect()),
            Value::Map(map) => {
                Json::Object(map.iter().map(|(name, node)| (name.to_owned(), node.value.json())).collect())
            }
        }
    }
}
