//! Text records with quoted fields, which may contain line ends and separators.

use std::borrow::Cow;

/// Separator (the control character US) between the fields of a record whose quotes have been removed.
pub(super) const UNIT: char = '\u{1f}';

/// The lines read so far of a record whose quotes are still open.
#[derive(Debug, Default)]
pub(super) struct MultilineRecord(String);

impl MultilineRecord {
    /// Whether the next line continues a record.
    pub(super) fn is_open(&self) -> bool {
        !self.0.is_empty()
    }

    /// Returns the stored record with this line appended, or just the line if no record is open.
    pub(super) fn join<'a>(&mut self, line: &'a str) -> Cow<'a, str> {
        if self.is_open() {
            Cow::Owned(format!("{}\n{line}", std::mem::take(&mut self.0)))
        } else {
            Cow::Borrowed(line)
        }
    }

    /// Stores a record whose quotes are open.
    ///
    /// # Errors
    /// The record is longer than `longest` bytes.
    pub(super) fn keep(&mut self, record: &str, longest: usize) -> Result<(), String> {
        if record.len() > longest {
            return Err(format!("a quote that does not end within {longest} bytes"));
        }
        record.clone_into(&mut self.0);
        Ok(())
    }

    /// Checks that no record is open at the end of the file.
    pub(super) fn end(&mut self) -> Result<(), String> {
        if std::mem::take(&mut self.0).is_empty() {
            Ok(())
        } else {
            Err("the last record ends inside quotes".to_owned())
        }
    }
}

/// Returns a record without quotes around its fields and with [`UNIT`] between them; `None` if the record ends inside quotes.
pub(super) fn without_quotes(record: &str, separator: char) -> Option<String> {
    let mut plain = String::with_capacity(record.len());
    let (mut begins, mut within) = (true, false);
    let mut letters = record.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if begins => within = true,
            // Two quotes stand for one; a single quote ends the field.
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
