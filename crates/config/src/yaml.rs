//! Parses YAML text into a tree of [`Node`]s with line numbers.
//!
//! Invariant: the tree is finite and shallow for every input. Aliases are copied under a budget, and nesting is
//! limited.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

use crate::document::{Map, Node, Value};
use crate::error::{Place, Problem};
use crate::scalar;

const NODES_MAX: usize = 100_000;
const DEPTH_MAX: usize = 64;
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Parses one YAML document; an empty text is null.
pub(crate) fn parse(name: &Arc<str>, text: &str) -> Result<Node, Problem> {
    let mut builder = Builder {
        parser: Parser::new_from_str(text.trim_start_matches(BYTE_ORDER_MARK)),
        name,
        anchors: HashMap::new(),
        nodes: 0,
    };
    builder.document()
}

struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    name: &'a Arc<str>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'a> Builder<'a> {
    fn place(&self, span: Span) -> Place {
        Place::File { name: Arc::clone(self.name), line: u32::try_from(span.start.line()).ok() }
    }

    fn problem(&self, span: Span, message: impl Into<String>) -> Problem {
        Problem::new(&self.place(span), "", message)
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Problem> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let place =
                    Place::File { name: Arc::clone(self.name), line: u32::try_from(error.marker().line()).ok() };
                Err(Problem::new(&place, "", format!("not valid YAML: {}", error.info())))
            }
            None => {
                let place = Place::File { name: Arc::clone(self.name), line: None };
                Err(Problem::new(&place, "", "not valid YAML: the text ends too early"))
            }
        }
    }

    fn document(&mut self) -> Result<Node, Problem> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                _ if root.is_some() => return Err(self.problem(span, "expected one YAML document, found a second one")),
                event => root = Some(self.node(event, span, 0)?),
            }
        }
        Ok(root.unwrap_or_else(|| Node::new(Value::Null, Place::File { name: Arc::clone(self.name), line: None })))
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Problem> {
        if depth > DEPTH_MAX {
            return Err(self.problem(span, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        let place = self.place(span);
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => (anchor, self.scalar(&text, style, tag.as_deref(), span)?),
            Event::SequenceStart(anchor, _) => (anchor, self.list(depth)?),
            Event::MappingStart(anchor, _) => (anchor, self.mapping(depth)?),
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let mut node = node.ok_or_else(|| self.problem(span, "an alias to a value that contains it"))?;
                self.count(node.weight(), span)?;
                node.place = place;
                return Ok(node);
            }
            _ => return Err(self.problem(span, "not valid YAML: a value was expected here")),
        };
        self.count(1, span)?;
        let node = Node::new(value, place);
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn count(&mut self, nodes: usize, span: Span) -> Result<(), Problem> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            return Err(self.problem(span, format!("more than {NODES_MAX} values")));
        }
        Ok(())
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Result<Value, Problem> {
        let Some(tag) = tag else {
            return Ok(if style == ScalarStyle::Plain { scalar::yaml(text) } else { Value::Text(text.to_owned()) });
        };
        match tag.suffix.as_str() {
            "str" if tag.is_yaml_core_schema() => Ok(Value::Text(text.to_owned())),
            "int" | "float" | "bool" | "null" if tag.is_yaml_core_schema() => Ok(scalar::yaml(text)),
            "" => Ok(Value::Text(text.to_owned())),
            _ => Err(self.problem(span, format!("the YAML tag {tag} is not supported; remove it"))),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, Problem> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, Problem> {
        let mut map = Map::default();
        let mut merges: Vec<(Node, Span)> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let (name, plain) = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, style, _, _) => (text.into_owned(), style == ScalarStyle::Plain),
                _ => return Err(self.problem(span, "expected a plain key here")),
            };
            let (event, value_span) = self.next()?;
            let mut node = self.node(event, value_span, depth + 1)?;
            node.place = self.place(span);
            if name == "<<" && plain {
                merges.push((node, span));
                continue;
            }
            if let Some(earlier) = map.get(&name) {
                let message = format!("this key is given twice, first at {}", earlier.place);
                return Err(Problem::new(&self.place(span), name, message));
            }
            map.set(&name, node);
        }
        for (node, span) in merges {
            self.merge(&mut map, &node, span)?;
        }
        Ok(Value::Map(map))
    }

    /// Merges `<<: *anchor`, or a list of anchors: adds the keys that the mapping does not have.
    fn merge(&mut self, map: &mut Map, from: &Node, span: Span) -> Result<(), Problem> {
        match &from.value {
            Value::Map(other) => {
                for (name, node) in other.iter() {
                    if map.get(name).is_none() {
                        self.count(node.weight(), span)?;
                        map.set(name, node.clone());
                    }
                }
                Ok(())
            }
            Value::List(items) => items.iter().try_for_each(|item| self.merge(map, item, span)),
            _ => Err(self.problem(span, "expected a mapping to merge")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Node, Problem> {
        parse(&Arc::from("w.yaml"), text)
    }

    #[test]
    fn every_key_knows_its_line() {
        let root = read("model:\n  name: a\n\n# a comment\ntrain:\n  epochs: 3\n").expect("valid");
        let epochs = root.at(&["train", "epochs"]).expect("present");
        assert_eq!(epochs.value, Value::Int(3));
        assert_eq!(epochs.place.to_string(), "w.yaml:6");
        assert_eq!(root.at(&["train"]).expect("present").place.to_string(), "w.yaml:5");
    }

    #[test]
    fn quoted_words_are_text() {
        let root = read("a: \"off\"\nb: '4'\nc: off\nd: !!str 4\n").expect("valid");
        assert_eq!(root.at(&["a"]).map(|n| &n.value), Some(&Value::Text("off".into())));
        assert_eq!(root.at(&["b"]).map(|n| &n.value), Some(&Value::Text("4".into())));
        assert_eq!(root.at(&["c"]).map(|n| &n.value), Some(&Value::Bool(false)));
        assert_eq!(root.at(&["d"]).map(|n| &n.value), Some(&Value::Text("4".into())));
    }

    #[test]
    fn a_key_given_twice_is_refused_with_both_lines() {
        let problem = read("a: 1\nb: 2\na: 3\n").expect_err("twice");
        assert_eq!(problem.to_string(), "w.yaml:3: a: this key is given twice, first at w.yaml:1");
    }

    #[test]
    fn anchors_and_merges_are_followed() {
        let root = read("base: &b {x: 1, y: 2}\nmore:\n  <<: *b\n  y: 3\n").expect("valid");
        assert_eq!(root.at(&["more", "x"]).map(|n| &n.value), Some(&Value::Int(1)));
        assert_eq!(root.at(&["more", "y"]).map(|n| &n.value), Some(&Value::Int(3)));
    }

    #[test]
    fn a_bomb_of_aliases_and_deep_nesting_are_refused() {
        let mut bomb = String::from("a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n");
        for i in 1..12 {
            let list = vec![format!("*a{}", i - 1); 10].join(",");
            bomb = format!("{bomb}a{i}: &a{i} [{list}]\n");
        }
        assert!(read(&bomb).is_err());
        assert!(read(&"[".repeat(5000)).is_err());
        assert!(read(&(("[".repeat(200)) + &"]".repeat(200))).is_err());
    }

    #[test]
    fn broken_yaml_names_its_line() {
        let problem = read("a: 1\nb: [1, 2\nc: 3\n").expect_err("broken");
        assert!(problem.to_string().starts_with("w.yaml:"), "{problem}");
        assert!(problem.line().is_some());
    }
}
