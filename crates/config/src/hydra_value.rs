//! Parser of the value in `key=value` on the command line, in Hydra's grammar: words, quoted strings, lists, mappings
//! and interpolations. Functions such as `int(…)` and `range(…)` and sweeps are refused.

use crate::document::{Map, Node, Value};
use crate::error::Place;
use crate::scalar;

const DEPTH_MAX: usize = 32;

/// Parses a value; the error says why it is invalid.
pub(crate) fn parse(text: &str, place: &Place) -> Result<Node, String> {
    let mut reader = Reader { rest: text.trim(), place };
    let node = reader.value(Context::Top, 0)?;
    reader.skip_blanks();
    if reader.rest.is_empty() { Ok(node) } else { Err(format!("unexpected {:?} after the value", reader.rest)) }
}

/// Parses a value as Hydra's own command line does. In addition to values, it accepts casts such as `int(3.2)` and
/// `str(3)`. A comma outside of quotes and brackets would make a sweep, which is an error.
pub(crate) fn parse_job(text: &str, place: &Place) -> Result<Node, String> {
    let trimmed = text.trim();
    if let Some(node) = cast(trimmed, place)? {
        return Ok(node);
    }
    let node = parse(trimmed, place)?;
    let quoted = trimmed.starts_with(['"', '\'', '[', '{']);
    if !quoted && sweeps(trimmed) {
        return Err("several values are a sweep, which needs --multirun; quote a text that contains commas".to_owned());
    }
    if !quoted && trimmed.contains('=') {
        return Err("quote a value that contains =".to_owned());
    }
    Ok(node)
}

/// Returns whether the text has an unescaped comma outside of `${…}`.
fn sweeps(text: &str) -> bool {
    let (mut braces, mut escaped) = (0_usize, false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '{' => braces += 1,
            '}' => braces = braces.saturating_sub(1),
            ',' if braces == 0 => return true,
            _ => {}
        }
    }
    false
}

/// Parses `int(…)`, `float(…)`, `str(…)` or `bool(…)` of one value.
fn cast(text: &str, place: &Place) -> Result<Option<Node>, String> {
    let Some((name, rest)) = text.split_once('(') else { return Ok(None) };
    if !matches!(name, "int" | "float" | "str" | "bool") {
        return Ok(None);
    }
    let Some(inner) = rest.strip_suffix(')') else { return Err(format!("{name}( is not closed by )")) };
    let value = parse(inner, place)?.value;
    let cannot = || format!("{} cannot be cast by {name}", value.found());
    let cast = match (name, &value) {
        ("str", Value::Text(text)) => Value::Text(text.clone()),
        ("str", Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_)) => Value::Text(inner.trim().to_owned()),
        ("int", Value::Int(number)) => Value::Int(*number),
        ("int", Value::Bool(flag)) => Value::Int(i128::from(*flag)),
        ("int", Value::Float(number)) => Value::Int(format!("{:.0}", number.trunc()).parse().map_err(|_| cannot())?),
        ("float", Value::Int(number)) => Value::Float(*number as f64),
        ("float", Value::Float(number)) => Value::Float(*number),
        ("bool", Value::Bool(flag)) => Value::Bool(*flag),
        ("bool", Value::Int(number)) => Value::Bool(*number != 0),
        ("int" | "float" | "bool", Value::Text(text)) => match (name, scalar::hydra(text)) {
            ("int", Value::Int(number)) => Value::Int(number),
            ("float", Value::Int(number)) => Value::Float(number as f64),
            ("float", Value::Float(number)) => Value::Float(number),
            ("bool", Value::Bool(flag)) => Value::Bool(flag),
            _ => return Err(cannot()),
        },
        _ => return Err(cannot()),
    };
    Ok(Some(Node::new(cast, place.clone())))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Context {
    Top,
    List,
    Mapping,
}

struct Reader<'a> {
    rest: &'a str,
    place: &'a Place,
}

impl Reader<'_> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, c: char) -> bool {
        self.skip_blanks();
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn node(&self, value: Value) -> Node {
        Node::new(value, self.place.clone())
    }

    fn value(&mut self, context: Context, depth: usize) -> Result<Node, String> {
        if depth > DEPTH_MAX {
            return Err(format!("nested deeper than {DEPTH_MAX} levels"));
        }
        self.skip_blanks();
        match self.rest.chars().next() {
            Some('[') => self.list(depth),
            Some('{') => self.mapping(depth),
            Some(quote @ ('"' | '\'')) => {
                let text = self.quoted(quote)?;
                Ok(self.node(Value::Text(text)))
            }
            _ => {
                let word = self.word(context)?;
                let empty = word.is_empty() && context == Context::Top;
                Ok(self.node(if empty { Value::Text(String::new()) } else { scalar::hydra(&word) }))
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Node, String> {
        self.eat('[');
        let mut items = Vec::new();
        if self.eat(']') {
            return Ok(self.node(Value::List(items)));
        }
        loop {
            items.push(self.value(Context::List, depth + 1)?);
            if self.eat(']') {
                return Ok(self.node(Value::List(items)));
            }
            if !self.eat(',') {
                return Err("the list is not closed by ]".to_owned());
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Node, String> {
        self.eat('{');
        let mut map = Map::default();
        if self.eat('}') {
            return Ok(self.node(Value::Map(map)));
        }
        loop {
            self.skip_blanks();
            let name = match self.rest.chars().next() {
                Some(quote @ ('"' | '\'')) => self.quoted(quote)?,
                _ => self.key()?,
            };
            if !self.eat(':') {
                return Err(format!("expected : after the key {name:?}"));
            }
            let node = self.value(Context::Mapping, depth + 1)?;
            map.set(&name, node);
            if self.eat('}') {
                return Ok(self.node(Value::Map(map)));
            }
            if !self.eat(',') {
                return Err("the mapping is not closed by }".to_owned());
            }
        }
    }

    fn key(&mut self) -> Result<String, String> {
        let end = self.rest.find([':', ',', '{', '}', '[', ']']).unwrap_or(self.rest.len());
        let name = self.rest[..end].trim().to_owned();
        if name.is_empty() {
            return Err("expected a key in the mapping".to_owned());
        }
        self.rest = &self.rest[end..];
        Ok(name)
    }

    /// Parses a quoted string. A `\` escapes the quote, and itself before a quote; everything else is literal.
    fn quoted(&mut self, quote: char) -> Result<String, String> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.rest = &self.rest[at + c.len_utf8()..];
                return Ok(text);
            }
            let escaped = chars.peek().map(|&(_, next)| next);
            if c == '\\' && escaped.is_some_and(|next| next == quote || next == '\\') {
                text.extend(escaped);
                chars.next();
            } else {
                text.push(c);
            }
        }
        Err(format!("the quoted string is not closed by {quote}"))
    }

    /// Parses an unquoted word up to the end of the text or, inside a list or mapping, up to a delimiter. `${…}` is
    /// kept whole.
    fn word(&mut self, context: Context) -> Result<String, String> {
        let mut text = String::new();
        let mut braces = 0_usize;
        let mut end = self.rest.len();
        let mut chars = self.rest.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let next = chars.peek().map(|&(_, next)| next);
            match c {
                '$' if next == Some('{') => {
                    braces += 1;
                    chars.next();
                    text.push_str("${");
                    continue;
                }
                '{' if braces > 0 => braces += 1,
                '}' if braces > 0 => braces -= 1,
                _ if braces > 0 => {}
                ',' | ']' | '}' if context != Context::Top => {
                    end = at;
                    break;
                }
                '\\' if next.is_some_and(|next| "\\()[]{}:=, \t".contains(next)) => {
                    text.extend(next);
                    chars.next();
                    continue;
                }
                '(' | ')' => {
                    return Err("functions are not supported here; quote a value that contains parentheses".to_owned());
                }
                '"' | '\'' | '[' | ']' | '{' | '}' => {
                    return Err(format!("quote a value that contains {c}: 'key=\"…\"'"));
                }
                _ => {}
            }
            text.push(c);
        }
        if braces > 0 {
            return Err("the interpolation ${ is not closed by }".to_owned());
        }
        if text.trim().is_empty() && context != Context::Top {
            return Err("expected a value".to_owned());
        }
        self.rest = &self.rest[end..];
        Ok(text.trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Result<String, String> {
        parse(text, &Place::Default).map(|node| node.value.json().to_string())
    }

    #[test]
    fn values_read_as_hydra_reads_them() {
        for (text, expected) in [
            ("3", "3"),
            ("off", "\"off\""),
            ("", "\"\""),
            ("[1,2]", "[1,2]"),
            ("[]", "[]"),
            ("[a, 'b c', null]", "[\"a\",\"b c\",null]"),
            ("{mean:1.0,stdev:0.1}", "{\"mean\":1.0,\"stdev\":0.1}"),
            ("{}", "{}"),
            ("[{name: x, size: 2}]", "[{\"name\":\"x\",\"size\":2}]"),
            ("http://localhost:9020", "\"http://localhost:9020\""),
            ("[http://a:1,http://b:2]", "[\"http://a:1\",\"http://b:2\"]"),
            ("'4'", "\"4\""),
            ("\"it's\"", "\"it's\""),
            (r"'it\'s'", "\"it's\""),
            (r"a\,b", "\"a,b\""),
            ("${oc.env:A,${oc.env:B,x}}/y", "\"${oc.env:A,${oc.env:B,x}}/y\""),
            ("[${a.b},2]", "[\"${a.b}\",2]"),
            ("TRUE", "true"),
        ] {
            assert_eq!(json(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn broken_values_are_refused() {
        for text in ["[1,2", "{a:1", "{a}", "'open", "'a' b", "[1,,2]", "int(3)", "${a", "a[0]", "[,]", "{:1}"] {
            assert!(json(text).is_err(), "{text}");
        }
    }
}
