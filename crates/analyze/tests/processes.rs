//! Results do not depend on the number of processes, or on whether rows are retained.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

mod synthetic;

use dlio_analyze::{Analysis, Options, Report, render, report};
use dlio_trace::read_dir;
use synthetic::Shape;

/// Returns the report that `processes` processes make together.
fn together(folder: &std::path::Path, processes: usize) -> Report {
    let traces = read_dir(folder).unwrap();
    let analysis = Analysis::new(&traces, &Options::default());
    let shares: Vec<_> = (0..processes).map(|process| analysis.read(process, processes).unwrap()).collect();
    let first: Vec<Vec<u8>> = shares.iter().map(dlio_analyze::TraceShare::round1).collect();
    let merged = analysis.merge(&first).unwrap();
    let second: Vec<Vec<u8>> = shares.iter().map(|share| share.round2(&merged)).collect();
    let merged = merged.merge(&second).unwrap();
    let third: Vec<Vec<u8>> = shares.iter().map(|share| share.round3(&merged)).collect();
    analysis.finish(merged, &third).unwrap().unwrap()
}

#[test]
fn two_three_and_more_processes_than_traces_find_what_one_finds() {
    let folder = tempfile::tempdir().unwrap();
    synthetic::write(folder.path(), Shape { ranks: 5, epochs: 3, steps: 30, samples_per_step: 4, endpoints: 3 })
        .unwrap();
    let alone =
        String::from_utf8(render::json(&report(&read_dir(folder.path()).unwrap(), &Options::default()).unwrap()));
    let alone = alone.unwrap();
    for processes in [1, 2, 3, 7] {
        let found = String::from_utf8(render::json(&together(folder.path(), processes))).unwrap();
        assert!(found == alone, "{processes} processes:\n{found}");
    }
}

#[test]
fn a_message_of_something_else_is_refused() {
    let traces = Vec::new();
    let analysis = Analysis::new(&traces, &Options::default());
    assert!(analysis.merge(&[b"{}".to_vec()]).is_none());
}

#[test]
fn a_streaming_analysis_is_within_its_error() {
    let folder = tempfile::tempdir().unwrap();
    synthetic::write(folder.path(), Shape { ranks: 2, epochs: 2, steps: 200, samples_per_step: 8, endpoints: 2 })
        .unwrap();
    let traces = read_dir(folder.path()).unwrap();
    let exact = report(&traces, &Options::default()).unwrap();
    let about = report(&traces, &Options { streaming: Some(true), ..Options::default() }).unwrap();
    assert!(about.method.streaming && !exact.method.streaming && about.method.estimated.is_empty());
    for (about, exact) in about.operations.iter().zip(&exact.operations) {
        assert_eq!((about.latency.count, about.latency.max_ns), (exact.latency.count, exact.latency.max_ns));
        for (found, value) in [
            (about.latency.p50_ns, exact.latency.p50_ns),
            (about.latency.p99_ns, exact.latency.p99_ns),
            (about.latency.p9999_ns, exact.latency.p9999_ns),
        ] {
            assert!((found as f64 / value as f64 - 1.0).abs() <= 1.0 / 256.0, "{found} for {value}");
        }
    }
    assert_eq!(
        (&about.train, &about.epochs, &about.diagnosis.losses),
        (&exact.train, &exact.epochs, &exact.diagnosis.losses)
    );
    assert!(exact.diagnosis.stragglers.iter().any(|group| group.by == "object"));
    assert_eq!(about.diagnosis.stragglers, exact.diagnosis.stragglers);
    assert_eq!((&about.diagnosis.overlap, &about.series), (&exact.diagnosis.overlap, &exact.series));
    assert!(render::table(&about, 100).contains("streaming: percentiles within 0.4 %"));
}

#[test]
fn tables_of_csv_and_markdown_have_as_many_cells_as_columns() {
    let folder = tempfile::tempdir().unwrap();
    synthetic::write(folder.path(), Shape { ranks: 2, epochs: 2, steps: 4, samples_per_step: 4, endpoints: 2 })
        .unwrap();
    let report = report(&read_dir(folder.path()).unwrap(), &Options::default()).unwrap();
    let csv = render::csv(&report);
    for table in csv.split("\n\n").filter(|table| table.contains("operations,") && !table.contains('"')) {
        let widths: Vec<usize> = table.lines().map(|line| line.split(',').count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{table}");
    }
    for name in ["findings", "epochs", "operations", "ranks", "hosts", "endpoints", "au_lost_to"] {
        assert!(csv.lines().any(|line| line.starts_with(&format!("{name},"))), "{name}:\n{csv}");
    }
    let markdown = render::markdown(&report);
    assert!(markdown.starts_with("# synthetic\n") && markdown.contains("| get | ≤ 1 MiB | first_byte |"), "{markdown}");
}
