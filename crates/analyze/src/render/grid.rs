//! Tables of a terminal: columns that fit its width, and, where not all of them do, one table below the other.
//!
//! Invariant: nothing is cut off. What does not fit beside the rest stands below it, with the columns that name the rows repeated.

/// Which side the cells of a column keep to.
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
    /// Wished-for width, where there is room.
    width: usize,
}

/// A table.
#[derive(Debug, Default)]
pub struct Grid {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    /// Columns from the left that name a row.
    keys: usize,
}

impl Grid {
    /// A table whose first `keys` columns name its rows.
    #[must_use]
    pub fn new(keys: usize) -> Self {
        Self { keys, ..Self::default() }
    }

    /// A column whose cells begin at its left side.
    #[must_use]
    pub fn left(mut self, head: &str, width: usize) -> Self {
        self.columns.push(Column { head: head.to_owned(), side: Side::Left, width });
        self
    }

    /// A column whose cells end at its right side.
    #[must_use]
    pub fn right(mut self, head: &str, width: usize) -> Self {
        self.columns.push(Column { head: head.to_owned(), side: Side::Right, width });
        self
    }

    /// A row with a cell for every column; missing ones are empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Whether there is a row.
    pub(crate) fn has_rows(&self) -> bool {
        !self.rows.is_empty()
    }

    fn cell(&self, row: usize, column: usize) -> &str {
        self.rows[row].get(column).map_or("", String::as_str)
    }

    /// The lines, at most `width` columns wide where the cells of one row allow it.
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

    /// What a column takes at least; 0: it is empty.
    fn needed(&self, column: usize) -> usize {
        let cells = (0..self.rows.len()).map(|row| self.cell(row, column));
        cells.chain([self.columns[column].head.as_str()]).map(|text| text.chars().count()).max().unwrap_or(0)
    }

    /// The head and the rows of some columns.
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

/// Text broken at blanks so that lines have at most `width` columns; those after the first begin `hang` columns in. Words stay whole.
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

/// The end of a name that is too long: there names differ.
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
