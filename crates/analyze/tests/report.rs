//! Reports on synthetic traces, with results computed by hand where possible, and as snapshots.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

mod synthetic;

use std::path::Path;

use dlio_analyze::metric::{self, Parameters};
use dlio_analyze::{Options, Report, render, report};
use dlio_event::{BlockTimings, Event, EventSink, Lane, OpKind, Phase, Position, RankTimings};
use dlio_trace::{Header, TraceWriter, file_name, read_dir};
use synthetic::Shape;

const MS: u64 = 1_000_000;

fn small() -> Shape {
    Shape { ranks: 2, epochs: 2, steps: 4, samples_per_step: 4, endpoints: 2 }
}

fn report_on(folder: &Path) -> Report {
    report(&read_dir(folder).unwrap(), &Options::default()).unwrap()
}

fn synthetic_report(shape: Shape) -> Report {
    let folder = tempfile::tempdir().unwrap();
    synthetic::write(folder.path(), shape).unwrap();
    report_on(folder.path())
}

fn codes(report: &Report) -> Vec<&str> {
    report.warnings.iter().map(|warning| warning.code.as_str()).collect()
}

#[test]
fn the_table_is_as_in_its_snapshot() {
    let found = render::table(&synthetic_report(small()), 100);
    assert!(found.lines().all(|line| line.chars().count() <= 100));
    let expected = include_str!("golden/report.txt");
    assert!(found == expected, "tests/golden/report.txt differs; the table is now:\n{found}");
}

#[test]
fn the_table_fits_narrow_terminals_and_loses_nothing() {
    let report = synthetic_report(small());
    let words = |text: &str| {
        let plain = |word: &&str| word.chars().any(char::is_alphanumeric);
        text.split_whitespace().filter(plain).map(str::to_owned).collect::<std::collections::BTreeSet<_>>()
    };
    let whole = words(&render::table(&report, 120));
    for width in [60, 80] {
        let table = render::table(&report, width);
        assert!(table.lines().all(|line| line.chars().count() <= width), "{table}");
        assert!(!table.contains('…'), "something is cut off at {width}:\n{table}");
        let missing: Vec<_> = whole.difference(&words(&table)).cloned().collect();
        // Bars have as many letters as there is room for.
        let lost: Vec<_> = missing.iter().filter(|word| !word.starts_with("ccc")).collect();
        assert!(lost.is_empty(), "{lost:?} of 120 columns are not in {width}");
    }
}

#[test]
fn the_json_is_as_in_its_snapshot_and_reads_back() {
    let report = synthetic_report(small());
    let found = render::json(&report);
    let back: Report = serde_json::from_slice(&found).unwrap();
    assert_eq!(render::table(&back, 100), render::table(&report, 100));
    let expected = include_str!("golden/report.json");
    let found = String::from_utf8(found).unwrap();
    assert!(found == expected, "tests/golden/report.json differs; the JSON is now:\n{found}");
}

#[test]
fn every_sample_is_read_once_and_every_byte_is_counted() {
    let report = synthetic_report(small());
    assert_eq!(report.run.read_bytes, 32 * 2 * (1 << 20));
    for epoch in &report.epochs {
        assert_eq!((epoch.coverage.distinct, epoch.coverage.duplicates, epoch.coverage.missing), (32, 0, Some(0)));
        assert_eq!((epoch.steps, epoch.read_bytes), (4, 32 << 20));
    }
    let series = &report.series;
    let moved: f64 = series.read_bytes_per_second.iter().sum::<f64>() * series.slice_seconds;
    assert!((moved / report.run.read_bytes as f64 - 1.0).abs() < 1e-6);
    let by_endpoint: u64 = report.endpoints.iter().map(|row| row.flow.read_bytes).sum();
    assert_eq!(by_endpoint, report.run.read_bytes);
    assert_eq!((report.run.errors, report.run.retries), (4, 4));
    assert_eq!(codes(&report), ["errors"]);
}

#[test]
fn the_time_of_an_epoch_is_explained_to_the_last_part() {
    let report = synthetic_report(small());
    assert_eq!(report.times.len(), 4);
    for row in &report.times {
        let parts = row.compute + row.waiting + row.barrier + row.checkpoint + row.evaluation + row.other;
        assert!((parts - row.total).abs() < 1e-9);
        assert!((row.compute - 0.4).abs() < 1e-9 && (row.barrier - 0.02).abs() < 1e-9);
        assert!((row.checkpoint - 0.05).abs() < 1e-9 && (row.other - 0.002).abs() < 1e-9);
    }
}

/// Steps of one rank with evaluation and two blocks, as the engine would record and measure them.
fn recorded(writer: &TraceWriter) -> RankTimings {
    let mut timings = RankTimings::default();
    let mut now = 3 * MS;
    for epoch in 1..=2 {
        let start = now;
        let mut epoch_timings = dlio_event::EpochTimings { epoch, start, ..Default::default() };
        for block in 1..=2 {
            let at = Position { phase: Phase::Train, epoch, block, ..Position::default() };
            epoch_timings.blocks.push(steps(writer, at, (block - 1) * 5, &mut now));
        }
        epoch_timings.train_end = now;
        let at = Position { phase: Phase::Eval, epoch, ..Position::default() };
        epoch_timings.eval = Some(steps(writer, at, 0, &mut now));
        epoch_timings.end = now;
        let at = Position { phase: Phase::Train, epoch, ..Position::default() };
        writer.record(Event::span(OpKind::Epoch, Lane::MAIN, at, start, now));
        timings.epochs.push(epoch_timings);
    }
    timings
}

fn steps(writer: &TraceWriter, at: Position, first: u32, now: &mut u64) -> BlockTimings {
    let mut timings = BlockTimings { block: at.block, start: *now, ..BlockTimings::default() };
    let span = |kind, step, start, end| {
        writer.record(Event::span(kind, Lane::MAIN, Position { step, ..at }, start, end));
    };
    for step in first + 1..=first + 5 {
        let load = u64::from(step * 7 % 5) * MS + 123;
        let compute = u64::from(step) * MS + 77;
        span(OpKind::Fetch, step, *now, *now + load);
        span(OpKind::Compute, step, *now + load, *now + load + compute);
        timings.load.push(load);
        timings.compute.push(compute);
        timings.proc.push(load + compute);
        *now += load + compute;
        if at.phase == Phase::Train {
            span(OpKind::Barrier, step, *now, *now + MS);
            *now += MS;
        }
    }
    timings.end = *now;
    let kind = if at.phase == Phase::Eval { OpKind::Eval } else { OpKind::Block };
    span(kind, 0, timings.start, timings.end);
    timings
}

#[test]
fn metrics_from_the_trace_equal_the_live_ones() {
    let folder = tempfile::tempdir().unwrap();
    let parameters = Parameters { train_steps: 10, eval_steps: 5, ..small().parameters() };
    let header = Header { world: 1, config_json: parameters.embed(serde_json::json!({})), ..Header::default() };
    let writer = TraceWriter::create(&folder.path().join(file_name(0)), &header).unwrap();
    let live = [metric::rank(&recorded(&writer), &parameters)];
    writer.finish().unwrap();
    let report = report_on(folder.path());
    let fallen: f64 = report.diagnosis.waterfall.iter().map(|fall| fall.percentage).sum();
    let headline = report.train.as_ref().unwrap().au.unwrap().mean;
    assert!((fallen + headline - 100.0).abs() < 1e-9, "{fallen} below 100 % is not {headline}");
    assert_eq!(report.train.unwrap(), metric::training(&live, &parameters));
    assert_eq!(report.eval.unwrap(), metric::evaluations(&live, &parameters));
}

#[test]
fn an_object_that_is_not_there_is_an_answer_to_a_question_and_an_error_of_a_read() {
    let folder = tempfile::tempdir().unwrap();
    let header = Header { world: 1, ..Header::default() };
    let writer = TraceWriter::create(&folder.path().join(file_name(0)), &header).unwrap();
    for kind in [OpKind::Stat, OpKind::Head, OpKind::Get] {
        let span = Event::span(kind, Lane::MAIN, Position::default(), MS, 2 * MS);
        writer.record(Event { outcome: dlio_event::Outcome::NotFound, ..span });
    }
    writer.finish().unwrap();
    let report = report_on(folder.path());
    assert_eq!((report.run.operations, report.run.errors), (3, 1));
}

#[test]
fn a_clock_behind_rank_0_changes_no_metric() {
    let folder = tempfile::tempdir().unwrap();
    let parameters = Parameters { train_steps: 10, eval_steps: 5, ..small().parameters() };
    let mut header = Header { world: 1, config_json: parameters.embed(serde_json::json!({})), ..Header::default() };
    header.clock.offset_to_rank0_ns = -50_000_000_000;
    let writer = TraceWriter::create(&folder.path().join(file_name(0)), &header).unwrap();
    let live = [metric::rank(&recorded(&writer), &parameters)];
    writer.finish().unwrap();
    assert_eq!(report_on(folder.path()).train.unwrap(), metric::training(&live, &parameters));
}

#[test]
fn a_trace_without_steps_gives_a_report_without_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let writer =
        TraceWriter::create(&folder.path().join(file_name(0)), &Header { world: 1, ..Header::default() }).unwrap();
    let at = Position { phase: Phase::Train, epoch: 1, block: 1, ..Position::default() };
    writer.record(Event::span(OpKind::Block, Lane::MAIN, at, 5, 9));
    writer.record(Event::span(OpKind::Epoch, Lane::MAIN, Position { block: 0, ..at }, 5, 10));
    writer.finish().unwrap();
    let report = report_on(folder.path());
    assert_eq!((report.train.clone(), report.epochs.len()), (None, 1));
    assert!(!render::table(&report, 80).is_empty() && !render::html(&report).is_empty());
}

#[test]
fn a_trace_without_events_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let writer =
        TraceWriter::create(&folder.path().join(file_name(0)), &Header { world: 1, ..Header::default() }).unwrap();
    writer.finish().unwrap();
    let report = report_on(folder.path());
    assert_eq!(codes(&report), ["empty"]);
    assert!(!render::table(&report, 80).is_empty() && !render::html(&report).is_empty());
}

#[test]
fn missing_and_torn_ranks_are_named() {
    let folder = tempfile::tempdir().unwrap();
    synthetic::write(folder.path(), Shape { ranks: 3, ..small() }).unwrap();
    std::fs::remove_file(folder.path().join(file_name(2))).unwrap();
    let torn = folder.path().join(file_name(1));
    let mut bytes = std::fs::read(&torn).unwrap();
    bytes.extend_from_slice(b"half a row group");
    std::fs::write(&torn, bytes).unwrap();
    let report = report_on(folder.path());
    assert_eq!(codes(&report), ["ranks_missing", "incomplete", "errors", "samples_missing", "samples_missing"]);
    let lost = "lost ranks 1, 2: the trace of rank 1 stops, that of rank 2 is not here";
    assert!(report.warnings[1].text.contains(lost), "{}", report.warnings[1].text);
    assert_eq!((&report.run.ending.lost_ranks[..], report.run.ending.is_partial()), (&[1, 2][..], true));
    assert_eq!(report.train.unwrap().au_meets_expectation, None);
}

#[test]
fn an_epoch_that_reads_much_faster_is_suspected_of_a_cache() {
    let folder = tempfile::tempdir().unwrap();
    let writer =
        TraceWriter::create(&folder.path().join(file_name(0)), &Header { world: 1, ..Header::default() }).unwrap();
    for (epoch, took) in [(1, 100 * MS), (2, 2 * MS)] {
        let at = Position { phase: Phase::Train, epoch, block: 1, step: 1, sample: Some(1) };
        let start = u64::from(epoch) * 1_000 * MS;
        let read = Event::span(OpKind::Read, Lane(0), at, start, start + took);
        writer.record(Event { bytes: 1 << 30, ..read });
        writer.record(Event::span(OpKind::Fetch, Lane::MAIN, at, start, start + took));
        writer.record(Event::span(OpKind::Compute, Lane::MAIN, at, start + took, start + 2 * took));
    }
    writer.finish().unwrap();
    assert!(codes(&report_on(folder.path())).contains(&"cached"));
}

/// A recorded trace of version 1.0.
fn older(rank: u32) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../traces/unet3d-2-ranks").join(file_name(rank))
}

#[test]
fn ranks_in_traces_of_different_versions_are_one_run() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(older(0), folder.path().join(file_name(0))).unwrap();
    // The other rank, written again in the current version.
    let trace = dlio_trace::read_file(&older(1)).unwrap();
    let writer = TraceWriter::create(&folder.path().join(file_name(1)), &trace.header).unwrap();
    for batch in trace.batches().unwrap() {
        let batch = batch.unwrap();
        for row in batch.views() {
            let object = row.object().map_or(dlio_event::ObjectId::NONE, |name| writer.object(name));
            let endpoint = row.endpoint().map_or(dlio_event::EndpointId::NONE, |name| writer.endpoint(name));
            writer.record(Event { object, endpoint, ..row.event() });
        }
    }
    writer.finish().unwrap();
    let (mixed, one) = (report_on(folder.path()), report_on(older(0).parent().unwrap()));
    assert_eq!(render::table(&mixed, 100), render::table(&one, 100));
    assert_eq!((&mixed.operations, &mixed.times, &mixed.diagnosis), (&one.operations, &one.times, &one.diagnosis));
    assert!(!codes(&mixed).contains(&"several_runs"));
}

#[test]
fn traces_of_different_runs_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    synthetic::write(folder.path(), small()).unwrap();
    let events = dlio_trace::read_file(&folder.path().join(file_name(0))).unwrap().rows;
    std::fs::copy(older(1), folder.path().join(file_name(1))).unwrap();
    let report = report_on(folder.path());
    assert_eq!(report.run.events, events + 72);
    let warning = report.warnings.iter().find(|warning| warning.code == "several_runs").unwrap();
    assert!(warning.text.contains("rank-00000.parquet") && warning.text.contains("rank-00001.parquet"), "{warning:?}");
}
