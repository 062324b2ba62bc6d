//! Renders a report as bytes: a table for terminals, JSON for programs, CSV and Markdown, and an HTML page.

mod comparison;
mod csv_markdown;
mod diagnosis;
mod grid;
mod html;
mod overview;
mod page_data;
mod table;
mod units;
mod verdict;

pub use csv_markdown::{csv, markdown};
pub use grid::Grid;
pub use html::{html, html_against};
pub use table::table;

use crate::Report;

/// Returns the report as indented JSON with a final line break.
#[must_use]
pub fn json(report: &Report) -> Vec<u8> {
    // Text keys and plain values: serialising to memory cannot fail.
    let mut bytes = serde_json::to_vec_pretty(report).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}
