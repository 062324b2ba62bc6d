//! The syntax of the shared AWS configuration files, as the AWS CLI parses it.
//!
//! Invariant: a line that is indented more deeply than the key above it continues that key's value, even after blank
//! lines and comments. The caller interprets values.

use std::collections::BTreeMap;

/// Keys of a section, in lower case, with their values; a value of several lines keeps its line breaks.
pub(super) type Section = BTreeMap<String, String>;

/// Sections in the order of the file; a repeated name is one section.
pub(super) type Sections = Vec<(String, Section)>;

/// Parses the text of a file.
///
/// # Errors
/// When a line is neither a section, nor a key with a value, nor a continuation, nor a comment.
pub(super) fn parse(text: &str) -> Result<Sections, String> {
    let mut sections = Sections::new();
    let mut key: Option<String> = None;
    let mut depth = 0;
    for (number, line) in text.lines().enumerate() {
        let bare = line.trim();
        let open = sections.last_mut().map(|(_, section)| section);
        if bare.is_empty() || bare.starts_with(['#', ';']) {
            if let (true, Some(value)) = (bare.is_empty(), open.zip(key.as_ref()).and_then(|(at, key)| at.get_mut(key)))
            {
                value.push('\n');
            }
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        if let (true, Some(value)) = (indent > depth, open.zip(key.as_ref()).and_then(|(at, key)| at.get_mut(key))) {
            value.push('\n');
            value.push_str(bare);
            continue;
        }
        depth = indent;
        if let Some(name) = header(bare) {
            key = None;
            enter(&mut sections, name);
            continue;
        }
        let wrong = || format!("line {}: expected [section] or key = value, found {bare:?}", number + 1);
        let (name, value) =
            bare.split_once(['=', ':']).filter(|(name, _)| !name.trim().is_empty()).ok_or_else(wrong)?;
        let (_, section) = sections.last_mut().ok_or_else(wrong)?;
        let name = name.trim().to_lowercase();
        section.insert(name.clone(), value.trim().to_owned());
        key = Some(name);
    }
    for value in sections.iter_mut().flat_map(|(_, section)| section.values_mut()) {
        value.truncate(value.trim_end().len());
    }
    Ok(sections)
}

/// Returns the name in a section's line; text after the last bracket is ignored.
fn header(line: &str) -> Option<&str> {
    let inner = line.strip_prefix('[')?;
    inner.rfind(']').map(|end| &inner[..end]).filter(|name| !name.is_empty())
}

/// Makes a section the current one, which receives the following keys.
fn enter(sections: &mut Sections, name: &str) {
    let known = sections.iter().position(|(known, _)| known == name);
    let section = known.map_or_else(|| (name.to_owned(), Section::new()), |index| sections.remove(index));
    sections.push(section);
}

/// Returns a value of one line without a trailing comment; `None` if it is empty.
pub(super) fn plain(value: &str) -> Option<&str> {
    let mut end = value.len();
    for (at, _) in value.match_indices(['#', ';']) {
        if value[..at].ends_with(char::is_whitespace) {
            end = at;
            break;
        }
    }
    Some(value[..end].trim()).filter(|value| !value.is_empty())
}

/// Returns the keys nested below a key, such as `s3 =`; `None` if the value is a plain one.
///
/// # Errors
/// When one of its lines has no `=`.
pub(super) fn nested(value: &str) -> Result<Option<Section>, String> {
    let Some((first, lines)) = value.split_once('\n') else { return Ok(None) };
    if !first.is_empty() && !first.starts_with(['#', ';']) {
        return Ok(None);
    }
    let mut section = Section::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (key, value) = line.split_once('=').ok_or_else(|| format!("expected key = value, found {line:?}"))?;
        section.insert(key.trim().to_owned(), value.trim().to_owned());
    }
    Ok(Some(section))
}

/// Splits a command or a section's name into words like a POSIX shell, without executing or expanding anything.
///
/// # Errors
/// When a quotation is not closed, or a backslash is the last character.
pub(super) fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' => quoted(&mut letters, word.get_or_insert_default(), '\'')?,
            '"' => quoted(&mut letters, word.get_or_insert_default(), '"')?,
            '\\' => {
                word.get_or_insert_default().push(letters.next().ok_or("a backslash stands at the end")?);
            }
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Parses the rest of a quotation; in double quotes a backslash escapes a quote or a backslash.
fn quoted(letters: &mut std::str::Chars<'_>, word: &mut String, quote: char) -> Result<(), String> {
    let open = || format!("a quotation with {quote} is not closed");
    loop {
        match letters.next().ok_or_else(open)? {
            letter if letter == quote => return Ok(()),
            '\\' if quote == '"' => {
                let next = letters.next().ok_or_else(open)?;
                if next != '"' && next != '\\' {
                    word.push('\\');
                }
                word.push(next);
            }
            letter => word.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_makes_no_sense_is_named() {
        assert_eq!(
            parse("region = x\n").unwrap_err(),
            "line 1: expected [section] or key = value, found \"region = x\""
        );
        assert!(parse("[default]\n\nnonsense\n").unwrap_err().starts_with("line 3: "));
        assert!(nested("\nregion").unwrap_err().contains("\"region\""));
    }

    #[test]
    fn a_comment_behind_a_value_is_left_out() {
        assert_eq!(plain("http://lab:1 # general"), Some("http://lab:1"));
        assert_eq!(plain("https://x/start#/"), Some("https://x/start#/"));
        assert_eq!(plain("a\t; b"), Some("a"));
        assert_eq!(plain(""), None);
    }

    #[test]
    fn words_are_those_of_a_shell_that_expands_nothing() {
        let split = words(r#"/opt/a\ tool --name "x \"y\" $HOME" 'single \n' "" a"b"c ; #1"#).unwrap();
        assert_eq!(split, ["/opt/a tool", "--name", "x \"y\" $HOME", "single \\n", "", "abc", ";", "#1"]);
        assert!(words("a 'b").unwrap_err().contains("not closed"));
        assert!(words("a \\").is_err());
    }
}
