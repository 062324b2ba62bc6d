//! The report as one HTML page without external references: styles, script and data are embedded, and a content policy
//! forbids loading anything.

use super::page_data::PageData;
use crate::Report;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
/// Scripts in the order of their dependencies.
const SCRIPTS: [&str; 6] = [
    include_str!("page/words.js"),
    include_str!("page/chart.js"),
    include_str!("page/plots.js"),
    include_str!("page/cards.js"),
    include_str!("page/report.js"),
    include_str!("page/details.js"),
];

/// Returns the page of a run.
#[must_use]
pub fn html(report: &Report) -> Vec<u8> {
    page(report, None)
}

/// Returns the page of a run that was compared with another one.
#[must_use]
pub fn html_against(report: &Report, base: &Report) -> Vec<u8> {
    page(report, Some(base))
}

fn page(report: &Report, base: Option<&Report>) -> Vec<u8> {
    let data = PageData::new(report, base);
    let title = report.run.model.as_deref().unwrap_or("run");
    let script = SCRIPTS.join("\n");
    let mut page = String::new();
    let mut rest = PAGE;
    // The template is expanded piece by piece, so that placeholders within names are not expanded.
    while let Some((before, (name, after))) =
        rest.split_once("{{").and_then(|(before, rest)| Some((before, rest.split_once("}}")?)))
    {
        page.push_str(before);
        page.push_str(&match name {
            "title" => escaped(title),
            "verdict" => escaped(&data.verdict.headline),
            "style" => STYLE.to_owned(),
            "data" => embedded(&data),
            "script" => script.clone(),
            _ => String::new(),
        });
        rest = after;
    }
    page.push_str(rest);
    page.into_bytes()
}

/// Returns JSON for a script element, escaped so that it can neither end the element nor begin a comment.
fn embedded(data: &PageData<'_>) -> String {
    // Text keys and plain values: serialising to memory cannot fail.
    serde_json::to_string(data).unwrap_or_else(|_| "{}".to_owned()).replace('<', "\\u003c")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
