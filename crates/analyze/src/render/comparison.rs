//! Text of a comparison of two runs.

use super::diagnosis::Section;
use super::grid::Grid;
use crate::compare::Change;

/// Returns the lines for a terminal.
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
    Section::of_grid("Comparison with the base (95 % confidence interval of the change)", grid)
}
