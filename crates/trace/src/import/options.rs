//! Options and result of an import.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::format::SourceFormat;
use crate::error::{Error, Malformed};

/// Lines that are quoted in messages.
const EXAMPLES: usize = 5;

/// How to import.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Format of the sources; `None`: told by how each begins.
    pub format: Option<SourceFormat>,
    /// Stop at the first line that cannot be understood.
    pub strict: bool,
    /// Command line for the headers.
    pub argv: Vec<String>,
    /// Host name for sources that tell none.
    pub host: String,
    /// Bytes that are read of the sources are added to this.
    pub read: Arc<AtomicU64>,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Imported {
    /// Formats that were met.
    pub formats: Vec<&'static str>,
    /// Rows written.
    pub rows: u64,
    /// Ranks: processes or clients of the source.
    pub ranks: u32,
    /// Lines read.
    pub lines: u64,
    /// Lines that could not be understood.
    pub malformed: u64,
    /// The first of them.
    pub examples: Vec<Malformed>,
    /// Operations that have no equivalent here: how many lines of each name.
    pub skipped: BTreeMap<String, u64>,
    /// Operations that had begun and whose end is not in the source.
    pub unfinished: u64,
    /// What to know before believing the trace: what sources say of what they lack, and hours between them.
    pub warnings: Vec<String>,
}

impl Imported {
    /// Why no row was imported; `left_out`: why the first file that was left out of a folder was left out.
    pub(super) fn why_nothing(&self, left_out: Option<&str>) -> String {
        if let Some(first) = self.examples.first() {
            let Malformed { path, line, reason } = first;
            let formats = if self.formats.is_empty() { "any format".to_owned() } else { self.formats.join(", ") };
            let malformed = self.malformed;
            return format!(
                "none of {} lines is an operation, {malformed} are no lines of {formats}; the first is {}, line {line}: {reason}",
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

    /// Counts a line that could not be understood.
    ///
    /// # Errors
    /// The line itself under `strict`.
    pub(super) fn broken(&mut self, malformed: Malformed, options: &Options) -> Result<(), Error> {
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
