//! Where settings come from: one table of everything that more than one place can say, in the order of precedence, and
//! what a run makes of it: each value, where it came from, and what else was given and not used.

mod given;
mod table;

use serde::{Deserialize, Serialize};

pub use given::{Given, MARKS, flags};
use table::Excluded;
pub use table::{ENDPOINTS, SETTINGS, Setting, Source};

/// What became of every setting that somebody said something about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// In the order of the table.
    pub rows: Vec<Row>,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub setting: String,
    /// Its value; secrets are not shown.
    pub value: String,
    /// Where it came from.
    pub from: String,
    /// What else was given.
    pub unused: Vec<Unused>,
}

/// Something that was given and not used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unused {
    /// Who gave it.
    pub source: String,
    /// What it says.
    pub value: String,
    /// Why it does not count.
    pub why: String,
    /// Whether somebody may believe that it counts, so that a run says so before it begins.
    pub misleads: bool,
}

impl Report {
    /// What the table makes of what is given.
    pub fn new(given: &Given<'_>) -> Self {
        Self { rows: SETTINGS.iter().filter_map(|setting| row(setting, given)).collect() }
    }

    /// The value of a setting, where somebody gave it.
    pub fn value(&self, setting: &str) -> Option<&str> {
        self.rows.iter().find(|row| row.setting == setting && !row.from.is_empty()).map(|row| row.value.as_str())
    }

    /// Says of a setting how it came out where the table could not know it, and drops what is no contradiction then.
    pub fn settle(&mut self, setting: &str, value: impl Into<String>) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.setting == setting) {
            row.value = value.into();
        }
    }

    /// One line for each thing that was given and not used although somebody may believe that it counts.
    pub fn notices(&self) -> Vec<String> {
        let misleading = self.rows.iter().flat_map(|row| row.unused.iter().filter(|unused| unused.misleads));
        misleading.map(Unused::line).collect()
    }

    /// The whole report, a line per setting and per thing that was not used.
    pub fn render(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for row in &self.rows {
            if !row.from.is_empty() {
                lines.push(format!("{}: {} ({})", row.setting, row.value, row.from));
            }
            lines.extend(row.unused.iter().map(Unused::line));
        }
        lines
    }
}

impl Unused {
    fn line(&self) -> String {
        format!("given and not used: {}={}: {}", self.source, self.value, self.why)
    }
}

/// The first source of a setting that says something: its name, itself and what it says.
pub fn first(setting: &str, given: &Given<'_>) -> Option<(String, Source, String)> {
    let setting = SETTINGS.iter().find(|known| known.name == setting)?;
    let source = setting.order(given).into_iter().find(|source| given.text(*source).is_some())?;
    Some((given.name(source), source, given.text(source)?))
}

fn row(setting: &Setting, given: &Given<'_>) -> Option<Row> {
    let concerned = setting.concerns(given);
    let mut said = setting.order(given).into_iter().filter_map(|source| Some((source, given.text(source)?)));
    let mut row =
        Row { setting: setting.name.to_owned(), value: String::new(), from: String::new(), unused: Vec::new() };
    if let Err(Excluded { why, environment }) = concerned {
        // What the environment says is there for other programs as well.
        let mut values = Vec::new();
        for (source, value) in said.filter(|(source, _)| source.is_of_the_run() || environment) {
            if !values.contains(&value) {
                row.unused.push(Unused {
                    source: given.name(source),
                    value: value.clone(),
                    why: why.to_owned(),
                    misleads: true,
                });
                values.push(value);
            }
        }
        return (!row.unused.is_empty()).then_some(row);
    }
    let (first, value) = said.next()?;
    row.from = given.name(first);
    let others = said.filter(|(_, other)| !setting.agree(&value, other));
    row.unused = others
        .map(|(source, other)| Unused {
            source: given.name(source),
            value: other,
            why: format!("{} comes first", row.from),
            misleads: setting.warns || source.is_of_the_run(),
        })
        .collect();
    row.value = value;
    Some(row)
}

#[cfg(test)]
mod tests;
