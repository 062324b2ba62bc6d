//! A comparison of two runs as text.

use super::grid::Grid;
use super::why::Section;
use crate::compare::Change;

/// For a terminal.
pub(crate) fn comparison(changes: &[Change]) -> Section {
    let mut grid = Grid::new(1).left("metric", 19).right("base", 14).right("this", 14).right("change", 10);
    grid = grid.left("  interval", 0);
    for change in changes {
        let (low, high) = change.interval;
        grid.row([
            change.metric.clone(),
            format!("{:.6}", change.base),
            format!("{:.6}", change.this),
            format!("{:+.2} %", change.change_percentage),
            format!("  {low:+.2} to {high:+.2} %"),
        ]);
    }
    Section::of_grid("Against the base (95 % confidence interval of the change)", grid)
}
