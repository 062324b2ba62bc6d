//! Options and result of an import.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::format::SourceFormat;
use crate::error::{Error, Malformed};

/// Number of malformed lines that are quoted in messages.
const EXAMPLES: usize = 5;

/// Options of an import.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Format of the sources; `None` to detect the format of each file.
    pub format: Option<SourceFormat>,
    /// Whether the import stops at the first malformed line.
    pub strict: bool,
    /// Command line, for the headers of the traces.
    pub argv: Vec<String>,
    /// Host name for sources without one.
    pub host: String,
    /// Counter of the bytes read from the sources.
    pub read: Arc<AtomicU64>,
}

/// Result of an import.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Imported {
    /// Formats of the sources.
    pub formats: Vec<&'static str>,
    /// Number of rows written.
    pub rows: u64,
    /// Number of ranks: processes or clients of the sources.
    pub ranks: u32,
    /// Number of lines read.
    pub lines: u64,
    /// Number of lines that could not be parsed.
    pub malformed: u64,
    /// The first malformed lines.
    pub examples: Vec<Malformed>,
    /// Number of operations without an equivalent, by name.
    pub skipped: BTreeMap<String, u64>,
    /// Number of operations that began and whose end is missing in the source.
    pub unfinished: u64,
    /// Warnings about gaps: gaps that the sources report themselves, and hours without operations between sources.
    pub warnings: Vec<String>,
}

impl Imported {
    /// Returns the reason why no row was imported. `left_out` is the warning about the first file that was left out.
    pub(super) fn reason_for_no_rows(&self, left_out: Option<&str>) -> String {
        if let Some(first) = self.examples.first() {
            let Malformed { path, line, reason } = first;
            let formats = if self.formats.is_empty() { "any format".to_owned() } else { self.formats.join(", ") };
            let malformed = self.malformed;
            return format!(
                "none of {} lines is an operation; {malformed} are not lines of {formats}, and the first of them is {}, line {line}: {reason}",
                self.lines,
                path.display()
            );
        }
        match self.skipped.keys().next() {
            Some(name) => format!("none of its operations has an equivalent here, {name} for instance"),
            None if self.unfinished > 0 => format!("none of its {} operations has an end", self.unfinished),
            None => match left_out {
                Some(first) if self.lines == 0 => format!("none of its files can be imported; {first}"),
                _ => format!("no operation in {} lines", self.lines),
            },
        }
    }

    /// Counts a malformed line.
    ///
    /// # Errors
    /// The line as [`Error::Malformed`] if `strict` is set.
    pub(super) fn add_malformed(&mut self, malformed: Malformed, options: &Options) -> Result<(), Error> {
        if options.strict {
            return Err(Error::Malformed(Box::new(malformed)));
        }
        self.malformed += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(malformed);
        }
        Ok(())
    }
}
