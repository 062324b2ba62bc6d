//! Records of text whose quotes hold line ends: they go on in the next line.

use std::borrow::Cow;

/// Stands between the fields of a record that had quotes.
pub(super) const UNIT: char = '\u{1f}';

/// The lines so far of a record whose quotes are still open.
#[derive(Debug, Default)]
pub(super) struct MultilineRecord(String);

impl MultilineRecord {
    /// Whether the next line goes on with a record.
    pub(super) fn is_open(&self) -> bool {
        !self.0.is_empty()
    }

    /// The record that ends, or goes on, with this line.
    pub(super) fn join<'a>(&mut self, line: &'a str) -> Cow<'a, str> {
        if self.is_open() {
            Cow::Owned(format!("{}\n{line}", std::mem::take(&mut self.0)))
        } else {
            Cow::Borrowed(line)
        }
    }

    /// Keeps a record whose quotes are open.
    ///
    /// # Errors
    /// It is longer than `longest` bytes.
    pub(super) fn keep(&mut self, record: &str, longest: usize) -> Result<(), String> {
        if record.len() > longest {
            return Err(format!("a quote that does not end within {longest} bytes"));
        }
        record.clone_into(&mut self.0);
        Ok(())
    }

    /// What is wrong with how the file ends.
    pub(super) fn end(&mut self) -> Result<(), String> {
        if std::mem::take(&mut self.0).is_empty() {
            Ok(())
        } else {
            Err("the last record's quotes are open".to_owned())
        }
    }
}

/// A record with [`UNIT`] between its fields and without quotes around them; `None`: it ends within quotes.
pub(super) fn without_quotes(record: &str, separator: char) -> Option<String> {
    let mut plain = String::with_capacity(record.len());
    let (mut begins, mut within) = (true, false);
    let mut letters = record.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if begins => within = true,
            // Two quotes are one, and a single one is the end.
            '"' if within => {
                within = letters.next_if_eq(&'"').is_some();
                plain.push_str(if within { "\"" } else { "" });
            }
            _ if letter == separator && !within => plain.push(UNIT),
            _ => plain.push(letter),
        }
        begins = letter == separator && !within;
    }
    (!within).then_some(plain)
}
