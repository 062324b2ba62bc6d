//! Origins of settings: a table of all settings that several sources can give, in the order of precedence, and a report of each
//! value, its origin, and values that were given but are not used.

mod table;
mod values;

use serde::{Deserialize, Serialize};

use table::Excluded;
pub use table::{ENDPOINTS, SETTINGS, Setting, Source};
pub use values::{MARKS, SettingValues, flags};

/// The values and origins of all settings that a source gives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// One row per setting, in the order of the table.
    pub rows: Vec<Row>,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub setting: String,
    /// The value, with secrets masked.
    pub value: String,
    /// The origin of the value.
    pub from: String,
    /// Other given values.
    pub unused: Vec<Unused>,
}

/// A value that was given but is not used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unused {
    /// The source that gives it.
    pub source: String,
    /// The value.
    pub value: String,
    /// The reason why it is not used.
    pub why: String,
    /// Whether the user may expect it to be used, so that the run warns about it.
    pub misleads: bool,
}

impl Report {
    /// Evaluates the table for the content of all sources.
    #[must_use]
    pub fn new(given: &SettingValues<'_>) -> Self {
        Self { rows: SETTINGS.iter().filter_map(|setting| row(setting, given)).collect() }
    }

    /// Returns the value of a setting if a source gives it.
    #[must_use]
    pub fn value(&self, setting: &str) -> Option<&str> {
        self.rows.iter().find(|row| row.setting == setting && !row.from.is_empty()).map(|row| row.value.as_str())
    }

    /// Sets the final value of a setting that the table could not determine, and removes unused values that agree with it.
    pub fn settle(&mut self, setting: &str, value: impl Into<String>) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.setting == setting) {
            row.value = value.into();
        }
    }

    /// Returns one line for each unused value that the user may expect to be used.
    pub fn notices(&self) -> Vec<String> {
        let misleading = self.rows.iter().flat_map(|row| row.unused.iter().filter(|unused| unused.misleads));
        misleading.map(Unused::line).collect()
    }

    /// Returns the complete report: a line per setting and per unused value.
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

/// Returns the first source that gives a setting: its name, the source and the value.
#[must_use]
pub fn first(setting: &str, given: &SettingValues<'_>) -> Option<(String, Source, String)> {
    let setting = SETTINGS.iter().find(|known| known.name == setting)?;
    let source = setting.order(given).into_iter().find(|source| given.text(*source).is_some())?;
    Some((given.name(source), source, given.text(source)?))
}

fn row(setting: &Setting, given: &SettingValues<'_>) -> Option<Row> {
    let concerned = setting.concerns(given);
    let mut said = setting.order(given).into_iter().filter_map(|source| Some((source, given.text(source)?)));
    let mut row =
        Row { setting: setting.name.to_owned(), value: String::new(), from: String::new(), unused: Vec::new() };
    if let Err(Excluded { why, environment }) = concerned {
        // Variables of the environment may be meant for other programs.
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
