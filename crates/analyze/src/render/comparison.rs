//! A comparison of two runs as text.

use std::fmt::Write;

use crate::compare::Change;

/// For a terminal.
pub(crate) fn comparison(changes: &[Change]) -> String {
    let mut text = "\nAgainst the base (95 % confidence interval of the change)\n".to_owned();
    let _ = writeln!(text, "{:<20}{:>14}{:>14}{:>11}   interval", "metric", "base", "this", "change");
    for change in changes {
        let (low, high) = change.interval;
        let amount = format!("{:+.2} %", change.change_percentage);
        let (name, base, this) = (&change.metric, change.base, change.this);
        let _ = writeln!(text, "{name:<20}{base:>14.6}{this:>14.6}{amount:>11}   {low:+.2} to {high:+.2} %");
    }
    text
}
