//! Tables for a terminal: columns fit the width, and columns that do not fit go into further tables below.
//!
//! Invariant: nothing is cut off. Columns that do not fit are shown below, with the columns that identify the rows
//! repeated.

/// Alignment of the cells of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// A column.
#[derive(Debug)]
struct Column {
    head: String,
    side: Side,
    /// Preferred width, if there is room.
    width: usize,
}

/// A table.
#[derive(Debug, Default)]
pub struct Grid {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    /// Number of columns from the left that identify a row.
    keys: usize,
}

impl Grid {
    /// Creates a table whose first `keys` columns identify its rows.
    #[must_use]
    pub fn new(keys: usize) -> Self {
        Self { keys, ..Self::default() }
    }

    /// Adds a left-aligned column.
    #[must_use]
    pub fn left(mut self, head: &str, width: usize) -> Self {
        self.columns.push(Column { head: head.to_owned(), side: Side::Left, width });
        self
    }

    /// Adds a right-aligned column.
    #[must_use]
    pub fn right(mut self, head: &str, width: usize) -> Self {
        self.columns.push(Column { head: head.to_owned(), side: Side::Right, width });
        self
    }

    /// Adds a row with a cell for every column; missing cells are empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Returns whether the table has no rows.
    pub(crate) fn has_rows(&self) -> bool {
        !self.rows.is_empty()
    }

    fn cell(&self, row: usize, column: usize) -> &str {
        self.rows[row].get(column).map_or("", String::as_str)
    }

    /// Returns the lines, at most `width` columns wide if the cells of a row allow it.
    #[must_use]
    pub fn lines(&self, width: usize) -> Vec<String> {
        let needed: Vec<usize> = (0..self.columns.len()).map(|column| self.needed(column)).collect();
        let shown: Vec<usize> = (0..self.columns.len()).filter(|column| needed[*column] > 0).collect();
        let wished: Vec<usize> =
            needed.iter().zip(&self.columns).map(|(need, column)| column.width.max(*need)).collect();
        let total = |widths: &[usize], columns: &[usize]| {
            columns.iter().map(|column| widths[*column] + 1).sum::<usize>().saturating_sub(1)
        };
        if total(&wished, &shown) <= width {
            return self.part(&shown, &wished);
        }
        if total(&needed, &shown) <= width {
            return self.part(&shown, &needed);
        }
        let (keys, rest): (Vec<usize>, Vec<usize>) = shown.into_iter().partition(|column| *column < self.keys);
        let mut lines: Vec<String> = Vec::new();
        let mut now = keys.clone();
        for column in rest {
            let wider: Vec<usize> = now.iter().copied().chain([column]).collect();
            if total(&needed, &wider) > width && now.len() > keys.len() {
                lines.extend(self.part(&now, &needed));
                lines.push(String::new());
                now = keys.iter().copied().chain([column]).collect();
            } else {
                now = wider;
            }
        }
        lines.extend(self.part(&now, &needed));
        lines
    }

    /// Returns the minimum width of a column; 0 if it is empty.
    fn needed(&self, column: usize) -> usize {
        let cells = (0..self.rows.len()).map(|row| self.cell(row, column));
        cells.chain([self.columns[column].head.as_str()]).map(|text| text.chars().count()).max().unwrap_or(0)
    }

    /// Returns the header and the rows of some columns.
    fn part(&self, columns: &[usize], widths: &[usize]) -> Vec<String> {
        let line = |text: &dyn Fn(usize) -> String| {
            let cells = columns.iter().map(|column| {
                let (text, width) = (text(*column), widths[*column]);
                match self.columns[*column].side {
                    Side::Left => format!("{text:<width$}"),
                    Side::Right => format!("{text:>width$}"),
                }
            });
            cells.collect::<Vec<_>>().join(" ").trim_end().to_owned()
        };
        let head = line(&|column| self.columns[column].head.clone());
        let rows = (0..self.rows.len()).map(|row| line(&|column| self.cell(row, column).to_owned()));
        std::iter::once(head).chain(rows).collect()
    }
}

/// Wraps text at spaces into lines of at most `width` columns; lines after the first are indented by `hang` columns.
/// Words are not broken.
pub(crate) fn wrapped(text: &str, width: usize, hang: usize) -> Vec<String> {
    if text.chars().count() <= width {
        return vec![text.to_owned()];
    }
    let (mut lines, mut now, mut is_empty) = (Vec::new(), String::new(), true);
    for word in text.split(' ') {
        if !is_empty && now.chars().count() + 1 + word.chars().count() > width {
            lines.push(now.trim_end().to_owned());
            (now, is_empty) = (" ".repeat(hang), true);
            if word.is_empty() {
                continue;
            }
        } else if !is_empty || (word.is_empty() && lines.is_empty()) {
            now.push(' ');
        }
        now.push_str(word);
        is_empty = is_empty && word.is_empty();
    }
    lines.push(now.trim_end().to_owned());
    lines
}

/// Shortens a long name to its end, because names differ there.
pub(crate) fn tail(name: &str, width: usize) -> String {
    let length = name.chars().count();
    if length <= width {
        name.to_owned()
    } else {
        format!("…{}", name.chars().skip(length + 1 - width).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let mut grid = Grid::new(1).left("op", 8).right("count", 8).left("", 4).right("p50", 8).right("p99", 8);
        grid.row(["read", "12", "", "1.00 ms", "25.0 ms"].map(str::to_owned));
        grid.row(["write", "1234", "", "7 ns", "9 ns"].map(str::to_owned));
        grid
    }

    #[test]
    fn columns_have_their_width_where_there_is_room() {
        let expected = [
            "op          count      p50      p99",
            "read           12  1.00 ms  25.0 ms",
            "write        1234     7 ns     9 ns",
        ];
        assert_eq!(grid().lines(60), expected);
    }

    #[test]
    fn they_move_together_where_there_is_less() {
        let expected = ["op    count     p50     p99", "read     12 1.00 ms 25.0 ms", "write  1234    7 ns    9 ns"];
        assert_eq!(grid().lines(27), expected);
    }

    #[test]
    fn what_does_not_fit_beside_the_rest_stands_below() {
        let expected = [
            "op    count     p50",
            "read     12 1.00 ms",
            "write  1234    7 ns",
            "",
            "op        p99",
            "read  25.0 ms",
            "write    9 ns",
        ];
        assert_eq!(grid().lines(20), expected);
    }

    #[test]
    fn text_is_broken_at_blanks() {
        assert_eq!(wrapped("one two three four", 9, 2), ["one two", "  three", "  four"]);
        assert_eq!(wrapped("  in a list", 7, 4), ["  in a", "    list"]);
        assert_eq!(wrapped("short", 9, 2), ["short"]);
        assert_eq!(tail("a/long/name", 6), "…/name");
    }
}
