//! The width of the output, and wrapping of lines.
//!
//! The width is `COLUMNS`, then the width of the terminal. Without both, tables are 100 columns wide and sentences are not wrapped, for
//! `grep` and logs.

use std::io::Write;

use dlio_run::launch::Environment;

/// Width of tables if the width of the output is unknown.
const UNKNOWN: usize = 100;
/// Smallest assumed width.
const LEAST: usize = 40;

/// Returns the width of standard output in columns, if it is known.
pub(crate) fn columns(env: &Environment) -> Option<usize> {
    let seen = || terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0));
    told(env).or_else(seen).map(|columns| columns.max(LEAST))
}

/// Returns the width of standard error in columns, if it is known.
pub(crate) fn error_columns(env: &Environment) -> Option<usize> {
    told(env).or_else(error_width).map(|columns| columns.max(LEAST))
}

/// Returns the width of the terminal of standard error in columns.
pub(crate) fn error_width() -> Option<usize> {
    terminal_size::terminal_size_of(std::io::stderr()).map(|(width, _)| usize::from(width.0))
}

/// Returns the value of `COLUMNS`.
fn told(env: &Environment) -> Option<usize> {
    env.get("COLUMNS").and_then(|columns| columns.trim().parse().ok()).filter(|columns| *columns > 0)
}

/// Returns the width of tables on standard output in columns.
pub(crate) fn table_columns(env: &Environment) -> usize {
    columns(env).unwrap_or(UNKNOWN)
}

/// Returns whether output is coloured: on a terminal without `NO_COLOR` and `TERM=dumb`, or always with `CLICOLOR_FORCE`.
pub(crate) fn takes_colours(env: &Environment, is_terminal: bool) -> bool {
    let set = |name: &str| env.get(name).is_some_and(|value| !value.is_empty());
    let forced = env.get("CLICOLOR_FORCE").is_some_and(|value| !value.is_empty() && value != "0");
    let refused = set("NO_COLOR") || env.get("CLICOLOR").is_some_and(|value| value == "0");
    let dumb = env.get("TERM").is_some_and(|term| term == "dumb");
    !set("NO_COLOR") && (forced || (is_terminal && !refused && !dumb))
}

/// A writer that wraps lines at blanks if they are longer than the width of the output; words are never broken.
pub(crate) struct Wrapped<W: Write> {
    inner: W,
    width: Option<usize>,
    line: Vec<u8>,
}

impl<W: Write> Wrapped<W> {
    /// Creates a writer that wraps lines of more than `width` columns; `None`: lines are not wrapped.
    pub(crate) fn new(inner: W, width: Option<usize>) -> Self {
        Self { inner, width, line: Vec::new() }
    }
}

impl<W: Write> Write for Wrapped<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let Some(width) = self.width else { return self.inner.write(bytes) };
        for &byte in bytes {
            if byte == b'\n' {
                let line = String::from_utf8_lossy(&self.line).into_owned();
                self.line.clear();
                self.inner.write_all(wrap(&line, width).as_bytes())?;
            } else {
                self.line.push(byte);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if !self.line.is_empty() {
            self.inner.write_all(&std::mem::take(&mut self.line))?;
        }
        self.inner.flush()
    }
}

/// Wraps the lines of a text like [`Wrapped`].
pub(crate) fn wrapped(text: &str, width: Option<usize>) -> String {
    match width {
        Some(width) => text.lines().map(|line| wrap(line, width)).collect(),
        None => text.to_owned(),
    }
}

/// Wraps one line. Continuation lines are indented to the text after the last wide gap, as in a list of checks, or by two more columns
/// than the first line.
fn wrap(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return format!("{line}\n");
    }
    let indent = line.chars().take_while(|letter| *letter == ' ').count();
    let text = &line[indent..];
    let gap = text.find("  ").map_or(0, |at| at + text[at..].chars().take_while(|letter| *letter == ' ').count());
    let hang = if gap > 0 && indent + gap < width / 2 { indent + gap } else { indent + 2 };
    let (head, rest) = text.split_at(gap);
    let (mut done, mut now) = (String::new(), format!("{}{head}", " ".repeat(indent)));
    let mut is_empty = true;
    for word in rest.split(' ') {
        if !is_empty && now.chars().count() + 1 + word.chars().count() > width {
            done.push_str(now.trim_end());
            done.push('\n');
            now = " ".repeat(hang);
            is_empty = true;
        }
        if !is_empty {
            now.push(' ');
        }
        now.push_str(word);
        is_empty = false;
    }
    format!("{done}{now}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_at_blanks_and_lose_nothing() {
        let line =
            "  fail         space /mnt: 20 GiB are free and the run writes 30 GiB of checkpoints into this folder";
        for width in [60, 80, 120] {
            let broken = wrap(line, width);
            assert!(broken.lines().all(|line| line.chars().count() <= width), "{broken}");
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(words(&broken), words(line));
        }
        assert!(wrap(line, 60).lines().nth(1).unwrap().starts_with("               "), "below the text");
    }

    #[test]
    fn a_word_that_does_not_fit_stays_whole() {
        let path = "/".repeat(70);
        assert_eq!(wrap(&format!("see {path} there"), 60), format!("see\n  {path}\n  there\n"));
    }

    #[test]
    fn a_writer_breaks_lines_as_they_come() {
        let mut out = Wrapped::new(Vec::new(), Some(10));
        write!(out, "one two ").unwrap();
        writeln!(out, "three").unwrap();
        write!(out, "end").unwrap();
        out.flush().unwrap();
        assert_eq!(String::from_utf8(out.inner).unwrap(), "one two\n  three\nend");
    }

    #[test]
    fn colours_are_for_terminals_that_want_them() {
        let takes = |name: &str, value: &str, terminal| {
            takes_colours(&Environment::from([(name.to_owned(), value.to_owned())]), terminal)
        };
        assert!(takes("TERM", "xterm", true) && !takes("TERM", "xterm", false));
        assert!(!takes("NO_COLOR", "1", true) && !takes("TERM", "dumb", true) && !takes("CLICOLOR", "0", true));
        assert!(takes("NO_COLOR", "", true), "an empty value says nothing");
        assert!(takes("CLICOLOR_FORCE", "1", false) && !takes("CLICOLOR_FORCE", "0", false));
    }

    #[test]
    fn the_environment_decides_first() {
        let env = |columns: &str| Environment::from([("COLUMNS".to_owned(), columns.to_owned())]);
        assert_eq!((columns(&env("60")), table_columns(&env("120"))), (Some(60), 120));
        assert_eq!(columns(&env("7")), Some(LEAST));
    }
}
