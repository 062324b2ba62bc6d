//! Tables with a header line: columns by name, in any order.

/// Where the columns of a table are.
#[derive(Debug, Default)]
pub(super) struct Columns {
    names: Vec<String>,
}

impl Columns {
    /// The columns of a header line; the text says which of those that are needed is missing.
    pub(super) fn of(header: &str, separator: char, needed: &[&str]) -> Result<Self, String> {
        let names: Vec<String> = header.split(separator).map(|name| name.trim().trim_matches('"').to_owned()).collect();
        match needed.iter().find(|name| !names.iter().any(|known| known == *name)) {
            Some(missing) => Err(format!("the header has no column {missing}")),
            None => Ok(Self { names }),
        }
    }

    /// Where a column is.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    /// Number of columns.
    pub(super) fn count(&self) -> usize {
        self.names.len()
    }
}

/// Splits lines; where the fields end is kept between lines for its memory.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    ends: Vec<usize>,
}

impl Splitter {
    /// The fields of a line.
    pub(super) fn split<'a>(&'a mut self, line: &'a str, separator: u8) -> Fields<'a> {
        self.ends.clear();
        self.ends.extend(memchr::memchr_iter(separator, line.as_bytes()));
        self.ends.push(line.len());
        Fields { line, ends: &self.ends }
    }
}

/// The fields of a line.
pub(super) struct Fields<'a> {
    line: &'a str,
    ends: &'a [usize],
}

impl<'a> Fields<'a> {
    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    /// A field; empty where the line or the table has none.
    pub(super) fn get(&self, place: Option<usize>) -> &'a str {
        let Some(place) = place else { return "" };
        let from = match place {
            0 => Some(0),
            _ => self.ends.get(place - 1).map(|end| end + 1),
        };
        from.zip(self.ends.get(place)).and_then(|(from, to)| self.line.get(from..*to)).unwrap_or_default()
    }

    /// A number, or what is wrong.
    pub(super) fn number(&self, place: Option<usize>, name: &str) -> Result<u64, String> {
        let text = self.get(place);
        text.parse().map_err(|_| format!("{name} is {text:?}; expected a number"))
    }
}
