//! Tables with a header line, whose columns are found by name.

/// The column names of a table.
#[derive(Debug, Default)]
pub(super) struct Columns {
    names: Vec<String>,
}

impl Columns {
    /// Parses a header line.
    ///
    /// # Errors
    /// The name of the first column in `needed` that is missing.
    pub(super) fn of(header: &str, separator: char, needed: &[&str]) -> Result<Self, String> {
        let names: Vec<String> = header.split(separator).map(|name| name.trim().trim_matches('"').to_owned()).collect();
        match needed.iter().find(|name| !names.iter().any(|known| known == *name)) {
            Some(missing) => Err(format!("the header has no column {missing}")),
            None => Ok(Self { names }),
        }
    }

    /// Returns the index of a column.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    /// Returns the number of columns.
    pub(super) fn count(&self) -> usize {
        self.names.len()
    }
}

/// The lowest and the highest bit of each byte.
const LOWEST: u64 = 0x0101_0101_0101_0101;
const HIGHEST: u64 = 0x8080_8080_8080_8080;

/// Splits lines into fields and reuses the memory for their ends. It takes a quarter of the time of the `csv` crate with serde
/// (`docs/adr/0022-trace-encoder.md`).
#[derive(Debug, Default)]
pub(super) struct Splitter {
    ends: Vec<usize>,
}

impl Splitter {
    /// Splits a line into fields.
    pub(super) fn split<'a>(&'a mut self, line: &'a str, separator: u8) -> Fields<'a> {
        self.ends.clear();
        let (words, rest) = line.as_bytes().as_chunks::<8>();
        let pattern = u64::from(separator) * LOWEST;
        for (at, word) in words.iter().enumerate() {
            // Sets the high bit of each byte that is the separator. Fields are so short that a search for each separator would be
            // slower.
            let differs = u64::from_le_bytes(*word) ^ pattern;
            let mut found = !((differs & !HIGHEST).wrapping_add(!HIGHEST) | differs) & HIGHEST;
            while found != 0 {
                self.ends.push(at * 8 + found.trailing_zeros() as usize / 8);
                found &= found - 1;
            }
        }
        let from = words.len() * 8;
        self.ends.extend(rest.iter().enumerate().filter(|(_, byte)| **byte == separator).map(|(at, _)| from + at));
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

    /// Returns a field; empty if the line or the table lacks it.
    pub(super) fn get(&self, place: Option<usize>) -> &'a str {
        let Some(place) = place else { return "" };
        let from = match place {
            0 => Some(0),
            _ => self.ends.get(place - 1).map(|end| end + 1),
        };
        from.zip(self.ends.get(place)).and_then(|(from, to)| self.line.get(from..*to)).unwrap_or_default()
    }

    /// Parses a field as a number.
    pub(super) fn number(&self, place: Option<usize>, name: &str) -> Result<u64, String> {
        let text = self.get(place);
        text.parse().map_err(|_| format!("{name} is {text:?}; expected a number"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_where_its_separators_are() {
        let mut splitter = Splitter::default();
        let texts =
            ["", "\t", "a\tb", "\t\t\t\t\t\t\t\t\t", "12345678\t\u{8}\n9\té\u{89}\t\u{7f}\0", "0123456789abcdef\t"];
        for text in texts.into_iter().flat_map(|text| (0..20).map(move |shift| format!("{}{text}", "x".repeat(shift))))
        {
            let fields = splitter.split(&text, b'\t');
            let expected: Vec<&str> = text.split('\t').collect();
            assert_eq!(fields.count(), expected.len(), "{text:?}");
            for (place, field) in expected.into_iter().enumerate() {
                assert_eq!(fields.get(Some(place)), field);
            }
            assert_eq!((fields.get(Some(fields.count())), fields.get(None)), ("", ""));
        }
    }
}
