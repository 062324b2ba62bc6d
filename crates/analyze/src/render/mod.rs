//! A report as bytes: a table for terminals, JSON for programs, CSV and Markdown, one HTML page for people.

mod comparison;
mod grid;
mod html;
mod overview;
mod page_data;
mod sheets;
mod table;
mod units;
mod why;
mod words;

pub use grid::Grid;
pub use html::{html, html_against};
pub use sheets::{csv, markdown};
pub use table::table;

use crate::Report;

/// The report as JSON, indented, with a line break at the end.
#[must_use]
pub fn json(report: &Report) -> Vec<u8> {
    // Text keys and plain values: serialising to memory cannot fail.
    let mut bytes = serde_json::to_vec_pretty(report).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}
