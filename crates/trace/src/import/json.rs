//! Parser of JSON objects in lines. It passes the members to a callback one by one and stores nothing.
//!
//! It accepts exactly the texts that are valid JSON; a property test compares it with another parser.

use std::borrow::Cow;

/// Maximum nesting depth of objects.
const DEPTH: usize = 64;

/// A value of a member.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Text(Cow<'a, str>),
    /// Digits as written.
    Number(&'a str),
    Truth(bool),
    /// `null`, an array, or an object below the second level.
    Other,
}

impl<'a> Value<'a> {
    /// Returns the text of a string.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Parses a whole number, which may be written as a string.
    pub(super) fn number<T: std::str::FromStr>(&self) -> Option<T> {
        match self {
            Value::Number(digits) => digits.parse().ok(),
            Value::Text(digits) => digits.parse().ok(),
            _ => None,
        }
    }
}

/// Passes the members of the object `text` to a callback, and the members of objects in it together with the key of their object.
///
/// # Errors
/// The syntax error.
pub(super) fn members<'a>(
    text: &'a str,
    mut each: impl FnMut(Option<&str>, &str, Value<'a>) -> Result<(), String>,
) -> Result<(), String> {
    let mut scanner = Scanner { text, bytes: text.as_bytes(), at: 0 };
    scanner.blanks();
    scanner.expect(b'{')?;
    scanner.object(None, 0, &mut each)?;
    scanner.blanks();
    if scanner.at == text.len() { Ok(()) } else { Err(scanner.wrong("the end of the line")) }
}

/// Removes the commas before closing brackets, which older programs write; `None` if there are none.
pub(super) fn without_trailing_commas(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let (mut quoted, mut escaped, mut left_out) = (false, false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted && text[at + 1..].trim_start().starts_with(['}', ']']) => {
                left_out = true;
                continue;
            }
            _ => {}
        }
        plain.push(letter);
    }
    left_out.then_some(plain)
}

type Each<'e, 'a> = dyn FnMut(Option<&str>, &str, Value<'a>) -> Result<(), String> + 'e;

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn wrong(&self, expected: &str) -> String {
        format!("invalid JSON: expected {expected} at column {}", self.at + 1)
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.bytes.get(self.at) == Some(&byte) {
            self.at += 1;
            return Ok(());
        }
        Err(self.wrong(&format!("{:?}", char::from(byte))))
    }

    /// Parses the members of an object after its brace.
    fn object(&mut self, inside: Option<&str>, depth: usize, each: &mut Each<'_, 'a>) -> Result<(), String> {
        if depth >= DEPTH {
            return Err("objects are nested too deeply".to_owned());
        }
        self.blanks();
        if self.bytes.get(self.at) == Some(&b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.blanks();
            self.expect(b'"')?;
            let key = self.string()?;
            self.blanks();
            self.expect(b':')?;
            self.blanks();
            if self.bytes.get(self.at) == Some(&b'{') {
                self.at += 1;
                if depth == 0 {
                    self.object(Some(&key), 1, each)?;
                } else {
                    self.object(None, depth + 1, &mut |_, _, _| Ok(()))?;
                }
            } else {
                let value = self.value(depth)?;
                each(inside, &key, value)?;
            }
            self.blanks();
            match self.bytes.get(self.at) {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.wrong("',' or '}'")),
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, String> {
        match self.bytes.get(self.at) {
            Some(b'"') => {
                self.at += 1;
                Ok(Value::Text(self.string()?))
            }
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(b't') => self.word("true", Value::Truth(true)),
            Some(b'f') => self.word("false", Value::Truth(false)),
            Some(b'n') => self.word("null", Value::Other),
            Some(b'[') => self.array(depth + 1),
            Some(b'{') => {
                self.at += 1;
                self.object(None, depth + 1, &mut |_, _, _| Ok(()))?;
                Ok(Value::Other)
            }
            _ => Err(self.wrong("a value")),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>, String> {
        if depth >= DEPTH {
            return Err("arrays are nested too deeply".to_owned());
        }
        self.at += 1;
        self.blanks();
        if self.bytes.get(self.at) == Some(&b']') {
            self.at += 1;
            return Ok(Value::Other);
        }
        loop {
            self.blanks();
            self.value(depth)?;
            self.blanks();
            match self.bytes.get(self.at) {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::Other);
                }
                _ => return Err(self.wrong("',' or ']'")),
            }
        }
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, String> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(value);
        }
        Err(self.wrong(word))
    }

    fn number(&mut self) -> Result<&'a str, String> {
        let from = self.at;
        self.at += usize::from(self.bytes[from] == b'-');
        if self.bytes.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(&self.text[from..self.at])
    }

    fn digits(&mut self) -> Result<(), String> {
        let count = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count > 0 { Ok(()) } else { Err(self.wrong("a digit")) }
    }

    /// Parses a string after its first quote.
    fn string(&mut self) -> Result<Cow<'a, str>, String> {
        let from = self.at;
        let mut escaped = false;
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at += 2;
                }
                Some(0..=0x1f) => return Err(self.wrong("a string without control characters")),
                Some(_) => self.at += 1,
                None => return Err(self.wrong("the end of a string")),
            }
        }
        self.at += 1;
        if !escaped {
            return Ok(Cow::Borrowed(&self.text[from..self.at - 1]));
        }
        let quoted = self.text.get(from - 1..self.at).unwrap_or_default();
        serde_json::from_str(quoted).map(Cow::Owned).map_err(|error| format!("invalid JSON: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns all members of a line that are strings, numbers or booleans.
    fn told(line: &str) -> Result<Vec<String>, String> {
        let mut told = Vec::new();
        members(line, |inside, key, value| {
            told.push(format!("{inside:?} {key} {value:?}"));
            Ok(())
        })?;
        Ok(told)
    }

    /// Whether the other parser accepts the line. It rejects numbers beyond the range of floats, which are valid JSON.
    fn expected(line: &str) -> bool {
        match serde_json::from_str::<serde_json::Value>(line) {
            Ok(value) => value.is_object(),
            Err(error) => error.to_string().contains("number out of range"),
        }
    }

    #[test]
    fn members_are_passed_on_with_the_key_of_their_object() {
        let line = r#" {"a":"x\"\u00e9","b":-1.5e3, "args":{"c":true,"d":[1,{"e":[]}],"f":{"g":null}},"h":null} "#;
        let told = told(line).unwrap();
        assert_eq!(
            told,
            [
                r#"None a Text("x\"é")"#,
                r#"None b Number("-1.5e3")"#,
                r#"Some("args") c Truth(true)"#,
                r#"Some("args") d Other"#,
                "None h Other",
            ]
        );
        assert!(members("{} x", |_, _, _| Ok(())).unwrap_err().contains("column 4"));
    }

    #[test]
    fn commas_in_front_of_closing_brackets_are_left_out() {
        let text = r#"{"a":"x,}","b":[1,2,],"c":{"d":"\",]", } , }"#;
        assert_eq!(without_trailing_commas(text).as_deref(), Some(r#"{"a":"x,}","b":[1,2],"c":{"d":"\",]" }  }"#));
        assert_eq!(without_trailing_commas(r#"{"a":",}"}"#), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn a_mutated_line_is_accepted_where_json_accepts_it(
            at in 0_usize..120,
            with in proptest::sample::select(vec!["", "\"", "\\", "{", "}", "[", "]", ",", ":", "0", "-", ".", "e", " ", "\t", "\u{1}", "é", "null", "\\u12", "\\ud800", "tru"]),
            cut in 0_usize..3,
        ) {
            let line = r#"{"id":"1","name":"read","ts":1795245321497028,"dur":0,"ph":1,"x":[1,2.5,-3e+2,{"y":false}],"args":{"ret":4096,"n":null}}"#;
            let from = at.min(line.len());
            let line = format!("{}{with}{}", &line[..from], &line[(from + cut).min(line.len())..]);
            prop_assert_eq!(told(&line).is_ok(), expected(&line), "{}", line);
        }
    }
}
