//! Writes the traces of a synthetic run into a folder, and the report on them in every format next to them.
//!
//! `cargo run --release -p dlio-analyze --example synthetic_report -- FOLDER [RANKS STEPS]`; with `--read` instead of
//! the numbers, it reports on the traces that are already there.

#[path = "../tests/synthetic/mod.rs"]
mod synthetic;

use std::path::Path;

use dlio_analyze::render;
use synthetic::Shape;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = Path::new(arguments.first().ok_or("name a folder")?);
    if arguments.get(1).map(String::as_str) != Some("--read") {
        let number = |at: usize, default: u32| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(default);
        let shape = Shape { ranks: number(1, 6), epochs: 3, steps: number(2, 40), samples_per_step: 8, endpoints: 3 };
        synthetic::write(folder, shape)?;
    }
    let traces = dlio_trace::read_dir(folder)?;
    let report = dlio_analyze::report(&traces, &dlio_analyze::Options::default())?;
    std::fs::write(folder.join("report.txt"), render::table(&report, 100))?;
    std::fs::write(folder.join("report.json"), render::json(&report))?;
    std::fs::write(folder.join("report.html"), render::html(&report))?;
    Ok(())
}
