//! Tables with a header line: columns by name, in any order.

/// Where the columns of a table are.
#[derive(Debug, Default)]
pub(super) struct Columns {
    names: Vec<String>,
}

impl Columns {
    /// The columns of a header line; the text says which of those that are needed is missing.
    pub(super) fn of(header: &str, separator: char, needed: &[&str]) -> Result<Self, String> {
        let names: Vec<String> =
            header.trim_start_matches('\u{feff}').split(separator).map(|name| name.trim().to_owned()).collect();
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

/// The fields of a line. Lines of these programs never have more than a few dozen.
pub(super) struct Fields<'a> {
    fields: [&'a str; 32],
    count: usize,
}

impl<'a> Fields<'a> {
    /// Splits a line.
    pub(super) fn of(line: &'a str, separator: u8) -> Result<Self, String> {
        let mut fields = [""; 32];
        let (mut count, mut from) = (0, 0);
        let bytes = line.as_bytes();
        for (at, byte) in bytes.iter().enumerate() {
            if *byte == separator {
                let Some(field) = fields.get_mut(count) else { return Err("more than 32 fields".to_owned()) };
                *field = &line[from..at];
                (count, from) = (count + 1, at + 1);
            }
        }
        let Some(field) = fields.get_mut(count) else { return Err("more than 32 fields".to_owned()) };
        *field = &line[from..];
        Ok(Self { fields, count: count + 1 })
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// A field; empty where the line or the table has none.
    pub(super) fn get(&self, place: Option<usize>) -> &'a str {
        place.and_then(|place| self.fields.get(place)).copied().unwrap_or_default()
    }

    /// A number, or what is wrong.
    pub(super) fn number(&self, place: Option<usize>, name: &str) -> Result<u64, String> {
        let text = self.get(place);
        text.parse().map_err(|_| format!("{name} is {text:?}; expected a number"))
    }
}
